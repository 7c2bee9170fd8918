//! Command line → one function per command.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use keap_intercom_sync::commands::{self, Ended, NOTHING_DONE};
use keap_intercom_sync::config::{self, SettingsError, Sources};
use keap_intercom_sync::logs;

/// Keeps Intercom in step with Keap.
///
/// Every setting is an environment variable or a key of the file given with --config; config/default.toml explains them all.
/// Three are needed: DATABASE_URL, KEAP_API_KEY and INTERCOM_ACCESS_TOKEN. Begin with `check`.
///
/// Exit status: 0 all well; 1 some contacts or checks failed; 2 nothing could be done; 78 a setting is wrong or missing.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    /// A TOML file with settings; the environment goes before it.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon: migrate, take the lease or stand by, poll on schedule, until SIGTERM or SIGINT.
    Run,
    /// Sync once in the foreground: some contacts, the changed ones, or all. Works while a daemon runs.
    Sync(commands::sync::SyncArgs),
    /// Check settings, Postgres, Keap and Intercom, a line each.
    Check,
    /// Apply what is missing of the database schema.
    Migrate,
    /// Show cursors, due and held contacts, the last runs and who holds the lease.
    Status {
        /// Print one JSON document instead of text.
        #[arg(long)]
        json: bool,
    },
    /// List the contacts that need a person, or try them again.
    Held {
        #[command(subcommand)]
        command: Option<commands::held::HeldCommand>,
        /// Print one JSON document instead of text.
        #[arg(long, global = true)]
        json: bool,
    },
    /// List, make, verify or end the subscriptions to Keap's events. The daemon looks after them by itself.
    Hooks {
        #[command(subcommand)]
        command: commands::hooks::HooksCommand,
        /// Print one JSON document instead of text.
        #[arg(long, global = true)]
        json: bool,
    },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match start(cli) {
        Ok(status) => status,
        Err(error) if error.chain().any(|cause| cause.is::<SettingsError>()) => {
            eprintln!("{error:#}");
            ExitCode::from(config::EXIT_STATUS)
        }
        Err(error) => {
            eprintln!("Error: {error:#}");
            ExitCode::from(NOTHING_DONE)
        }
    }
}

fn start(cli: Cli) -> Ended {
    let settings = config::load(&Sources::from_process(cli.config))?;
    logs::start(&settings.log)?;
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let ended = runtime.block_on(async {
        match cli.command {
            Command::Run => commands::run::run(&settings).await,
            Command::Sync(args) => commands::sync::run(&settings, args).await,
            Command::Check => commands::check::run(&settings).await,
            Command::Migrate => commands::migrate::run(&settings).await,
            Command::Status { json } => commands::status::run(&settings, json).await,
            Command::Held { command, json } => commands::held::run(&settings, command, json).await,
            Command::Hooks { command, json } => {
                commands::hooks::run(&settings, command, json).await
            }
        }
    });
    // Whatever still blocks has had its time.
    runtime.shutdown_timeout(std::time::Duration::from_millis(200));
    ended
}
