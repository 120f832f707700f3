//! `headwater serve`: the API alone.

use crate::{node::Node, reach::ProcessKind, settings::Settings, spans::Exporter, stop};

pub async fn run(settings: Settings) -> anyhow::Result<()> {
    let exporter = Exporter::start(&settings)?;
    let node = Node::begin(settings, ProcessKind::Serve).await?;
    let node = node.recorded(exporter.spans());
    let listener = edge::server::listen(node.settings.listen_address).await?;
    let address = listener.local_addr()?;
    let stopped = stop::on_signal()?;
    node.metrics(stopped.clone()).await?;
    eprintln!("API            http://{address}/v1");
    eprintln!("documentation  http://{address}/docs");
    let services = std::sync::Arc::new(node.services().await?);
    api::serve(listener, services, stopped).await?;
    exporter.end().await;
    kernel::crash::point("shutdown.served");
    Ok(())
}
