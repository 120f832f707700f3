//! Log lines: to standard error, as text or JSON.

use std::io::IsTerminal;

use anyhow::Context;
use tracing_subscriber::EnvFilter;

use crate::settings::{TRACE_FILTER, TRACE_FORMAT, Values};

pub fn start(values: &Values) -> anyhow::Result<()> {
    let filter = values.get(TRACE_FILTER).0.unwrap_or_default();
    let filter = EnvFilter::try_new(filter)
        .with_context(|| format!("{TRACE_FILTER} cannot be read; write info or worker=debug"))?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        // It would panic where standard error is gone.
        .log_internal_errors(false)
        .with_writer(std::io::stderr);
    match values.get(TRACE_FORMAT).0 {
        Some("json") => lines.json().init(),
        Some("text") => lines.init(),
        _ => anyhow::bail!("{TRACE_FORMAT} is text or json"),
    }
    Ok(())
}
