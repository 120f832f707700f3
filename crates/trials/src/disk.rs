//! A small disk of its own for one server, and a file that fills it. Where we
//! may not mount one, the trial says so and does not count.

use std::{
    fs,
    io::Write,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::Context;
use devservices::{RedisOptions, RedisRole, RedisServer};
use tokio::time::sleep;

use crate::{
    faults::Fired,
    lane::{Lane, connect, redis},
    plan::Target,
    product::Addresses,
    trial::Trial,
};

const REDIS_MEGABYTES: u64 = 32;
/// Free on PostgreSQL's disk before it is filled.
const POSTGRES_FREE_MEGABYTES: u64 = 24;
const FILLER: &str = "filler";
const FULL_SECONDS_MAX: u64 = 5;
/// How long the full disk stays, so that many requests meet it.
const FULL_MILLISECONDS: u64 = 400;
const POLL_MILLISECONDS: u64 = 10;
const REVIVE_SECONDS_MAX: u64 = 5;

#[derive(Debug, thiserror::Error)]
#[error("no disk can be mounted here: {0}")]
pub struct NoMount(String);

/// A mounted disk with a server's data.
pub struct Disk {
    path: PathBuf,
    redis: Option<RedisServer>,
    /// The data of PostgreSQL as they were before.
    kept: Option<PathBuf>,
    mounted: bool,
}

impl Disk {
    pub async fn start(
        lane: &mut Lane,
        target: Target,
        direct: &mut Addresses,
    ) -> anyhow::Result<Self> {
        if target == Target::Postgres {
            return Self::under_postgres(lane).await;
        }
        let path = tempfile::Builder::new()
            .prefix("headwater-disk-")
            .tempdir()?
            .keep();
        if let Err(error) = mount(&path, REDIS_MEGABYTES, "mode=0700") {
            fs::remove_dir(&path)?;
            return Err(error.into());
        }
        let mut disk = Self {
            path,
            redis: None,
            kept: None,
            mounted: true,
        };
        let (role, url) = match target {
            Target::Log => (RedisRole::Log, &mut direct.log),
            _ => (RedisRole::Views, &mut direct.views),
        };
        let options = RedisOptions::new(&lane.programs, role, disk.path.join("data"));
        let server = RedisServer::start(options).await?;
        server.url().clone_into(url);
        disk.redis = Some(server);
        if target == Target::Log {
            lane.restore_log(&direct.log).await?;
        }
        Ok(disk)
    }

    /// The whole data directory moves onto the disk.
    async fn under_postgres(lane: &mut Lane) -> anyhow::Result<Self> {
        let postgres = lane.stack.postgres();
        let path = postgres.directory().join("data");
        let kept = postgres.directory().join("kept");
        let owner = fs::metadata(&path)?;
        let size = megabytes(&path) + POSTGRES_FREE_MEGABYTES;
        postgres.stop().await?;
        fs::rename(&path, &kept)?;
        fs::create_dir(&path)?;
        let options = format!("mode=0700,uid={},gid={}", owner.uid(), owner.gid());
        if let Err(error) = mount(&path, size, &options) {
            fs::remove_dir(&path)?;
            fs::rename(&kept, &path)?;
            postgres.restart().await?;
            return Err(error.into());
        }
        run(
            "cp",
            &[
                "-a",
                &format!("{}/.", kept.display()),
                &path.display().to_string(),
            ],
        )?;
        postgres.restart().await?;
        Ok(Self {
            path,
            redis: None,
            kept: Some(kept),
            mounted: true,
        })
    }

    /// Fills the last byte.
    fn fill(&self) -> anyhow::Result<()> {
        let mut file = fs::File::create(self.path.join(FILLER))?;
        for bytes in [vec![0_u8; 1 << 20], vec![0; 1 << 10]] {
            while file.write_all(&bytes).is_ok() {}
        }
        Ok(())
    }

    fn free(&self) -> anyhow::Result<()> {
        Ok(fs::remove_file(self.path.join(FILLER))?)
    }

    pub async fn end(mut self, lane: &mut Lane) -> anyhow::Result<()> {
        if let Some(mut server) = self.redis.take() {
            server.stop().await?;
        }
        let Some(kept) = self.kept.take() else {
            self.unmount();
            return Ok(fs::remove_dir(&self.path)?);
        };
        lane.stack.postgres().stop().await?;
        self.unmount();
        fs::remove_dir(&self.path)?;
        fs::rename(kept, &self.path)?;
        Ok(lane.stack.postgres().restart().await?)
    }

    fn unmount(&mut self) {
        if self.mounted && run("umount", &["-l", &self.path.display().to_string()]).is_ok() {
            self.mounted = false;
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.unmount();
    }
}

/// Fills the disk under the load, waits for the server to notice, and frees it.
pub async fn fill(trial: &mut Trial<'_>, target: Target, down: Duration) -> anyhow::Result<Fired> {
    let disk = trial.disk.as_mut().context("a disk")?;
    let log = trial.lane.stack.postgres().directory().join("postgres.log");
    let before = fs::metadata(&log).map_or(0, |log| log.len());
    disk.fill()?;
    let deadline = Instant::now() + Duration::from_secs(FULL_SECONDS_MAX);
    let mut fired = target == Target::Views;
    while !fired && Instant::now() < deadline {
        fired = match target {
            Target::Log => redis(&trial.direct.log).await.is_err(),
            _ => noticed(&log, before),
        };
        sleep(Duration::from_millis(POLL_MILLISECONDS)).await;
    }
    sleep(down + Duration::from_millis(FULL_MILLISECONDS)).await;
    disk.free()?;
    if let Some(server) = &mut disk.redis {
        // It ends when it cannot keep its promise.
        if redis(server.url()).await.is_err() {
            server.restart().await?;
        }
    } else {
        let deadline = Instant::now() + Duration::from_secs(REVIVE_SECONDS_MAX);
        while connect(&trial.direct.database).await.is_err() {
            if Instant::now() > deadline {
                trial.lane.stack.postgres().restart().await?;
            }
            sleep(Duration::from_millis(POLL_MILLISECONDS)).await;
        }
    }
    trial.restarted = Instant::now();
    let note = match fired {
        true => "full",
        false => "the server did not notice",
    };
    Ok(Fired {
        fired,
        note: note.into(),
    })
}

fn noticed(log: &Path, from: u64) -> bool {
    let bytes = fs::read(log).unwrap_or_default();
    let new = bytes.get(from as usize..).unwrap_or_default();
    String::from_utf8_lossy(new).contains("No space left on device")
}

fn mount(path: &Path, megabytes: u64, options: &str) -> Result<(), NoMount> {
    let options = format!("size={megabytes}m,{options}");
    let path = path.display().to_string();
    run("mount", &["-t", "tmpfs", "-o", &options, "tmpfs", &path])
        .map_err(|e| NoMount(e.to_string()))
}

fn megabytes(path: &Path) -> u64 {
    let output = Command::new("du").arg("-sm").arg(path).output();
    let output = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let text = output.unwrap_or_default();
    text.split_whitespace()
        .next()
        .and_then(|n| n.parse().ok())
        .unwrap_or(200)
}

fn run(program: &str, arguments: &[&str]) -> anyhow::Result<()> {
    let output = Command::new(program).args(arguments).output()?;
    let error = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    anyhow::ensure!(output.status.success(), "{program}: {error}");
    Ok(())
}
