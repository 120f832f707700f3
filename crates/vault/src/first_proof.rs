//! What a first proof of the mailbox does to what an account has. Whoever registers with
//! an address need not be who reads its mail, and may set up much before that one comes:
//! when a reset is the first proof of the address, all of it goes. A verification is sent
//! by who is signed in, and ends pending codes alone.

use kernel::{AccountId, Uuid};
use sea_orm::sqlx::{self, Postgres, Transaction};

use crate::{VaultError, sessions::end_all};

/// What becomes of an account's rows in one table, by a reset that is the first proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// By this statement.
    Deleted(&'static str),
    /// Each session counts no more.
    Ended,
    /// The password is the new one, the address is verified.
    Replaced,
    /// Nobody who registers sets it.
    Kept,
    /// It has nothing of accounts.
    OfNoAccount,
}

const CODES: &str = "DELETE FROM vault.codes WHERE account_id = $1";

/// Every table of the vault: a test compares it with the database.
pub const FIRST_PROOF: [(&str, Fate); 9] = [
    ("account_keys", Fate::Kept),
    ("codes", Fate::Deleted(CODES)),
    ("credentials", Fate::Replaced),
    (
        "devices",
        Fate::Deleted("DELETE FROM vault.devices WHERE account_id = $1"),
    ),
    (
        "recovery_codes",
        Fate::Deleted("DELETE FROM vault.recovery_codes WHERE account_id = $1"),
    ),
    // Operators grant them.
    ("roles", Fate::Kept),
    (
        "second_factors",
        Fate::Deleted("DELETE FROM vault.second_factors WHERE account_id = $1"),
    ),
    ("service_tokens", Fate::OfNoAccount),
    ("sessions", Fate::Ended),
];

/// Within the transaction of a reset, which has set the new password. Returns the
/// sessions that it ended.
pub(crate) async fn wipe(
    transaction: &mut Transaction<'_, Postgres>,
    account: AccountId,
) -> Result<Vec<Uuid>, VaultError> {
    let mut ended = Vec::new();
    for (_, fate) in FIRST_PROOF {
        match fate {
            Fate::Deleted(sql) => {
                let deleted = sqlx::query(sql).bind(account.0);
                deleted.execute(&mut **transaction).await?;
            }
            Fate::Ended => ended = end_all(transaction, account).await?,
            Fate::Replaced | Fate::Kept | Fate::OfNoAccount => {}
        }
    }
    Ok(ended)
}

/// Within the transaction of whoever verifies an address, or takes one from an account.
pub(crate) async fn forget_codes(
    transaction: &mut Transaction<'_, Postgres>,
    account: AccountId,
) -> Result<(), VaultError> {
    let forgotten = sqlx::query(CODES).bind(account.0);
    forgotten.execute(&mut **transaction).await?;
    Ok(())
}
