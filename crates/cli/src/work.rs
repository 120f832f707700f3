//! `headwater work`: the workers alone.

use crate::{node::Node, settings::Settings, stop};

pub async fn run(settings: Settings) -> anyhow::Result<()> {
    let node = Node::connect(settings).await?;
    eprintln!("works on the log; Ctrl-C ends it");
    node.work(stop::on_signal()?).await;
    Ok(())
}
