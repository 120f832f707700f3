//! The one place that decides whether a log may be made. A log that a projection, the
//! vault or an archive has seen is never begun anew: it was lost, and must be restored.

use std::fmt;

use anyhow::Context;
use archive::Archive;
use eventlog::{Found, Log, LogError, LogSettings};
use kernel::Uuid;
use readmodel::{PgPool, origin};
use vault::Vault;

use crate::{
    node::{log_settings, open_archive},
    reach,
    settings::Settings,
};

/// What there is of the log that the database belongs to.
pub enum Seen {
    /// All of it.
    There,
    /// Nothing, and nothing has ever seen one. With the id that it has where making it
    /// was begun.
    NeverMade(Option<Uuid>),
    Lost(Loss),
}

/// What is wrong, and what mends it.
#[derive(Debug)]
pub struct Loss {
    pub seen: String,
    pub mend: &'static str,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.seen, self.mend)
    }
}

impl std::error::Error for Loss {}

/// Looks, and makes nothing.
pub async fn look(settings: &Settings, pool: &PgPool, vault: &Vault) -> anyhow::Result<Seen> {
    let found = reach::usable(settings, Log::find(&log_settings(settings)).await).await?;
    let origin = origin::of(pool).await?;
    let archive = open_archive(settings)?;
    if let (Some(found), Some(origin)) = (&found, &origin)
        && found.id != origin.id
    {
        return Ok(Seen::Lost(Loss {
            seen: format!(
                "it has another log, {}, than the database, which belongs to {}: writes are refused",
                found.id, origin.id
            ),
            mend: "set REDIS_LOG_URL, KEY_PREFIX and DATABASE_URL to what belongs together, or \
                   put the last copy of its disk back",
        }));
    }
    match found {
        Some(Found { missing, .. }) if missing.is_empty() => return Ok(Seen::There),
        _ => {}
    }
    let begun = origin.filter(|origin| !origin.made).map(|origin| origin.id);
    if let Some(found) = found {
        if begun.is_some() {
            return Ok(Seen::NeverMade(begun));
        }
        let missing: Vec<_> = found.missing.iter().map(ToString::to_string).collect();
        let seen = format!("partitions {} of the log are gone", missing.join(", "));
        return Ok(Seen::Lost(loss(settings, seen, archive.as_ref()).await?));
    }
    let witness = match origin {
        Some(origin) if origin.made => Some("the database belongs to one"),
        _ if origin::has_read(pool).await? => Some("projections have read one"),
        _ if vault.has_accounts().await? => Some("accounts were registered with one"),
        _ if is_in(archive.as_ref()).await? => Some("the archive is of one"),
        _ => None,
    };
    Ok(match witness {
        None => Seen::NeverMade(begun),
        Some(witness) => {
            let seen = format!("the log is gone ({witness})");
            Seen::Lost(loss(settings, seen, archive.as_ref()).await?)
        }
    })
}

/// Opens the log, once it was made where there never was one. For what serves and
/// works.
pub async fn open_or_make(
    settings: &Settings,
    pool: &PgPool,
    vault: &Vault,
) -> anyhow::Result<Log> {
    let log_settings = log_settings(settings);
    let made = match look(settings, pool, vault).await? {
        Seen::There => Log::open(&log_settings).await,
        Seen::NeverMade(begun) => {
            // The database knows of it before it is there: a log that is lost later
            // is never taken for one that was not made.
            let id = begun.unwrap_or_else(Uuid::now_v7);
            let id = Some(origin::begin(pool, id).await?.id);
            Log::create(&LogSettings { id, ..log_settings }).await
        }
        Seen::Lost(loss) => return Err(loss.into()),
    };
    let log = reach::usable(settings, made).await?;
    claim(&log, pool).await?;
    Ok(log)
}

/// Opens the log that is there. For commands: none makes one.
pub async fn open(settings: &Settings, pool: &PgPool, vault: &Vault) -> anyhow::Result<Log> {
    match look(settings, pool, vault).await? {
        Seen::There => {}
        Seen::NeverMade(_) => {
            anyhow::bail!("there is no log yet: `headwater up`, `serve` or `work` makes it")
        }
        Seen::Lost(loss) => return Err(loss.into()),
    }
    reach::usable(settings, Log::open(&log_settings(settings)).await).await
}

/// Notes in the database which log it belongs to. Where it takes no writes, a log that
/// is noted already is used as it is.
pub async fn claim(log: &Log, pool: &PgPool) -> anyhow::Result<()> {
    origin::claim(pool, log.id()).await.context(
        "the log cannot be noted as that of the database: it belongs to another one, or the \
         database takes no writes",
    )
}

async fn loss(
    settings: &Settings,
    seen: String,
    archive: Option<&Archive>,
) -> anyhow::Result<Loss> {
    // What it has not loaded is in no copy: nothing may be put in its place.
    if let Err(LogError::Unsafe(why)) = Log::check_fit(&log_settings(settings)).await {
        return Ok(Loss {
            seen: format!("{seen}, or was not loaded, since {why}: writes are refused"),
            mend: "mend that first, as headwater doctor says, and look again",
        });
    }
    Ok(match is_in(archive).await? {
        true => Loss {
            seen: format!("{seen}: writes are refused"),
            mend: "stop serve and work, then headwater log restore",
        },
        false => Loss {
            seen: format!("{seen}, and there is no archive: writes are refused"),
            mend: "stop serve and work, and put the last copy of its disk back; where there is \
                   none, begin with a new database too",
        },
    })
}

async fn is_in(archive: Option<&Archive>) -> anyhow::Result<bool> {
    match archive {
        Some(archive) => Ok(archive.partitions().await? > 0),
        None => Ok(false),
    }
}
