//! Who signs in with what. An e-mail address is in no event and unique here: one account
//! has it. While it is not verified it reserves nothing, and goes to whoever registers
//! with it next.

use kernel::{AccountId, Uuid};
use sea_orm::{
    ColumnTrait, DatabaseConnection, DbErr, EntityTrait, QueryFilter,
    entity::prelude::*,
    sqlx::{self, PgPool, PgTransaction, Row},
};
use time::OffsetDateTime;

use crate::{
    Email,
    first_proof::forget_codes,
    wrapping::{MasterKeys, Wrapped},
};

/// How long an address stays an account's that nobody verified.
const UNVERIFIED_DAYS: i32 = 7;
/// That one purge takes back.
const PURGED_AT_ONCE: i64 = 1_000;
/// Any number: advisory locks of this class are of addresses.
const ADDRESS_LOCKS: i32 = 0x6164_6472;

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
    #[error(
        "what the vault's database keeps wrapped opens with none of the master keys here: give \
         VAULT_SECRET, or VAULT_SECRETS_ACCEPTED, the secret that it was wrapped with"
    )]
    MasterKey,
    #[error("what the vault's database keeps wrapped was changed or is another account's")]
    Unwrapped,
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
    /// Another address or another password is another attempt.
    pub attempt: Uuid,
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

/// Before any row. Whoever registers with the address at the same moment waits, so that
/// no conflict becomes an error: PostgreSQL would write the address into its log.
pub(crate) async fn lock_address(
    transaction: &mut PgTransaction<'_>,
    email_folded: &str,
) -> Result<(), VaultError> {
    sqlx::query("SELECT pg_advisory_xact_lock($1, hashtext($2))")
        .bind(ADDRESS_LOCKS)
        .bind(email_folded)
        .execute(&mut **transaction)
        .await?;
    Ok(())
}

/// Whether the account's credentials are those that are asked for, or must not change:
/// somebody signed in with them, showed the address to be theirs, or is barred.
async fn is_kept(
    transaction: &mut PgTransaction<'_>,
    new: &NewCredentials,
    email_folded: Option<&str>,
) -> Result<bool, VaultError> {
    // Whoever signs in meanwhile waits for this row.
    let row = sqlx::query(
        "SELECT attempt IS NOT DISTINCT FROM $2 AND email_folded IS NOT DISTINCT FROM $3
             AS same, barred_at IS NOT NULL OR email_verified_at IS NOT NULL AS settled
         FROM vault.credentials WHERE account_id = $1 FOR UPDATE",
    )
    .bind(new.account.0)
    .bind(new.attempt)
    .bind(email_folded)
    .fetch_optional(&mut **transaction)
    .await?;
    let Some(row) = row else {
        return Ok(false);
    };
    if row.try_get("same")? || row.try_get("settled")? {
        return Ok(true);
    }
    let sql = "SELECT 1 AS one FROM vault.sessions WHERE account_id = $1 LIMIT 1";
    let session = sqlx::query(sql).bind(new.account.0);
    Ok(session.fetch_optional(&mut **transaction).await?.is_some())
}

/// With its lock: from now on no other account has the address. Refused where one has verified it.
pub(crate) async fn take_address(
    transaction: &mut PgTransaction<'_>,
    account: AccountId,
    email_folded: &str,
) -> Result<(), VaultError> {
    let gave_way = sqlx::query(
        "UPDATE vault.credentials SET email = NULL, email_folded = NULL
         WHERE email_folded = $1 AND account_id <> $2 AND email_verified_at IS NULL
         RETURNING account_id",
    )
    .bind(email_folded)
    .bind(account.0)
    .fetch_optional(&mut **transaction)
    .await?;
    if let Some(row) = gave_way {
        return forget_codes(transaction, AccountId(row.try_get("account_id")?)).await;
    }
    let holder = sqlx::query(
        "SELECT account_id FROM vault.credentials WHERE email_folded = $1 AND account_id <> $2",
    )
    .bind(email_folded)
    .bind(account.0)
    .fetch_optional(&mut **transaction)
    .await?;
    match holder {
        Some(row) => Err(VaultError::EmailTaken(AccountId(
            row.try_get("account_id")?,
        ))),
        None => Ok(()),
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
    pub(crate) keys: MasterKeys,
}

impl Vault {
    /// `keys`: what is kept here of other keys opens with these.
    pub fn new(database: DatabaseConnection, keys: MasterKeys) -> Self {
        Self { database, keys }
    }

    /// The same over other connections.
    pub fn of(&self, database: DatabaseConnection) -> Self {
        Self {
            database,
            keys: self.keys.clone(),
        }
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
    /// transaction. The same attempt again changes nothing; another one for the same
    /// account replaces what was kept, while nobody signed in to the account.
    pub async fn admit(&self, new: NewCredentials, key: [u8; 32]) -> Result<(), VaultError> {
        let key = self.keys.wrap(Wrapped::AccountKey, new.account, &key)?;
        let mut transaction = self.begin().await?;
        let folded = new.email.as_ref().map(Email::folded);
        if let Some(folded) = &folded {
            lock_address(&mut transaction, folded).await?;
        }
        if !is_kept(&mut transaction, &new, folded.as_deref()).await? {
            if let Some(folded) = &folded {
                take_address(&mut transaction, new.account, folded).await?;
            }
            sqlx::query(
                "INSERT INTO vault.credentials
                     (account_id, attempt, email, email_folded, password_hash, created_at)
                 VALUES ($1, $2, $3, $4, $5, now())
                 ON CONFLICT (account_id) DO UPDATE SET
                     attempt = excluded.attempt, email = excluded.email,
                     email_folded = excluded.email_folded,
                     password_hash = excluded.password_hash",
            )
            .bind(new.account.0)
            .bind(new.attempt)
            .bind(new.email.as_ref().map(Email::as_str))
            .bind(folded)
            .bind(new.password_hash)
            .execute(&mut *transaction)
            .await?;
        }
        sqlx::query(
            "INSERT INTO vault.account_keys (account_id, key, created_at)
             VALUES ($1, $2, now()) ON CONFLICT DO NOTHING",
        )
        .bind(new.account.0)
        .bind(key)
        .execute(&mut *transaction)
        .await?;
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

    /// Takes some addresses that nobody verified in time from their accounts. Returns how
    /// many.
    pub(crate) async fn purge_addresses(&self) -> Result<u64, VaultError> {
        let gone = sqlx::query(
            "UPDATE vault.credentials SET email = NULL, email_folded = NULL
             WHERE account_id IN (
                 SELECT account_id FROM vault.credentials
                 WHERE email IS NOT NULL AND email_verified_at IS NULL
                   AND created_at < now() - make_interval(days => $1)
                 LIMIT $2 FOR UPDATE SKIP LOCKED)",
        )
        .bind(UNVERIFIED_DAYS)
        .bind(PURGED_AT_ONCE)
        .execute(self.pool())
        .await?;
        Ok(gone.rows_affected())
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
