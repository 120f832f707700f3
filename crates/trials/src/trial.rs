//! One trial: a fresh product, load, the fault, the restart, the invariants.
//! What the faults are is told in `faults.rs`, what must hold in `checks.rs`.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use oracle::Target as Examined;
use tokio::task::JoinSet;

use crate::{
    checks,
    client::Client,
    disk::{self, Disk},
    faults::{self, Fired},
    journal::{self, Journal},
    lane::{Lane, token},
    lasting,
    load::Load,
    operators,
    plan::{Fault, Plan, Target},
    product::{
        Addresses, CURSOR_SECRET, ISSUER, KEY_PREFIX, Process, Setting, TOKEN_SECRET, VAULT_SECRET,
    },
    proxy::Proxy,
    record::Record,
    state, unfit,
};

/// Clients end within a request's deadline.
const END_SECONDS_MAX: u64 = 35;
const WATCH_MILLISECONDS: u64 = 30;
const JOURNAL: &str = "journal.jsonl";
/// Accounts whose home the oracle reads page by page.
const HOME_SAMPLE: usize = 8;

/// What a trial runs with, while it runs.
pub struct Trial<'a> {
    pub lane: &'a mut Lane,
    pub seed: u64,
    pub plan: Plan,
    pub folder: PathBuf,
    /// Of the servers themselves.
    pub direct: Addresses,
    pub setting: Setting,
    pub api: Process,
    pub workers: Vec<Process>,
    pub client: Client,
    pub load: Arc<Load>,
    pub clients: JoinSet<anyhow::Result<()>>,
    pub proxy: Option<Proxy>,
    pub disk: Option<Disk>,
    /// Since all that was down was started again.
    pub restarted: Instant,
    pub violations: Vec<String>,
}

/// Runs a trial in `folder`, which holds its logs then.
pub async fn run(lane: &mut Lane, seed: u64, number: u64, folder: PathBuf) -> Record {
    let started = Instant::now();
    let plan = Plan::draw(seed, number);
    let mut record = Record {
        seed,
        number,
        fault: plan.fault.name(),
        plan: serde_json::to_value(&plan).unwrap_or_default(),
        ..Record::default()
    };
    if let Err(error) = run_whole(lane, plan, folder, &mut record).await {
        match error.downcast_ref::<disk::NoMount>() {
            Some(reason) => record.skipped = Some(reason.to_string()),
            None => record.violations.push(format!("{error:#}")),
        }
    }
    record.seconds = started.elapsed().as_secs_f64();
    record
}

async fn run_whole(
    lane: &mut Lane,
    plan: Plan,
    folder: PathBuf,
    record: &mut Record,
) -> anyhow::Result<()> {
    let mut trial = Trial::start(lane, record.seed, plan, folder).await?;
    let judged = trial.judge(record).await;
    let load = trial.load.clone();
    record.violations.append(&mut trial.violations);
    record.violations.extend(load.complaints());
    let ended = trial.end().await;
    judged?;
    ended
}

