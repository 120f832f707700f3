//! Generations of projections, their pauses, and the events that a fold could
//! not take.

use sea_orm_migration::{async_trait::async_trait, prelude::*};

pub struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0004_generations"
    }
}

#[async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let sql = "
            CREATE TABLE projections.generations (
                projection text NOT NULL,
                generation integer NOT NULL,
                -- live, building, kept or checking
                role text NOT NULL,
                -- How far a building one is: replaying, indexed, verified.
                stage text NOT NULL DEFAULT 'replaying',
                began_at timestamptz NOT NULL DEFAULT now(),
                PRIMARY KEY (projection, generation)
            );
            -- One of each but of those that are kept.
            CREATE UNIQUE INDEX generations_role ON projections.generations (projection, role)
                WHERE role <> 'kept';
            INSERT INTO projections.generations (projection, generation, role)
                VALUES ('social', 1, 'live'), ('timelines', 1, 'live');
            -- Numbers are never used again: keys of one that was dropped may be left.
            CREATE SEQUENCE projections.generation_numbers START 2;
            ALTER TABLE projections.checkpoints
                -- Of the generation; here too, since whoever moves the checkpoint
                -- sees it change.
                ADD COLUMN live boolean NOT NULL DEFAULT true,
                -- How many dead letters there are.
                ADD COLUMN parked bigint NOT NULL DEFAULT 0;
            CREATE TABLE projections.pauses (
                projection text PRIMARY KEY,
                reason text NOT NULL,
                operator text NOT NULL,
                paused_at timestamptz NOT NULL DEFAULT now()
            );
            -- Events that wait: one that could not be folded, and those after it
            -- of the same aggregate.
            CREATE TABLE projections.dead_letters (
                projection text NOT NULL,
                generation integer NOT NULL,
                partition integer NOT NULL,
                epoch bigint NOT NULL,
                seq bigint NOT NULL,
                kind smallint NOT NULL,
                aggregate_id uuid NOT NULL,
                member uuid,
                event_type text NOT NULL,
                -- None where it only waits for one before it.
                reason text,
                tries integer NOT NULL DEFAULT 1,
                parked_at timestamptz NOT NULL DEFAULT now(),
                PRIMARY KEY (projection, generation, partition, epoch, seq)
            );
            -- Events that an operator decided to leave out, for good.
            CREATE TABLE projections.skips (
                projection text NOT NULL,
                partition integer NOT NULL,
                epoch bigint NOT NULL,
                seq bigint NOT NULL,
                event_type text NOT NULL,
                reason text NOT NULL,
                operator text NOT NULL,
                skipped_at timestamptz NOT NULL DEFAULT now(),
                PRIMARY KEY (projection, partition, epoch, seq)
            );";
        manager.get_connection().execute_unprepared(sql).await?;
        Ok(())
    }
}
