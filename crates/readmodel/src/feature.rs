//! What every feature of the `social` projection says of itself, and what its registry
//! (one line a feature, in `lib.rs`) makes of that. No logic of any one feature.

use domain::Event;
use kernel::{AggregateId, Kind};
use sea_orm::sqlx::PgTransaction;

use crate::{
    ReadError,
    social::{Effects, Happened, Tables},
    standing::{Concern, Moves},
    timelines::FanOut,
    touches::Touch,
};

/// The fold of one feature: what a batch of its events does, until it is written.
/// A feature has tables of its own, declared beside its fold.
pub(crate) trait Feature: Default + Send {
    /// Of the aggregates whose rows are this feature's.
    const KIND: Kind;
    type Event;

    /// What its events ask of home timelines; none where they ask nothing.
    const FAN_OUT: Option<fn(AggregateId, &Event, &mut FanOut)> = None;

    /// Its tables, and those indexes that folds need. `{schema}` is the generation's.
    /// No foreign keys: rows of different partitions come in any order. No types local
    /// to the schema: prepared statements outlive a rename.
    fn tables() -> String;

    /// Indexes that folds do without: they are made when the tables are full.
    fn indexes() -> String {
        String::new()
    }

    /// What a cache must not take for new any more.
    fn invalidates(aggregate: AggregateId, event: &Self::Event) -> Vec<Touch>;

    /// `SELECT` of the posts that count what the accounts `$1` did here; none where posts
    /// count nothing of it.
    fn counting() -> Option<String> {
        None
    }

    fn take(&mut self, happened: &Happened, event: &Self::Event);

    /// What else at this moment it must be kept apart from.
    fn concern(&self) -> Option<Concern> {
        None
    }

    /// Writes the batch: one statement a table, keys sorted.
    fn write(
        self,
        transaction: &mut PgTransaction<'_>,
        tables: &Tables<'_>,
        effects: &mut Effects,
    ) -> impl Future<Output = Result<(), ReadError>> + Send;

    /// Takes an aggregate's rows back, as if it had never been.
    fn forget(
        transaction: &mut PgTransaction<'_>,
        tables: &Tables<'_>,
        aggregate: AggregateId,
        effects: &mut Effects,
    ) -> impl Future<Output = Result<(), ReadError>> + Send;

    /// Counts what accounts did here that were deactivated, or are back.
    fn move_standings(
        _: &mut PgTransaction<'_>,
        _: &Tables<'_>,
        _: &Moves,
        _: &mut Effects,
    ) -> impl Future<Output = Result<(), ReadError>> + Send {
        async { Ok(()) }
    }
}

/// `module: Event` for each feature with rows, in the order in which their tables are
/// written; behind the semicolon the events that leave no rows here.
macro_rules! features {
    ($($module:ident: $feature:ident),+ ; $($without:ident),+ $(,)?) => {
        /// What the registry of features knows of all of them.
        pub(crate) mod features {
            use domain::Event;
            use kernel::{AggregateId, Kind};
            use sea_orm::sqlx::PgTransaction;

            use crate::{
                ReadError,
                feature::Feature,
                touches::Touch,
                social::{Effects, Happened, Tables},
                standing::{Concern, Moves},
                timelines::FanOut,
            };

            $(use crate::$module;)+

            /// What a batch of events does.
            #[derive(Default)]
            pub(crate) struct Batch {
                $($module: $module::Fold),+
            }

            impl Batch {
                pub fn take(&mut self, happened: &Happened) {
                    match &happened.event {
                        $(Event::$feature(event) => self.$module.take(happened, event),)+
                        $(Event::$without(_) => {})+
                    }
                }

                pub fn concern(&self) -> Option<Concern> {
                    [$(self.$module.concern()),+].into_iter().flatten().max()
                }

                pub async fn write(
                    self,
                    transaction: &mut PgTransaction<'_>,
                    tables: &Tables<'_>,
                    effects: &mut Effects,
                ) -> Result<(), ReadError> {
                    $(
                        self.$module.write(transaction, tables, effects).await?;
                        settle_moves(transaction, tables, effects).await?;
                    )+
                    Ok(())
                }
            }

            pub(crate) async fn forget(
                transaction: &mut PgTransaction<'_>,
                tables: &Tables<'_>,
                aggregate: AggregateId,
                effects: &mut Effects,
            ) -> Result<(), ReadError> {
                $(if aggregate.kind == <$module::Fold as Feature>::KIND {
                    $module::Fold::forget(transaction, tables, aggregate, effects).await?;
                })+
                settle_moves(transaction, tables, effects).await
            }

            /// What there was before counts for more or less once an account moves; what
            /// is written after counts by the standings that it finds.
            async fn settle_moves(
                transaction: &mut PgTransaction<'_>,
                tables: &Tables<'_>,
                effects: &mut Effects,
            ) -> Result<(), ReadError> {
                let moves: Moves = std::mem::take(&mut effects.moves);
                if moves.is_empty() {
                    return Ok(());
                }
                $($module::Fold::move_standings(transaction, tables, &moves, effects).await?;)+
                Ok(())
            }

            pub(crate) fn invalidates(aggregate: AggregateId, event: &Event) -> Vec<Touch> {
                match event {
                    $(Event::$feature(event) => $module::Fold::invalidates(aggregate, event),)+
                    $(Event::$without(_) => Vec::new(),)+
                }
            }

            /// Whether events of this kind of aggregate may ask something of timelines.
            pub(crate) fn fans_out(kind: Kind) -> bool {
                $((kind == <$module::Fold as Feature>::KIND
                    && <$module::Fold as Feature>::FAN_OUT.is_some()))||+
            }

            pub(crate) fn fan_out(aggregate: AggregateId, event: &Event, fan_out: &mut FanOut) {
                let asks = match event {
                    $(Event::$feature(_) => <$module::Fold as Feature>::FAN_OUT,)+
                    $(Event::$without(_) => None,)+
                };
                if let Some(ask) = asks {
                    ask(aggregate, event, fan_out);
                }
            }

            /// `SELECT` of the posts that count what the accounts `$1` did.
            pub(crate) fn counting() -> String {
                let all = [$($module::Fold::counting()),+];
                let all: Vec<String> = all.into_iter().flatten().collect();
                all.join(" UNION ALL ")
            }

            /// The tables of all features, and the indexes that folds need.
            pub(crate) fn tables() -> String {
                [$($module::Fold::tables()),+].concat()
            }

            /// The indexes that are made when the tables are full.
            pub(crate) fn indexes() -> String {
                [$($module::Fold::indexes()),+].concat()
            }
        }
    };
}
pub(crate) use features;
