//! What the same machine can do at best, measured in the same run. It refuses
//! to use the product's code, except for the tables and functions themselves.

pub mod append;
pub mod hello;
pub mod insert;
pub mod upsert;
