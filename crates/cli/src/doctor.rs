//! `headwater doctor`: looks at everything the product stands on, and says of
//! each finding what it means and what mends it. It changes nothing.

mod checks;

use std::io::{IsTerminal, Write};

use clap::Args;
use serde_json::json;

use crate::{
    outcome::Outcome,
    settings::Values,
    table::{self, Tone},
};

#[derive(Args)]
#[command(after_help = "Examples:
  headwater doctor
  headwater doctor --json | jq 'select(.grade == \"problem\")'

Exit status: 0 where nothing has to be mended, 3 where something has, 1 where it
could not look. Into a pipe it prints JSON lines. It changes nothing.")]
pub struct Doctor {
    /// One JSON object a line for each finding
    #[arg(long)]
    json: bool,
}

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grade {
    Well,
    /// Nothing is wrong yet.
    Notice,
    Problem,
}

impl Grade {
    fn name(self) -> &'static str {
        match self {
            Self::Well => "well",
            Self::Notice => "notice",
            Self::Problem => "problem",
        }
    }

    fn tone(self) -> Tone {
        match self {
            Self::Well => Tone::Well,
            Self::Notice => Tone::Notable,
            Self::Problem => Tone::Bad,
        }
    }
}

/// What was seen of one part.
#[derive(Clone, Debug)]
pub struct Finding {
    pub part: &'static str,
    pub grade: Grade,
    pub seen: String,
    /// A command, or what else to do; none where all is well.
    pub mend: Option<String>,
}

impl Finding {
    pub fn well(part: &'static str, seen: impl Into<String>) -> Self {
        Self {
            part,
            grade: Grade::Well,
            seen: seen.into(),
            mend: None,
        }
    }

    pub fn notice(part: &'static str, seen: impl Into<String>, mend: impl Into<String>) -> Self {
        Self {
            grade: Grade::Notice,
            mend: Some(mend.into()),
            ..Self::well(part, seen)
        }
    }

    pub fn problem(part: &'static str, seen: impl Into<String>, mend: impl Into<String>) -> Self {
        Self {
            grade: Grade::Problem,
            mend: Some(mend.into()),
            ..Self::well(part, seen)
        }
    }
}

pub async fn run(arguments: Doctor, values: &Values) -> anyhow::Result<Outcome> {
    let findings = match values.read() {
        Ok(settings) => checks::all(&settings).await,
        Err(bad) => vec![Finding::problem(
            "settings",
            bad.to_string(),
            "headwater config",
        )],
    };
    let mut out = std::io::stdout().lock();
    if arguments.json || !std::io::stdout().is_terminal() {
        for finding in &findings {
            let line = json!({
                "part": finding.part,
                "grade": finding.grade.name(),
                "seen": finding.seen,
                "mend": finding.mend,
            });
            writeln!(out, "{line}")?;
        }
    } else {
        show(&mut out, &findings)?;
    }
    out.flush()?;
    let worst = findings.iter().map(|finding| finding.grade).max();
    Ok(match worst {
        Some(Grade::Problem) => Outcome::Problems,
        _ => Outcome::Done,
    })
}

fn show(out: &mut impl Write, findings: &[Finding]) -> std::io::Result<()> {
    let colours = table::colours();
    let row = |finding: &Finding| {
        vec![
            table::text(finding.part),
            table::toned(finding.grade.name(), finding.grade.tone()),
            table::text(&finding.seen),
        ]
    };
    let rows: Vec<_> = findings.iter().map(row).collect();
    table::write(out, &["PART", "GRADE", "SEEN"], &rows, colours)?;
    let mends = findings.iter().filter(|finding| finding.mend.is_some());
    for finding in mends {
        let mend = finding.mend.as_deref().unwrap_or_default();
        writeln!(
            out,
            "\n{}: {}\n  mend it: {mend}",
            finding.part, finding.seen
        )?;
    }
    Ok(())
}
