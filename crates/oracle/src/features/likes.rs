//! Likes: an edge from an account to a post, which counts and tells who.

use super::{
    Kind,
    edges::{Edge, Far},
};

#[derive(Debug)]
pub struct Like;

impl Edge for Like {
    const KIND: Kind = (4, "like");
    const FAR: Far = Far::Post;
    const EVENTS: (&'static str, &'static str) = ("Liked", "Unliked");
    const ROWS: (&'static str, &'static str) = (
        "likes",
        "SELECT account_id, post_id, liked_at FROM social.likes",
    );
    const FLAG: &'static str = "liked";
    const COUNTER: Option<&'static str> = Some("likes");
    const LIST_OF_POST: Option<&'static str> = Some("likes");
}
