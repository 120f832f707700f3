//! `headwater migrate`: brings the database to what this release needs.

use crate::{node, settings::Settings};

pub async fn run(settings: &Settings) -> anyhow::Result<()> {
    let database = node::connect_database(settings).await?;
    migrations::migrate(&database).await?;
    println!("the database is up to date");
    Ok(())
}
