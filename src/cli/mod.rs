//! The command line: one file for each command. The only place that wires everything together.

mod compare;
mod credentials;
mod demo;
mod doctor;
mod exec;
mod import;
mod input;
mod logging;
mod migrate;
mod output;
mod ports;
mod replay;
mod schema;
mod serve;
mod token;
mod worker;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use secrecy::ExposeSecret;

use self::credentials::ConfigError;
use crate::config::{LogArgs, StoreArgs};
use crate::tasks::error_chain;
use pacegate_store::{DatabaseUrl, StoreError};

/// Finds the stage of a CI pipeline that got slower, and reports it on the pull request.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
struct Cli {
    #[command(flatten)]
    log: LogArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the service and its workers
    Serve(Box<serve::ServeArgs>),
    /// Runs only workers, on the database of a service
    Worker(worker::WorkerArgs),
    /// Brings the database's tables up to date and exits
    Migrate(migrate::MigrateArgs),
    /// Shows a made-up pipeline: its history, a pull request that is slower, the comment
    Demo(demo::DemoArgs),
    /// Compares traces in files, without a server and without GitHub
    Compare(compare::CompareArgs),
    /// Runs a command as one span of a trace, for pipelines without a tracer
    Exec(exec::ExecArgs),
    /// Replays a history: counts false alarms and the slowdowns that would be found
    Replay(replay::ReplayArgs),
    /// Reads a repository's GitHub Actions history, so that the next pull request has a baseline
    Import(import::ImportArgs),
    /// Prints the JSON Schema of the policy file `.github/pacegate.yml`
    Schema,
    /// Creates, lists and revokes the tokens of senders
    Token(token::TokenArgs),
    /// Checks database, credentials and reachability, and suggests fixes
    Doctor(doctor::DoctorArgs),
}

/// Why a command failed. Each text says what the reader can do.
#[derive(Debug, thiserror::Error)]
enum CliError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file or an argument can't be used.
    #[error("{0}")]
    Input(String),
    #[error("can't listen on {address}: is it in use? {variable} takes another")]
    Listen {
        /// The variable that configures the address.
        variable: &'static str,
        address: String,
        #[source]
        source: std::io::Error,
    },
    /// A UDP port, whose spans carry no token.
    #[error("{variable} opens a port for spans without a token: {remedy}")]
    NoRepository { variable: &'static str, remedy: &'static str },
    #[error("the operating system refused {what}")]
    System {
        what: &'static str,
        #[source]
        source: std::io::Error,
    },
    /// A request of the demo to its own service failed.
    #[error("the demo's request failed: {0}")]
    Demo(String),
}

/// Exit code for bad usage, unreadable input, or a service that can't run.
const UNUSABLE: u8 = 2;

/// Parses the command line and runs the command.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse(); // exits with 2 on bad usage
    if let Err(error) = logging::init(&cli.log) {
        output::print_diagnostic(&error);
        // A problem with recording must not keep the command from running.
        if !matches!(cli.command, Command::Exec(_)) {
            return ExitCode::from(UNUSABLE);
        }
    }
    match run(cli.command) {
        Ok(code) => code,
        Err(error) => {
            output::print_diagnostic(&error_chain(&error));
            ExitCode::from(UNUSABLE)
        }
    }
}

fn run(command: Command) -> Result<ExitCode, CliError> {
    let done = |(): ()| ExitCode::SUCCESS;
    match command {
        Command::Compare(args) => compare::compare(&args),
        Command::Replay(args) => replay::replay(&args),
        Command::Schema => schema::schema().map(done),
        Command::Serve(args) => within_runtime(serve::serve(*args)).map(done),
        Command::Worker(args) => within_runtime(worker::worker(args)).map(done),
        Command::Migrate(args) => within_runtime(migrate::migrate(args)).map(done),
        Command::Demo(args) => within_runtime(demo::demo(args)).map(done),
        Command::Import(args) => within_runtime(import::import(args)).map(done),
        Command::Token(args) => within_runtime(token::token(args)).map(done),
        Command::Exec(args) => within_runtime(async { Ok(exec::exec(args).await) }),
        Command::Doctor(args) => within_runtime(doctor::doctor(args)),
    }
}

/// The database's address. It may hold a password, so it stays a secret until it is parsed. No error
/// repeats it.
fn database(args: &StoreArgs) -> Result<DatabaseUrl, StoreError> {
    args.database_url.expose_secret().parse()
}

fn within_runtime<T>(future: impl Future<Output = Result<T, CliError>>) -> Result<T, CliError> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|source| CliError::System { what: "a thread pool", source })?
        .block_on(future)
}
