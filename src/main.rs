//! Command line → one function per command.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use keap_intercom_sync::commands::{self, Ended, NOTHING_DONE};
use keap_intercom_sync::config::{self, SettingsError, Sources};
use keap_intercom_sync::contact::KeapId;
use keap_intercom_sync::{logs, systemd};

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
    /// Settings and secrets of the systemd service on this machine, or with =ACCOUNT those of its instance. As root:
    /// `keap-intercom-sync --service status`.
    #[arg(long, global = true, value_name = "ACCOUNT", num_args = 0..=1, require_equals = true, conflicts_with = "config")]
    #[arg(value_parser = account)]
    service: Option<Option<String>>,
    #[command(subcommand)]
    command: Command,
}

/// What may stand between `@` and `.service`, and is no path.
fn account(name: &str) -> Result<String, String> {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if name.starts_with('.') || name.is_empty() || !name.bytes().all(is_plain) {
        return Err("an account is a name of letters, digits, '-', '_' and '.'".into());
    }
    Ok(name.into())
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
    /// Say why a contact is, or is not, in Intercom: its link, due and held state, every outcome, and what happens next.
    Explain {
        /// Its Keap contact id.
        id: KeapId,
        /// Print one JSON document instead of text.
        #[arg(long)]
        json: bool,
    },
    /// Say whether it works, how far behind it is, what is wrong and what to do; with the last runs.
    Status {
        /// Exit with status 1 unless a poll has succeeded within this many seconds.
        #[arg(long, value_name = "SECONDS")]
        stale_after: Option<u64>,
        /// Print one JSON document instead of text.
        #[arg(long)]
        json: bool,
    },
    /// Exit with status 0 if the daemon on this machine is alive: it asks GET /health at http.listen. For containers.
    Health,
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
    /// Write man pages and shell completions into a directory; for packages.
    #[command(hide = true)]
    Docs { directory: PathBuf },
}

/// Both are made from the command line itself, so that they cannot drift from it.
fn write_docs(directory: &Path) -> Ended {
    fn without_help(command: clap::Command) -> clap::Command {
        command
            .disable_help_subcommand(true)
            .mut_subcommands(without_help)
    }
    let mut command = without_help(Cli::command());
    std::fs::create_dir_all(directory)?;
    clap_mangen::generate_to(command.clone(), directory)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut command, "keap-intercom-sync", directory)?;
    }
    commands::exit(commands::WELL)
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
    if let Command::Docs { directory } = &cli.command {
        return write_docs(directory);
    }
    // While there is one thread: taking the socket changes the environment.
    let passed = match cli.command {
        Command::Run => systemd::passed_listener()?,
        _ => None,
    };
    let sources = match cli.service {
        Some(account) => Sources::of_service(account.as_deref()),
        None => Sources::from_process(cli.config),
    };
    let settings = config::load(&sources)?;
    let filter = logs::start(&settings.log)?;
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let ended = runtime.block_on(async {
        match cli.command {
            Command::Docs { .. } => commands::exit(commands::WELL),
            Command::Run => commands::run::run(settings, &sources, passed, &filter).await,
            Command::Sync(args) => commands::sync::run(&settings, args).await,
            Command::Check => commands::check::run(&settings).await,
            Command::Migrate => commands::migrate::run(&settings).await,
            Command::Explain { id, json } => commands::explain::run(&settings, id, json).await,
            Command::Status { stale_after, json } => {
                commands::status::run(&settings, stale_after, json).await
            }
            Command::Health => commands::health::run(&settings).await,
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
