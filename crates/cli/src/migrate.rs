//! `headwater migrate`: brings the database to what this release needs.

use anyhow::Context;
use readmodel::Projections;

use crate::{reach, settings::Settings};

pub async fn run(settings: &Settings) -> anyhow::Result<()> {
    let database = reach::database_to_migrate(settings).await?;
    migrations::migrate(&database, &Projections::default())
        .await
        .context("the database cannot be migrated; check DATABASE_URL")?;
    eprintln!("the database is up to date");
    Ok(())
}