impl<'a> Trial<'a> {
    async fn start(
        lane: &'a mut Lane,
        seed: u64,
        plan: Plan,
        folder: PathBuf,
    ) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&folder)?;
        let mut direct = lane.reset().await?;
        let mut disk = None;
        if let Fault::FullDisk { target } = plan.fault {
            disk = Some(Disk::start(lane, target, &mut direct).await?);
        }
        if plan.fault == Fault::TornLog {
            // A short tail: what earlier trials wrote is not looked at.
            crate::torn::compact(&direct.log).await?;
        }
        let mut addresses = direct.clone();
        let mut port = lane.port;
        let mut proxy = None;
        if let Fault::Proxy {
            target,
            disturbance,
        } = plan.fault
        {
            let address = match target {
                Target::Log => Some(&mut addresses.log),
                Target::Views => Some(&mut addresses.views),
                Target::Postgres => Some(&mut addresses.database),
                _ => None,
            };
            let to = address.as_deref().map_or(Some(port), |url| port_of(url));
            let to = to.context("a server without a port")?;
            let started = Proxy::start(to, disturbance, seed ^ plan.number).await?;
            match address {
                Some(url) => *url = url.replace(&format!(":{to}/"), &format!(":{}/", started.port)),
                None => port = started.port,
            }
            proxy = Some(started);
        }
        let mut setting = lane.setting(folder.clone(), addresses, plan.push_followers_max);
        if plan.fault.archives() {
            setting.beside = operators::archiving(&folder);
        }
        let (mut for_api, mut for_worker) = (None, None);
        if let Fault::Crash {
            target,
            point,
            count,
        } = plan.fault
        {
            let armed = Some(format!("{point}:{count}"));
            match target {
                Target::Api => for_api = armed,
                _ => for_worker = armed,
            }
        }
        if let Fault::CrashInShutdown { target, point } = plan.fault {
            let armed = Some(format!("{point}:1"));
            match target {
                Target::Api => for_api = armed,
                _ => for_worker = armed,
            }
        }
        let mut api = setting.start("api", "serve", for_api.as_deref())?;
        let mut workers = Vec::new();
        for number in 0..plan.workers {
            let armed = for_worker.as_deref().filter(|_| number == 0);
            workers.push(setting.start(&format!("worker{number}"), "work", armed)?);
        }
        let client = Client::new(lane.port)?;
        client.until_ready(&mut api).await?;
        let accounts = lane.accounts.iter().map(|id| Ok((*id, token(*id)?)));
        let accounts = accounts.collect::<anyhow::Result<Vec<_>>>()?;
        let journal = Journal::start(&folder.join(JOURNAL))?;
        let load = Arc::new(Load::new(accounts, plan.registrations, journal));
        let pace = Duration::from_millis(plan.pace_milliseconds);
        let random = |who| plan.random(seed, 1_000 + who);
        let clients = load.start(port, plan.clients, pace, random)?;
        Ok(Self {
            lane,
            seed,
            plan,
            folder,
            direct,
            setting,
            api,
            workers,
            client,
            load,
            clients,
            proxy,
            disk,
            restarted: Instant::now(),
            violations: Vec::new(),
        })
    }

    async fn judge(&mut self, record: &mut Record) -> anyhow::Result<()> {
        let watch = match self.plan.fault.empties_log() {
            // Rows are ahead of a log that is not there.
            true => tokio::spawn(std::future::ready(Vec::new())),
            false => tokio::spawn(watch(self.direct.clone())),
        };
        let fired = faults::inject(self).await;
        let Fired { fired, note } = match fired {
            Ok(fired) => fired,
            Err(error) => {
                watch.abort();
                return Err(error);
            }
        };
        (record.fired, record.note) = (fired, note);
        self.client.until_ready(&mut self.api).await?;
        record.ready_seconds = self.restarted.elapsed().as_secs_f64();
        let after = Duration::from_millis(self.plan.after_milliseconds);
        tokio::time::sleep(after).await;
        self.end_load().await?;

        let mut random = self.plan.random(self.seed, 1);
        let load = self.load.clone();
        let (unknown, repeated) = load
            .send_again(self.lane.port, &mut random, self.plan.fault.loses_log())
            .await?;
        (record.unknown, record.repeated) = (unknown, repeated);
        let (broken, reason) = load.broken.lock().clone();
        if broken > 0 && !self.plan.fault.breaks_connections() {
            let complaint = format!("{broken} connections broke, though the API lived: {reason}");
            self.violations.push(complaint);
        }
        let settled = state::until_settled(&self.direct).await;
        watch.abort();
        // One that was aborted in time has nothing to say.
        self.violations.extend(watch.await.unwrap_or_default());
        record.settled_seconds = settled?.as_secs_f64();
        self.look_at_processes(record)?;
        if self.plan.fault.unfit() {
            lasting::mended(self).await?;
        }
        let lost = self.load.lost.lock().clone();
        if !lost.is_empty() {
            journal::leave_out(&self.folder.join(JOURNAL), &lost)?;
        }
        if self.plan.fault.archives() {
            operators::put_together(self).await?;
        }
        self.compare(record).await
    }

    pub async fn end_load(&mut self) -> anyhow::Result<()> {
        self.load.end();
        let patience = Duration::from_secs(END_SECONDS_MAX);
        let joined = tokio::time::timeout(patience, async {
            while let Some(done) = self.clients.join_next().await {
                done??;
            }
            anyhow::Ok(())
        });
        joined
            .await
            .context("a client hangs beyond every deadline")?
    }

    fn look_at_processes(&mut self, record: &mut Record) -> anyhow::Result<()> {
        for process in self.workers.iter_mut().chain([&mut self.api]) {
            if let Some(status) = process.ended() {
                let lines = process.last_lines();
                let name = process.name();
                let complaint = format!("{name} ended by itself with {status}: {lines}");
                self.violations.push(complaint);
                continue;
            }
            let usage = process.usage()?;
            let name = process.name().to_owned();
            self.violations.extend(checks::usage(&name, usage));
            let counted = [
                ("MiB", usage.memory_megabytes),
                ("descriptors", usage.descriptors),
                ("threads", usage.threads),
            ];
            for (what, count) in counted {
                record.counts.insert(format!("{name} {what}"), count);
            }
        }
        Ok(())
    }

    /// The log against the book, and everything against the oracle.
    pub async fn compare(&mut self, record: &mut Record) -> anyhow::Result<()> {
        let events = state::events(&self.direct.log).await?;
        let commands = self.load.commands.lock().clone();
        self.violations.extend(checks::log(&events, &commands));
        let count = |of: std::ops::Range<u16>| {
            let outcomes = commands.iter().filter_map(|c| c.outcome.as_ref());
            outcomes.filter(|o| of.contains(&o.status)).count() as u64
        };
        record.acknowledged = count(200..300);
        record.refused = count(400..500);
        record.reads = self.load.reads.load(std::sync::atomic::Ordering::Relaxed);
        let counts = examine(&self.direct, &self.setting, self.seed, Some(&self.folder)).await?;
        self.violations.extend(counts.violations);
        record.counts.extend(counts.counts);
        Ok(())
    }

    /// Everything ends in good order; servers stay for the next trial.
    async fn end(mut self) -> anyhow::Result<()> {
        self.clients.abort_all();
        let mut wrong = Vec::new();
        for process in self.workers.iter_mut().chain([&mut self.api]) {
            if process.ended().is_some() {
                continue;
            }
            let ended = process.stop().await;
            let fine = ended.as_ref().is_ok_and(std::process::ExitStatus::success);
            if !fine {
                wrong.push(format!("{} does not end well: {ended:?}", process.name()));
                process.kill().await?;
            }
        }
        if let Some(disk) = self.disk.take() {
            disk.end(self.lane).await?;
        }
        if self.plan.fault.unfit() {
            unfit::heal(self.lane).await?;
        }
        anyhow::ensure!(wrong.is_empty(), "{}", wrong.join("; "));
        Ok(())
    }
}

