//! Mutes: an edge between accounts. What it hides is in `visibility.rs`.

use super::{
    Kind,
    edges::{Edge, Far},
};

#[derive(Debug)]
pub struct Mute;

impl Edge for Mute {
    const KIND: Kind = (8, "mute");
    const FAR: Far = Far::Account;
    const EVENTS: (&'static str, &'static str) = ("Muted", "Unmuted");
    const ROWS: (&'static str, &'static str) = (
        "mutes",
        "SELECT muter_id, muted_id, muted_at FROM social.mutes",
    );
    const FLAG: &'static str = "muting";
    const OWN_LIST: Option<&'static str> = Some("mutes");
}
