//! `oracle`: examines a running system and tells what is wrong with it. It
//! refuses to change anything.

use std::{path::PathBuf, process::ExitCode};

use clap::Parser;
use oracle::{Target, Verdict, examine};

const VIOLATIONS_FOUND: u8 = 1;
const UNREACHABLE: u8 = 2;

/// Compares the tables, the lists and the answers of a system with its log.
#[derive(Parser)]
struct Arguments {
    /// redis://[user:password@]host:port[/database]
    #[arg(long, env = "REDIS_LOG_URL")]
    log_url: String,
    #[arg(long, env = "KEY_PREFIX", default_value = "hw")]
    key_prefix: String,
    /// postgres://user:password@host:port/database
    #[arg(long, env = "DATABASE_URL")]
    database_url: String,
    /// Also look at the lists of home timelines
    #[arg(long, env = "REDIS_VIEWS_URL")]
    views_url: Option<String>,
    /// Also ask the API, such as http://127.0.0.1:8080
    #[arg(long)]
    api_url: Option<String>,
    /// Sign in as accounts of the sample
    #[arg(long, env = "TOKEN_SECRET", hide_env_values = true)]
    token_secret: Option<String>,
    #[arg(long, default_value = "headwater")]
    token_issuer: String,
    /// What the vault's keys are wrapped with
    #[arg(
        long,
        env = "VAULT_SECRET",
        hide_env_values = true,
        value_delimiter = ','
    )]
    vault_secrets: Vec<String>,
    /// Ask for answers that have all that the log has
    #[arg(long, env = "CURSOR_SECRET", hide_env_values = true)]
    cursor_secret: Option<String>,
    /// Accounts whose homes, lists and posts are read page by page
    #[arg(long, default_value_t = 50)]
    home_sample: usize,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Acknowledgements to look for, one JSON object a line
    #[arg(long)]
    journal: Option<PathBuf>,
    /// Tell the verdict as one JSON object
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let json = arguments.json;
    let target = Target {
        log_url: arguments.log_url,
        key_prefix: arguments.key_prefix,
        database_url: arguments.database_url,
        views_url: arguments.views_url,
        api_url: arguments.api_url,
        token_secret: arguments.token_secret,
        token_issuer: arguments.token_issuer,
        vault_secrets: arguments.vault_secrets,
        cursor_secret: arguments.cursor_secret,
        home_sample: arguments.home_sample,
        seed: arguments.seed,
        journal: arguments.journal,
    };
    let verdict = match examine(&target) {
        Ok(verdict) => verdict,
        Err(error) => {
            eprintln!("nothing can be said: {error}");
            return ExitCode::from(UNREACHABLE);
        }
    };
    if json {
        let (violations, counts) = (&verdict.violations, &verdict.counts);
        let told = serde_json::json!({"violations": violations, "counts": counts});
        println!("{told}");
    } else {
        tell(&verdict);
    }
    match verdict.violations.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(VIOLATIONS_FOUND),
    }
}

fn tell(verdict: &Verdict) {
    for (what, number) in &verdict.counts {
        println!("{number:>9}  {what}");
    }
    if verdict.violations.is_empty() {
        println!("all is as the log says");
        return;
    }
    println!();
    for violation in &verdict.violations {
        println!("- {violation}");
    }
}
