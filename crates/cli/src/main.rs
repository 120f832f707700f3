#![doc = include_str!("../README.md")]

/// In place of the standard one, which panics where standard error is gone: a
/// terminal that closed must not keep a process from draining.
macro_rules! eprintln {
    ($($words:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($words)*);
    }};
}

mod accounts;
mod archiver;
mod config;
mod dead_letters;
mod doctor;
mod import;
mod log;
mod manual;
mod migrate;
mod nearest;
mod node;
mod operator;
mod origin;
mod outcome;
mod projections;
mod reach;
mod reporting;
mod running;
mod secrets;
mod serve;
mod service_tokens;
mod settings;
mod simulate;
mod spans;
mod stop;
mod table;
mod tail;
mod terminal;
mod token;
mod trace;
mod up;
mod vault_keys;
mod verify;
mod work;

use std::{env::VarError, io::Write, process::ExitCode};

use anyhow::Context;
use clap::{CommandFactory, Parser, Subcommand};

use crate::{outcome::Outcome, running::Running, settings::Values};

/// A request makes hundreds of small allocations; the system's allocator took
/// a sixth of the time of a like.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Headwater: an event-sourced backend for social products
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Start private servers in this folder, the API and the workers (the default)
    Up,
    /// Serve the API
    Serve,
    /// Run the workers
    Work,
    /// Bring the database to what this release needs
    Migrate,
    /// Print every setting with its value, default and source
    Config,
    /// Print the OpenAPI document
    Openapi,
    /// Print the log as JSON lines (CloudEvents)
    Tail(tail::Tail),
    /// Send a file of activity through the command side
    Import(import::Import),
    /// Make activity up, in the format that import reads
    Simulate(simulate::Simulate),
    /// Look at servers, settings and workers, and say what mends what is wrong
    Doctor(doctor::Doctor),
    /// Events that could not be folded: list, show, retry, skip
    DeadLetters(dead_letters::DeadLetters),
    /// Compare what is live with what the log says, row by row
    Verify(verify::Verify),
    /// Show how far each projection is, rebuild, pause or replay one
    Projections(projections::Projections),
    /// Look at the log, archive, trim, verify and restore it
    Log(log::Log),
    /// Print what a shell completes commands with
    Completion(manual::Completion),
    /// Write manual pages
    Man(manual::Man),
    /// Give accounts roles, take them back, sign accounts out, suspend them
    Accounts(accounts::Arguments),
    /// What the vault keeps of keys: wrap it anew after VAULT_SECRET changed
    Vault(vault_keys::Arguments),
    /// Tokens of programs that act for nobody: make, list, revoke
    ServiceTokens(service_tokens::Arguments),
    /// Print an access token for an account, which sees its session and can end it
    Token {
        /// The account's handle
        handle: String,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    open_as_many_files_as_allowed();
    servers::install_provider();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let done = match runtime {
        Ok(runtime) => {
            let done = runtime.block_on(run(arguments.command.unwrap_or(Command::Up)));
            // Not waiting for what is blocked, such as a disk that does not answer.
            runtime.shutdown_background();
            done
        }
        Err(error) => Err(error.into()),
    };
    match done {
        Ok(code) => code,
        // Whoever reads the pipe has had enough.
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // With its causes, on one line each; a backtrace helps no operator.
            eprintln!("headwater: {error}");
            for cause in error.chain().skip(1) {
                eprintln!("  because: {cause}");
            }
            ExitCode::FAILURE
        }
    }
}

/// Shells start programs with a low limit, which each may raise to the hard one; every
/// connection is a file.
fn open_as_many_files_as_allowed() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Where it may not: there are fewer places for connections.
    let _ = setrlimit(Resource::Nofile, limit);
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<std::io::Error>();
    io.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

async fn run(command: Command) -> anyhow::Result<ExitCode> {
    let environment = |name: &str| std::env::var(name).ok();
    for setting in settings::all() {
        // Not taken for one that is not set.
        let unreadable = matches!(std::env::var(setting.name), Err(VarError::NotUnicode(_)));
        anyhow::ensure!(!unreadable, "{} is not UTF-8", setting.name);
    }
    let folder = std::env::current_dir()
        .context("the folder that this runs in is gone, or cannot be entered: go to another")?;
    // `up` may have to install programs first, for all users.
    if !matches!(
        command,
        Command::Up | Command::Completion(_) | Command::Man(_)
    ) {
        running::write_for_oneself();
    }
    let running = Running::find(&folder);
    let values = Values::gather(environment, running.as_ref());
    trace::start(&values)?;
    // For crash trials; release builds have no such points.
    #[cfg(debug_assertions)]
    if let Some(plan) = environment("HEADWATER_CRASH_AT") {
        kernel::crash::arm(&plan)?;
    }
    let outcome = match command {
        Command::Up => up::run(&folder, environment).await.map(done),
        Command::Serve => serve::run(values.read()?).await.map(done),
        Command::Work => work::run(values.read()?).await.map(done),
        Command::Migrate => migrate::run(&values.read()?).await.map(done),
        Command::Config => config::run(&values).map(done),
        Command::Openapi => match std::io::stdout().write_all(api::document()?.as_bytes()) {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
            _ => Ok(Outcome::Done),
        },
        Command::Tail(tail) => tail::run(tail, &values.read()?).await.map(done),
        Command::Import(import) => import::run(import, values.read()?).await,
        Command::Simulate(simulate) => simulate::run(&simulate).map(done),
        Command::Token { handle } => token::run(&handle, values.read()?).await.map(done),
        Command::Doctor(arguments) => doctor::run(arguments, &values).await,
        Command::DeadLetters(arguments) => dead_letters::run(arguments, values.read()?).await,
        Command::Completion(arguments) => {
            manual::completion(&arguments, Arguments::command()).map(done)
        }
        Command::Man(arguments) => manual::man(&arguments, Arguments::command()).map(done),
        Command::Accounts(arguments) => accounts::run(arguments, values.read()?).await.map(done),
        Command::Vault(arguments) => vault_keys::run(arguments, values.read()?).await.map(done),
        Command::ServiceTokens(arguments) => service_tokens::run(arguments, values.read()?)
            .await
            .map(done),
        Command::Log(arguments) => log::run(arguments, values.read()?).await,
        Command::Projections(arguments) => projections::run(arguments, values.read()?).await,
        Command::Verify(arguments) => verify::run(arguments, values.read()?).await,
    };
    outcome.map(ExitCode::from)
}

fn done(_: ()) -> Outcome {
    Outcome::Done
}
