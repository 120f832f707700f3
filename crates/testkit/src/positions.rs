//! What positions say that clients have sealed.

use edge::positions::SealedPositions;

use crate::secrets::TOKEN_SECRET;

/// The plain form of an Event-Position or As-Of.
pub fn position(sealed: &str) -> String {
    let positions = SealedPositions::new(TOKEN_SECRET.as_bytes()).unwrap();
    positions.open(sealed).unwrap().to_string()
}
