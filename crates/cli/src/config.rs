//! `headwater config`: every setting with its value, source and meaning.
//! Secrets are shown as set or not.

use std::io::Write;

use crate::settings::{self, Source, Values};

pub fn run(values: &Values) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    for setting in settings::all() {
        let (value, source) = values.get(setting.name);
        let shown = match value {
            Some(_) if setting.secret => "(secret)",
            Some(value) => value,
            None => "",
        };
        let default = match setting.default.as_deref() {
            Some(default) if source != Source::Default => format!(" (default {default})"),
            _ => String::new(),
        };
        let (name, about) = (setting.name, setting.about);
        writeln!(
            out,
            "{name:24} {source:12} {shown}\n{:24} {about}{default}",
            ""
        )?;
    }
    if let Err(bad) = values.read() {
        writeln!(out)?;
        out.flush()?;
        return Err(bad.into());
    }
    Ok(())
}
