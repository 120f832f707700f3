//! What examples of the contract name in several places.

use kernel::Uuid;

/// Of a page.
pub const CURSOR: &str = "0w6iXcT3mWv5sS1x";

/// Of an account.
pub const ACCOUNT_ID: Uuid = Uuid::from_u128(0x0198_b5a2_8a5c_7d31_9b1f_3f4e_5d6c_7b8a);