/// Asks the oracle about the product behind `setting`.
pub async fn examine(
    direct: &Addresses,
    setting: &Setting,
    seed: u64,
    journal: Option<&std::path::Path>,
) -> anyhow::Result<oracle::Verdict> {
    let target = Examined {
        log_url: direct.log.clone(),
        key_prefix: KEY_PREFIX.into(),
        database_url: direct.database.clone(),
        views_url: Some(direct.views.clone()),
        api_url: Some(format!("http://127.0.0.1:{}", setting.port)),
        token_secret: Some(TOKEN_SECRET.into()),
        vault_secrets: vec![VAULT_SECRET.into()],
        cursor_secret: Some(CURSOR_SECRET.into()),
        token_issuer: ISSUER.into(),
        home_sample: HOME_SAMPLE,
        seed,
        journal: journal.map(|folder| folder.join(JOURNAL)),
    };
    let examined = tokio::task::spawn_blocking(move || oracle::examine(&target)).await?;
    Ok(examined?)
}

/// Looks at the checkpoints for as long as the trial runs; returns what it
/// found wrong when it has found something.
async fn watch(direct: Addresses) -> Vec<String> {
    loop {
        // A server that is down says nothing.
        if let Ok(checkpoints) = state::checkpoints(&direct.database).await
            && let Ok(heads) = state::heads(&direct.log).await
        {
            let found = checks::checkpoints(&checkpoints, &heads);
            if !found.is_empty() {
                return found;
            }
        }
        tokio::time::sleep(Duration::from_millis(WATCH_MILLISECONDS)).await;
    }
}

fn port_of(url: &str) -> Option<u16> {
    let (_, rest) = url.rsplit_once(':')?;
    rest.split('/').next()?.parse().ok()
}
