//! `headwater work`: the workers alone.

use crate::{node::Node, settings::Settings, stop};

pub async fn run(settings: Settings) -> anyhow::Result<()> {
    let node = Node::connect(settings).await?;
    let stopped = stop::on_signal()?;
    node.metrics(stopped.clone()).await?;
    eprintln!("works on the log; Ctrl-C ends it");
    node.work(stopped).await;
    Ok(())
}
