//! `headwater work`: the workers alone.

use crate::{node::Node, reach::ProcessKind, settings::Settings, spans::Exporter, stop};

pub async fn run(settings: Settings) -> anyhow::Result<()> {
    let exporter = Exporter::start(&settings)?;
    let node = Node::begin(settings, ProcessKind::Work).await?;
    let node = node.recorded(exporter.spans());
    let stopped = stop::on_signal()?;
    node.metrics(stopped.clone()).await?;
    eprintln!("works on the log; Ctrl-C ends it");
    node.work(stopped).await;
    exporter.end().await;
    Ok(())
}
