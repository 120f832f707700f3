//! Who signs in with what. An e-mail address is in no event and unique here.

use kernel::AccountId;
use sea_orm::{
    ActiveValue::Set,
    ColumnTrait, ConnectionTrait, DatabaseConnection, DbErr, EntityTrait, QueryFilter, Statement,
    TransactionTrait,
    entity::prelude::*,
    sqlx::{self, PgPool, PgTransaction},
};
use time::OffsetDateTime;

use crate::Email;

mod row {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(schema_name = "vault", table_name = "credentials")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub account_id: Uuid,
        pub email: Option<String>,
        pub email_folded: Option<String>,
        pub password_hash: Option<String>,
        pub created_at: TimeDateTimeWithTimeZone,
        pub email_verified_at: Option<TimeDateTimeWithTimeZone>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    #[error("the e-mail address is taken")]
    EmailTaken(AccountId),
    #[error("too many passwords are being checked; try again shortly")]
    Busy,
    #[error("the vault's database takes too long")]
    Slow,
    #[error("a password could not be hashed")]
    Hashing,
    #[error("the list of breached passwords cannot be read: {0}")]
    Breached(#[source] std::io::Error),
    #[error("the vault's database does not answer as it should: {0}")]
    Database(#[from] DbErr),
}

impl From<sqlx::Error> for VaultError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(DbErr::Conn(sea_orm::RuntimeErr::SqlxError(error.into())))
    }
}

/// Not to be printed.
#[derive(Clone)]
pub struct NewCredentials {
    pub account: AccountId,
    pub email: Option<Email>,
    pub password_hash: Option<String>,
}

/// Not to be printed.
#[derive(Clone)]
pub struct Credentials {
    pub account: AccountId,
    pub email: Option<String>,
    pub password_hash: Option<String>,
    pub created_at: OffsetDateTime,
    pub email_verified: bool,
}

impl From<row::Model> for Credentials {
    fn from(row: row::Model) -> Self {
        Self {
            account: AccountId(row.account_id),
            email: row.email,
            password_hash: row.password_hash,
            created_at: row.created_at,
            email_verified: row.email_verified_at.is_some(),
        }
    }
}

/// Begins a transaction. Whoever asks may give up meanwhile (a client goes away):
/// sqlx 0.9 does not roll back a `BEGIN` whose answer was not waited for, and what
/// is written on that connection later would never be committed.
async fn begun<T: Send + 'static>(
    begin: impl Future<Output = T> + Send + 'static,
) -> Result<T, VaultError> {
    let begun = tokio::spawn(begin).await;
    Ok(begun.map_err(|error| DbErr::Custom(error.to_string()))?)
}

/// The secrets' store; cheap to clone.
#[derive(Clone)]
pub struct Vault {
    database: DatabaseConnection,
}

impl Vault {
    pub fn new(database: DatabaseConnection) -> Self {
        Self { database }
    }

    /// Whether any account was ever registered here.
    pub async fn has_accounts(&self) -> Result<bool, VaultError> {
        Ok(row::Entity::find().one(&self.database).await?.is_some())
    }

    pub(crate) fn database(&self) -> &DatabaseConnection {
        &self.database
    }

    pub(crate) fn pool(&self) -> &PgPool {
        self.database.get_postgres_connection_pool()
    }

    pub(crate) async fn begin(&self) -> Result<PgTransaction<'static>, VaultError> {
        let pool = self.database.get_postgres_connection_pool().clone();
        Ok(begun(async move { pool.begin().await }).await??)
    }

    /// Keeps credentials, and a key for the account's personal fields, in one
    /// transaction. The same account again changes nothing.
    pub async fn admit(&self, new: NewCredentials, key: [u8; 32]) -> Result<(), VaultError> {
        let now = OffsetDateTime::now_utc();
        let folded = new.email.as_ref().map(Email::folded);
        let row = row::ActiveModel {
            account_id: Set(new.account.0),
            email: Set(new.email.map(|email| email.as_str().to_owned())),
            email_folded: Set(folded.clone()),
            password_hash: Set(new.password_hash),
            created_at: Set(now),
            email_verified_at: Set(None),
        };
        let database = self.database.clone();
        let transaction = begun(async move { database.begin().await }).await??;
        // No conflict is an error: PostgreSQL would write the address into its log.
        let any = sea_orm::sea_query::OnConflict::new()
            .do_nothing()
            .to_owned();
        let inserted = row::Entity::insert(row)
            .on_conflict(any)
            .exec_without_returning(&transaction)
            .await?;
        let own = row::Entity::find_by_id(new.account.0);
        if inserted == 0 && own.one(&transaction).await?.is_none() {
            transaction.rollback().await?;
            let holder = self.by_folded_email(&folded.unwrap_or_default()).await?;
            // Gone again meanwhile: whoever asks may simply ask again.
            return Err(holder.map_or(VaultError::Busy, |holder| {
                VaultError::EmailTaken(holder.account)
            }));
        }
        let keep_key = Statement::from_sql_and_values(
            sea_orm::DatabaseBackend::Postgres,
            "INSERT INTO vault.account_keys (account_id, key, created_at)
             VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
            [new.account.0.into(), key.to_vec().into(), now.into()],
        );
        transaction.execute_raw(keep_key).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Forgets credentials of a registration that never ended.
    pub async fn dismiss(&self, account: AccountId) -> Result<(), VaultError> {
        row::Entity::delete_by_id(account.0)
            .exec(&self.database)
            .await?;
        Ok(())
    }

    pub async fn by_email(&self, email: &Email) -> Result<Option<Credentials>, VaultError> {
        self.by_folded_email(&email.folded()).await
    }

    pub async fn by_account(&self, account: AccountId) -> Result<Option<Credentials>, VaultError> {
        let row = row::Entity::find_by_id(account.0)
            .one(&self.database)
            .await?;
        Ok(row.map(Credentials::from))
    }

    /// Replaces a hash that is still `old`; whether it was.
    pub async fn replace_password_hash(
        &self,
        account: AccountId,
        old: &str,
        new: &str,
    ) -> Result<bool, VaultError> {
        let replaced = row::Entity::update_many()
            .col_expr(row::Column::PasswordHash, Expr::value(new))
            .filter(row::Column::AccountId.eq(account.0))
            .filter(row::Column::PasswordHash.eq(old))
            .exec(&self.database)
            .await?;
        Ok(replaced.rows_affected == 1)
    }

    async fn by_folded_email(&self, folded: &str) -> Result<Option<Credentials>, VaultError> {
        let row = row::Entity::find()
            .filter(row::Column::EmailFolded.eq(folded))
            .one(&self.database)
            .await?;
        Ok(row.map(Credentials::from))
    }
}
