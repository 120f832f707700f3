//! `headwater migrate`: brings the database to what this release needs.

use anyhow::Context;

use crate::settings::Settings;

pub async fn run(settings: &Settings) -> anyhow::Result<()> {
    migrations::migrate(&settings.database_url)
        .await
        .context("the database cannot be migrated; check DATABASE_URL")?;
    println!("the database is up to date");
    Ok(())
}
