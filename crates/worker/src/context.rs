//! What all loops of a worker work with.

use std::sync::Arc;

use eventlog::{History, Log};
use kernel::Sealer;
use readmodel::{
    Projection, Projections, ReadError, TableProjection,
    generations::{self, Plan},
    timelines::Lists,
};
use sea_orm::{DatabaseConnection, sqlx::PgPool};

/// Cheap to clone.
#[derive(Clone)]
pub struct WorkerContext {
    pub log: Log,
    /// The log, and what it no longer has.
    pub history: History,
    pub database: DatabaseConnection,
    pub sealer: Arc<dyn Sealer>,
    pub lists: Lists,
    pub projections: Projections,
    /// Followers up to which an author's posts are pushed.
    pub push_followers_max: i64,
}

impl WorkerContext {
    pub(crate) fn pool(&self) -> &PgPool {
        self.database.get_postgres_connection_pool()
    }

    pub(crate) fn tables(
        &self,
        projection: Projection,
    ) -> Result<&Arc<dyn TableProjection>, ReadError> {
        let tables = self.projections.tables(projection);
        tables.ok_or(ReadError::NoTables(projection.name()))
    }

    pub(crate) async fn plan(&self) -> Result<Plan, ReadError> {
        generations::plan(self.pool(), &self.projections).await
    }
}
