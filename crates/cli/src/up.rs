//! `headwater up`: private servers, the API and the workers, in one process.
//! Where all three addresses are set, nothing private is started.

use std::{io::ErrorKind, net::SocketAddr, path::Path};

use anyhow::Context;
use devservices::{Programs, Stack, holder};
use tokio::sync::watch;

use crate::{
    node::Node,
    origin::Loss,
    reach::{self, ProcessKind},
    running::{self, Running, Secrets},
    settings::{
        DATABASE_URL, LISTEN_ADDRESS, REDIS_LOG_URL, REDIS_VIEWS_URL, Settings, Source, Values,
    },
    spans::Exporter,
    stop,
};

pub async fn run(
    folder: &Path,
    environment: impl Fn(&str) -> Option<String>,
) -> anyhow::Result<()> {
    let own = [DATABASE_URL, REDIS_LOG_URL, REDIS_VIEWS_URL];
    let given: Vec<_> = own
        .iter()
        .filter(|name| environment(name).is_some_and(|value| !value.is_empty()))
        .collect();
    if given.len() == own.len() {
        running::write_for_oneself();
        let settings = Values::gather(environment, None).read()?;
        return serve_and_work(settings, false, false, |_| Ok(())).await;
    }
    if let Some(name) = given.first() {
        anyhow::bail!("{name} is set; set all of {} or none", own.join(", "));
    }

    let say = |line: &str| eprintln!("{line}");
    Stack::check_folder(folder)?;
    let programs = Programs::find_or_install(&say).await?;
    running::write_for_oneself();
    if holder(folder).is_none() {
        // Of one that was killed.
        Running::remove(folder);
    }
    let stack = Stack::start(folder, &programs, &say).await?;
    running::make_folders(folder)?;
    let running = Running {
        process: std::process::id(),
        api: String::new(),
        urls: stack.urls().clone(),
        archive: running::archive_url(folder),
        mail: running::mail_url(folder),
        secrets: Secrets::load_or_make(folder)?,
    };
    let values = Values::gather(environment, Some(&running));
    // The usual port may be another folder's: any will do.
    let any_port = values.get(LISTEN_ADDRESS).1 == Source::Default;
    let served = match values.read() {
        Ok(settings) => {
            let note = |api: &str| {
                let api = api.to_owned();
                Running { api, ..running }.write(folder)
            };
            serve_and_work(settings, true, any_port, note).await
        }
        Err(bad) => Err(bad.into()),
    };
    Running::remove(folder);
    eprintln!(
        "stops the servers; their data stays in {}",
        folder.join(".headwater").display()
    );
    stack.stop().await?;
    // These servers run under `up` alone.
    served.map_err(|error| match error.is::<Loss>() {
        true => error.context(format!(
            "the log in {} is not the one that its database belongs to: put the folder redis-log \
             there back from a copy, or move all of it away to begin with nothing",
            folder.join(".headwater").display()
        )),
        false => error,
    })
}

async fn serve_and_work(
    settings: Settings,
    alone: bool,
    any_port: bool,
    ready: impl FnOnce(&str) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let stopped = stop::on_signal()?;
    let database = reach::database_to_migrate(&settings).await?;
    migrations::migrate(&database, &readmodel::Projections::default()).await?;
    database.close().await?;
    let exporter = Exporter::start(&settings)?;
    let node = Node::begin(settings, ProcessKind::Up).await?;
    let node = node.recorded(exporter.spans());
    let address = node.settings.listen_address;
    let mail_folder = kernel::folder_of(&node.settings.mail_url).transpose()?;
    let listener = match edge::server::listen(address).await {
        Err(error) if any_port && error.kind() == ErrorKind::AddrInUse => {
            edge::server::listen(SocketAddr::new(address.ip(), 0)).await
        }
        listener => listener,
    };
    let listener =
        listener.with_context(|| format!("{address} cannot be listened on; set LISTEN_ADDRESS"))?;
    let address = listener.local_addr()?;
    if alone {
        // The workers of a killed `up` are gone with it: nobody waits for
        // their leases to end.
        readmodel::leases::clear(node.database.get_postgres_connection_pool()).await?;
    }
    let services = std::sync::Arc::new(node.services().await?);
    // Not before the API: what it still answers may wait for what it just wrote.
    let (stop_work, work_stopped) = watch::channel(false);
    let worker = node.clone();
    let work = tokio::spawn(async move { worker.work(work_stopped).await });
    node.metrics(stopped.clone()).await?;
    ready(&format!("http://{address}"))?;
    eprintln!("API            http://{address}/v1");
    eprintln!("documentation  http://{address}/docs");
    if let Some(folder) = mail_folder {
        eprintln!("mail           {}", folder.display());
    }
    eprintln!("Ctrl-C stops it; the data stays");
    let served = api::serve(listener, services, stopped).await;
    eprintln!("drains");
    stop_work.send_replace(true);
    let worked = work.await.context("the workers ended badly");
    exporter.end().await;
    worked?;
    Ok(served?)
}
