//! One run: the servers on a copy of the loaded data, the roles, and the loops
//! that every figure measures with. Figures are measured against "hello" of the
//! same run.

use std::{net::SocketAddr, path::Path, time::Duration};

use crate::{
    arguments::Arguments,
    ceilings::hello,
    line::{Line, Unit},
    load::{Load, Maker, Makers, Seen, closed, open, request},
    roles::{Launcher, Role},
    seeded::{self, Folder},
    servers::Servers,
    world::World,
};

/// The open loop sends this share of what the closed loop got.
const OPEN_SHARE: f64 = 0.5;

pub struct Bench {
    pub arguments: Arguments,
    pub servers: Servers,
    pub launcher: Launcher,
    pub world: World,
    pub api: SocketAddr,
    serve: Role,
    work: Option<Role>,
    /// Good answers a second of the bare program.
    pub hello: f64,
    /// Mixed requests a second beside a rebuild: half of what was done at most. The
    /// second build of a pair gets what the first has found, or the faster one
    /// would be asked for more.
    pub beside_rebuild: Option<f64>,
    /// After everything that uses it.
    _folder: Folder,
}

impl Bench {
    /// `build` tells builds apart whose data may look different.
    pub async fn start(arguments: &Arguments, binary: &Path, build: &str) -> anyhow::Result<Self> {
        let graph = &arguments.graph;
        let folder = seeded::copy(binary, build, graph, arguments.fresh).await?;
        let servers = Servers::start(&folder.0).await?;
        let launcher = Launcher {
            binary: binary.to_owned(),
            folder: folder.0.clone(),
            urls: servers.urls().clone(),
        };
        let world = World::look(&servers.pool).await?;
        // The graph may have been kept by an earlier build.
        launcher.run(&["migrate"]).await?;
        let (serve, api) = launcher.serve().await?;
        Ok(Self {
            arguments: arguments.clone(),
            servers,
            launcher,
            world,
            api,
            serve,
            work: None,
            hello: 0.0,
            beside_rebuild: None,
            _folder: folder,
        })
    }

    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.without_worker().await?;
        self.serve.stop().await?;
        self.servers.stop().await
    }

    /// Measures the ceiling of everything that speaks HTTP.
    pub async fn measure_hello(&mut self) -> anyhow::Result<Line> {
        let (mut child, address) = hello::start().await?;
        let load = Load {
            address,
            process: child.id().unwrap_or_default(),
            ..self.load()
        };
        let makers =
            |_| -> crate::load::Maker { Box::new(|out| request(out, "GET", &["/hello"], "", "")) };
        let (most, steady) = self.measure(&load, &makers).await?;
        child.kill().await?;
        self.hello = most.rate();
        let name = "hello: bare poem-openapi";
        let line = Line::new("hello", name, most.rate(), Unit::PerSecond);
        Ok(line.latencies(&steady).complaints(&most).processor(&most))
    }

    /// The same once more, to tell how much the machine has changed meanwhile.
    pub async fn measure_hello_again(&self) -> anyhow::Result<Line> {
        let (mut child, address) = hello::start().await?;
        let load = Load {
            address,
            process: child.id().unwrap_or_default(),
            ..self.load()
        };
        let seen = closed(&load, &hello_makers).await?;
        child.kill().await?;
        let line = Line::new("hello_again", "hello, again", seen.rate(), Unit::PerSecond);
        Ok(line.ceiling("hello", self.hello).complaints(&seen))
    }

    /// A closed loop for how much, then an open one at half of that for how
    /// long it takes.
    pub async fn measure(&self, load: &Load, makers: &Makers) -> anyhow::Result<(Seen, Seen)> {
        let most = closed(load, makers).await?;
        let steady = open(load, most.rate() * OPEN_SHARE, makers).await?;
        Ok((most, steady))
    }

    /// Against the API, for as long as was asked for.
    pub fn load(&self) -> Load {
        Load {
            address: self.api,
            process: self.serve_process(),
            connections: usize::from(self.arguments.connections),
            warm_up: self.arguments.warm_up(),
            measured: self.arguments.measured(),
            requests_max: u64::MAX,
            observer: None,
            hold: Default::default(),
        }
    }

    /// A line whose ceiling is hello.
    pub fn line(&self, key: &str, name: &str, (most, steady): &(Seen, Seen)) -> Line {
        let line = Line::new(key, name, most.rate(), Unit::PerSecond);
        let line = line.complaints(most).latencies(steady).processor(most);
        line.ceiling("hello", self.hello)
    }

    /// A worker runs, and has nothing left to do.
    pub async fn with_worker(&mut self) -> anyhow::Result<()> {
        if self.work.is_none() {
            self.start_worker(&[]).await?;
        }
        self.servers.settle().await
    }

    /// A worker that runs has nothing left to do.
    pub async fn finish(&self) -> anyhow::Result<()> {
        match self.work {
            Some(_) => self.servers.settle().await,
            None => Ok(()),
        }
    }

    /// Starts the worker, and does not wait for what it does.
    pub async fn start_worker(&mut self, settings: &[(&str, &str)]) -> anyhow::Result<()> {
        self.work = Some(self.launcher.work(settings).await?);
        Ok(())
    }

    /// A process that has served nothing yet.
    pub async fn restart_serve(&mut self) -> anyhow::Result<()> {
        let (serve, api) = self.launcher.serve().await?;
        self.api = api;
        std::mem::replace(&mut self.serve, serve).stop().await
    }

    pub async fn without_worker(&mut self) -> anyhow::Result<()> {
        match self.work.take() {
            Some(work) => work.stop().await,
            None => Ok(()),
        }
    }

    pub fn serve_process(&self) -> u32 {
        self.serve.process()
    }

    pub fn seconds(&self, seconds: u64) -> Duration {
        match self.arguments.quick {
            true => Duration::from_secs((seconds / 12).clamp(1, 3)),
            false => Duration::from_secs(seconds),
        }
    }
}

fn hello_makers(_: usize) -> Maker {
    Box::new(|out| request(out, "GET", &["/hello"], "", ""))
}
