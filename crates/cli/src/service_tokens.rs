//! `headwater service-tokens`: tokens of programs that act for nobody. It
//! refuses to show one again: only its hash is kept.

use std::io::{IsTerminal, Write};

use clap::{Args, Subcommand};
use kernel::Uuid;
use serde_json::json;
use time::OffsetDateTime;
use vault::{SERVICE_TOKEN_DAYS_MAX, Scope, ServiceTokenInfo};

use crate::{
    node::Node,
    operator,
    settings::Settings,
    table::{self, Tone},
};

const NAME_CHARACTERS_MAX: usize = 64;

#[derive(Args)]
#[command(after_help = "Examples:
  headwater service-tokens make dashboard --scope operations:read --days 90
  headwater service-tokens list")]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make a token, and print it once
    Make(Make),
    /// All tokens, without their secrets
    #[command(after_help = "Examples:
  headwater service-tokens list
  headwater service-tokens list | jq .name")]
    List,
    /// End a token, on every process at once
    Revoke(Revoke),
}

#[derive(Args)]
#[command(after_help = "Examples:
  headwater service-tokens make dashboard --scope operations:read
  TOKEN=$(headwater service-tokens make nightly --scope operations:read --days 7)")]
struct Make {
    /// What it is for
    #[arg(value_parser = name)]
    name: String,
    /// What it may do: operations:read
    #[arg(long = "scope", required = true)]
    scopes: Vec<Scope>,
    /// How long it counts
    #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(i64).range(1..=SERVICE_TOKEN_DAYS_MAX))]
    days: i64,
}

#[derive(Args)]
#[command(after_help = "Examples:
  headwater service-tokens revoke 019a2b3c-4d5e-7f60-8192-a3b4c5d6e7f8
  headwater service-tokens list | jq -r 'select(.name == \"nightly\").id' | xargs headwater service-tokens revoke")]
struct Revoke {
    id: Uuid,
}

pub async fn run(arguments: Arguments, settings: Settings) -> anyhow::Result<()> {
    let node = Node::connect(settings).await?;
    match arguments.command {
        Command::Make(make) => {
            let name = make.name.as_str();
            operator::record(&node, "service-tokens make", name, None).await?;
            let (vault, maker) = (&node.vault, operator::name());
            let made = vault.make_service_token(name, &make.scopes, make.days, &maker);
            let (id, token) = made.await?;
            eprintln!(
                "{name} is {id}; it counts for {} days and is shown once",
                make.days
            );
            eprintln!("To end it: headwater service-tokens revoke {id}");
            println!("{}", token.reveal());
        }
        Command::List => list(&node.vault.service_tokens().await?)?,
        Command::Revoke(Revoke { id }) => {
            operator::record(&node, "service-tokens revoke", &id.to_string(), None).await?;
            match node.vault.revoke_service_token(id).await? {
                true => eprintln!("{id} counts no more"),
                false => anyhow::bail!("there is no such token, or it was revoked before"),
            }
        }
    }
    Ok(())
}

fn name(text: &str) -> Result<String, String> {
    operator::line("a name", text, NAME_CHARACTERS_MAX)
}

fn list(tokens: &[ServiceTokenInfo]) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let day = |at: OffsetDateTime| at.date().to_string();
    let or_never = |at: Option<OffsetDateTime>| at.map_or_else(|| "never".into(), day);
    if !std::io::stdout().is_terminal() {
        for token in tokens {
            let seconds = |at: Option<OffsetDateTime>| at.map(OffsetDateTime::unix_timestamp);
            let line = json!({
                "id": token.id,
                "name": token.name,
                "scopes": token.scopes,
                "made_by": token.made_by,
                "made_at": token.made_at.unix_timestamp(),
                "expires_at": token.expires_at.unix_timestamp(),
                "used_at": seconds(token.used_at),
                "revoked_at": seconds(token.revoked_at),
            });
            writeln!(out, "{line}")?;
        }
        return Ok(());
    }
    let row = |token: &ServiceTokenInfo| {
        let state = match token.revoked_at {
            Some(_) => table::toned("revoked", Tone::Bad),
            None if token.expires_at < OffsetDateTime::now_utc() => {
                table::toned("expired", Tone::Notable)
            }
            None => table::toned("counts", Tone::Well),
        };
        vec![
            table::text(token.id.to_string()),
            table::text(&token.name),
            table::text(token.scopes.join(" ")),
            state,
            table::text(day(token.expires_at)),
            table::text(or_never(token.used_at)),
            table::text(&token.made_by),
        ]
    };
    let rows: Vec<_> = tokens.iter().map(row).collect();
    let headers = [
        "ID",
        "NAME",
        "SCOPES",
        "STATE",
        "EXPIRES",
        "LAST USED",
        "MADE BY",
    ];
    table::write(&mut out, &headers, &rows, table::colours())?;
    Ok(())
}
