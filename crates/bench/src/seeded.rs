//! The servers' data with the graph loaded, kept between runs: loading takes a
//! minute, copying a moment. It refuses to measure on what it keeps: a run gets
//! a copy, which is deleted with it.

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context, ensure};
use sha2::{Digest, Sha256};
use tokio::process::Command;

use crate::{arguments::Graph, graph, roles::Launcher, servers::Servers};

/// What decides how the data looks. Whoever changes any of it gets data loaded
/// anew.
const SHAPES: &[&str] = &[
    include_str!("../../../migrations/src/m0001_vault.rs"),
    include_str!("../../../migrations/src/m0002_projections.rs"),
    include_str!("../../readmodel/src/projections/social.rs"),
    include_str!("../../eventlog/src/keys.rs"),
    include_str!("../../eventlog/src/headwater.lua"),
    include_str!("../../kernel/src/envelope.rs"),
    include_str!("graph.rs"),
    include_str!("seeded.rs"),
];
const GRAPH: &str = "graph.ndjson";
const KEPT_MAX: usize = 3;

/// A folder of one run. Dropping it deletes it.
pub struct Folder(pub PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The folder that all data and results are under.
pub fn results() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let target = own.parent().and_then(Path::parent);
    let folder = target
        .context("this program is in no folder")?
        .join("bench");
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// A fresh copy of the loaded data, loaded first where it never was.
/// `build` tells builds apart that may store things differently.
pub async fn copy(
    binary: &Path,
    build: &str,
    wanted: &Graph,
    fresh: bool,
) -> anyhow::Result<Folder> {
    let results = results()?;
    let kept = results.join(format!("seeded-{}", key(wanted, build)));
    if fresh {
        let _ = fs::remove_dir_all(&kept);
    }
    if !kept.exists() {
        forget_old(&results)?;
        load(binary, wanted, &results, &kept).await?;
    }
    let run = Folder(results.join(format!("run-{}-{build}", std::process::id())));
    let _ = fs::remove_dir_all(&run.0);
    let copied = Command::new("cp")
        .args(["--archive", "--reflink=auto"])
        .args([&kept, &run.0])
        .status()
        .await?;
    ensure!(copied.success(), "{} cannot be copied", kept.display());
    Ok(run)
}

fn key(graph: &Graph, build: &str) -> String {
    let mut digest = Sha256::new();
    digest.update(format!("{graph:?} {build}"));
    SHAPES.iter().for_each(|shape| digest.update(shape));
    hex::encode(&digest.finalize()[..8])
}

async fn load(binary: &Path, wanted: &Graph, results: &Path, kept: &Path) -> anyhow::Result<()> {
    let began = Instant::now();
    eprintln!(
        "loads {} accounts, {} follows, {} posts (kept for the next run)",
        wanted.accounts, wanted.follows, wanted.posts
    );
    let folder = Folder(results.join(format!("loading-{}", std::process::id())));
    let _ = fs::remove_dir_all(&folder.0);
    fs::create_dir_all(&folder.0)?;
    let activity = folder.0.join(GRAPH);
    let mut out = BufWriter::new(File::create(&activity)?);
    graph::write(wanted, &mut out)?;
    out.flush()?;

    let servers = Servers::start(&folder.0).await?;
    let launcher = Launcher {
        binary: binary.to_owned(),
        folder: folder.0.clone(),
        urls: servers.urls().clone(),
    };
    launcher.run(&["migrate"]).await?;
    let work = launcher.work(&[]).await?;
    let source = format!("bench {wanted:?}");
    launcher
        .run(&["import", GRAPH, "--source", &source])
        .await
        .context("the graph is not loaded")?;
    eprintln!("loaded after {:.0} s", began.elapsed().as_secs_f64());
    servers.settle().await?;
    work.stop().await?;
    // As autovacuum and the log's own rewriting leave them, sooner or later.
    servers.execute("VACUUM ANALYZE; CHECKPOINT").await?;
    let mut log = servers.log.clone();
    redis::cmd("BGREWRITEAOF")
        .query_async::<()>(&mut log)
        .await?;
    crate::wait::until("the log is rewritten", 60, async || {
        let info: String = redis::cmd("INFO")
            .arg("persistence")
            .query_async(&mut log)
            .await?;
        Ok((!info.contains("aof_rewrite_in_progress:1")).then_some(()))
    })
    .await?;
    servers.stop().await?;
    fs::remove_file(&activity)?;
    fs::rename(&folder.0, kept)?;
    eprintln!("folded after {:.0} s", began.elapsed().as_secs_f64());
    Ok(())
}

/// Keeps the data of the last few graphs only: each is about a gigabyte.
fn forget_old(results: &Path) -> anyhow::Result<()> {
    let mut kept: Vec<_> = fs::read_dir(results)?
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("seeded-"))
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    kept.sort();
    while kept.len() >= KEPT_MAX {
        fs::remove_dir_all(kept.remove(0).1)?;
    }
    Ok(())
}
