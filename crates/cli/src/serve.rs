//! `headwater serve`: the API alone.

use crate::{node::Node, settings::Settings, stop};

pub async fn run(settings: Settings) -> anyhow::Result<()> {
    let node = Node::connect(settings).await?;
    let listener = api::listen(node.settings.listen_address).await?;
    let address = listener.local_addr()?;
    let stopped = stop::on_signal()?;
    node.metrics(stopped.clone()).await?;
    eprintln!("API            http://{address}/v1");
    eprintln!("documentation  http://{address}/docs");
    api::serve(listener, std::sync::Arc::new(node.services()?), stopped).await?;
    kernel::crash::point("shutdown.served");
    Ok(())
}
