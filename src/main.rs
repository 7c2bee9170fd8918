//! Command line → one function per command.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use clap_complete::Shell;
use keap_intercom_sync::commands::{self, Ended, NOTHING_DONE, out};
use keap_intercom_sync::config::{self, Log, Settings, SettingsError, Sources};
use keap_intercom_sync::{app, logs, systemd};

/// Keeps Intercom in step with Keap.
///
/// Each setting is an environment variable or a key of the file given with --config.
/// config/default.toml explains all settings. Three are needed: DATABASE_URL, KEAP_API_KEY and
/// INTERCOM_ACCESS_TOKEN. Begin with `check`.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    /// A TOML file with settings. The environment overrides it.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Use the settings and secrets of the systemd service on this machine; with =ACCOUNT, those of
    /// its instance. As root: `keap-intercom-sync --service status`.
    #[arg(long, global = true, value_name = "ACCOUNT", num_args = 0..=1, require_equals = true, conflicts_with = "config")]
    #[arg(value_parser = account)]
    service: Option<Option<String>>,
    #[command(subcommand)]
    command: Command,
}

/// Accepts what may stand between `@` and `.service` and is not a path.
fn account(name: &str) -> Result<String, String> {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if name.starts_with('.') || name.is_empty() || !name.bytes().all(is_plain) {
        return Err("an account is a name of letters, digits, '-', '_' and '.'".into());
    }
    Ok(name.into())
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon until SIGTERM or SIGINT: migrate, take the lease or stand by, poll on
    /// schedule.
    Run,
    /// Sync once in the foreground: some contacts, the changed ones, or all. This works while a
    /// daemon runs.
    Sync(commands::sync::SyncArgs),
    /// Ask for what is needed, test each answer, and write the settings and the credentials.
    Init(commands::init::InitArgs),
    /// Check the settings, Postgres, Keap, Intercom and the webhooks, and print a line for each.
    Check,
    /// Show the fields of both accounts, with their types, for the mapping in the settings file.
    Fields {
        #[command(subcommand)]
        command: Option<commands::fields::FieldsCommand>,
        /// Print a first mapping, as text for the settings file.
        #[arg(long, conflicts_with = "json")]
        toml: bool,
        /// Print one JSON document instead of text.
        #[arg(long)]
        json: bool,
    },
    /// Apply the missing migrations of the database.
    Migrate,
    /// Say why a contact is, or is not, in Intercom: its link, due and held state, every outcome,
    /// and what happens next.
    Explain {
        /// The Keap contact id, or the id of the linked contact in Intercom.
        id: String,
        /// Print one JSON document instead of text.
        #[arg(long)]
        json: bool,
    },
    /// Show the pages of a contact in Keap and in Intercom, and open them in a browser.
    Open(commands::open::OpenArgs),
    /// Say whether contacts flow, how far behind they are, what is wrong and what to do. Also show
    /// the last runs. Exit with status 1 unless contacts flow.
    Status {
        /// The last successful poll is late if it is older than this. Without it,
        /// http.ready_poll_age_seconds says it.
        #[arg(long, value_name = "SECONDS")]
        stale_after: Option<u64>,
        /// Print one JSON document instead of text.
        #[arg(long)]
        json: bool,
    },
    /// Exit with status 0 if the daemon on this machine is alive. Asks GET /health at http.listen.
    /// For containers.
    Health,
    /// List the contacts that need a person, by reason, or make them due again.
    Held(commands::held::HeldArgs),
    /// Decide about contacts that need a person: which Intercom contact to use, a new one, or to
    /// ignore them. A decision can be taken back.
    Decide(commands::decide::DecideArgs),
    /// Stop everything, one feed or one direction for a while. The daemon keeps running, nothing is
    /// lost, and a restart does not end the pause.
    Pause(commands::pause::PauseArgs),
    /// End the pauses, or one of them. What has waited is synced at once.
    Resume(commands::pause::ScopeArgs),
    /// Look at what would be written and store it as a plan; show plans; carry one out, or drop it.
    Plan(commands::plan::PlanArgs),
    /// Show how far each feed has come, or set the cursor of the polls by hand.
    Cursor {
        #[command(subcommand)]
        command: commands::cursor::CursorCommand,
    },
    /// Test the alarms: whether each target of [notify] takes a message.
    Notify {
        #[command(subcommand)]
        command: commands::notify::NotifyCommand,
    },
    /// Erase a person for good: in Intercom and in every table here. Print what proves it.
    Erase(commands::erase::EraseArgs),
    /// List the last polls and walks with their counts, show one, or follow one to its end.
    Runs(commands::runs::RunsArgs),
    /// Show the recorded outcomes: filtered, or as they come.
    Log(commands::log::LogArgs),
    /// Show the settings in force and where each comes from. A secret is only said to be set.
    Config(commands::config::ConfigArgs),
    /// List, make, verify or end the subscriptions to Keap's events. The daemon does this by
    /// itself.
    Hooks {
        #[command(subcommand)]
        command: commands::hooks::HooksCommand,
        /// Print one JSON document instead of text.
        #[arg(long, global = true)]
        json: bool,
    },
    /// Print the completions of a shell, for example `completions bash`.
    #[command(after_help = commands::completions::HOW)]
    Completions { shell: Shell },
    /// Write man pages and shell completions into a directory. For packages.
    #[command(hide = true)]
    Docs { directory: PathBuf },
}

/// The command line. The help of every command ends with the rule of exit statuses.
fn command_line() -> clap::Command {
    fn with_rule(command: clap::Command) -> clap::Command {
        let command = match command.get_after_help() {
            Some(_) => command,
            None => command.after_help(commands::EXIT_STATUSES),
        };
        command.mut_subcommands(with_rule)
    }
    with_rule(Cli::command())
}

fn main() -> ExitCode {
    let matches = command_line().get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let status = match start(cli) {
        Ok(status) => status,
        Err(error) if error.chain().any(|cause| cause.is::<SettingsError>()) => {
            out::error(format_args!("{error:#}"));
            ExitCode::from(config::EXIT_STATUS)
        }
        Err(error) => {
            out::error(format_args!("Error: {error:#}"));
            ExitCode::from(NOTHING_DONE)
        }
    };
    out::end(status)
}

/// What is logged. A command prints what came of it, so it logs only what is wrong, unless somebody
/// asks for more.
fn log_of(settings: &Settings, command: &Command) -> Log {
    let mut log = settings.log.clone();
    let is_asked = settings.in_force().iter().any(|one| one.key == "log.filter" && !one.is_default);
    if !matches!(command, Command::Run) && !is_asked {
        "warn".clone_into(&mut log.filter);
    }
    log
}

/// The commands that read no settings; `None`: it is another one.
fn without_settings(command: &Command) -> Option<Ended> {
    match command {
        Command::Docs { directory } => {
            Some(commands::completions::write_all(command_line(), directory))
        }
        Command::Completions { shell } => {
            Some(commands::completions::print(command_line(), *shell))
        }
        // It makes what the others read.
        Command::Init(args) => Some(match app::runtime() {
            Ok(runtime) => runtime.block_on(commands::init::run(args.clone())),
            Err(error) => Err(error.into()),
        }),
        _ => None,
    }
}

fn start(cli: Cli) -> Ended {
    if let Some(ended) = without_settings(&cli.command) {
        return ended;
    }
    // This must come before any thread: taking the socket changes the environment.
    let passed = match cli.command {
        Command::Run => systemd::passed_listener()?,
        _ => None,
    };
    let sources = match cli.service {
        Some(account) => Sources::of_service(account.as_deref()),
        None => Sources::from_process(cli.config),
    };
    let settings = config::load(&sources)?;
    let filter = logs::start(&log_of(&settings, &cli.command))?;
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    let runtime = app::runtime()?;
    let ended = runtime.block_on(async {
        match cli.command {
            Command::Docs { .. } | Command::Completions { .. } | Command::Init(_) => {
                commands::exit(commands::WELL)
            }
            Command::Run => commands::run::run(settings, &sources, passed, &filter).await,
            Command::Sync(args) => commands::sync::run(&settings, args).await,
            Command::Check => commands::check::run(&settings).await,
            Command::Fields { command, toml, json } => {
                commands::fields::run(&settings, command, toml, json).await
            }
            Command::Migrate => commands::migrate::run(&settings).await,
            Command::Explain { id, json } => commands::explain::run(&settings, &id, json).await,
            Command::Open(args) => commands::open::run(&settings, &args).await,
            Command::Status { stale_after, json } => {
                commands::status::run(&settings, stale_after, json).await
            }
            Command::Health => commands::health::run(&settings).await,
            Command::Held(args) => commands::held::run(&settings, args).await,
            Command::Decide(args) => commands::decide::run(&settings, args).await,
            Command::Pause(args) => commands::pause::pause(&settings, args).await,
            Command::Resume(args) => commands::pause::resume(&settings, args).await,
            Command::Plan(args) => commands::plan::run(&settings, args).await,
            Command::Cursor { command } => commands::cursor::run(&settings, command).await,
            Command::Notify { command } => commands::notify::run(&settings, command).await,
            Command::Erase(args) => commands::erase::run(&settings, args).await,
            Command::Runs(args) => commands::runs::run(&settings, args).await,
            Command::Log(args) => commands::log::run(&settings, args).await,
            Command::Config(args) => commands::config::run(&settings, &args),
            Command::Hooks { command, json } => {
                commands::hooks::run(&settings, command, json).await
            }
        }
    });
    // Blocking work has had its time to end.
    runtime.shutdown_timeout(std::time::Duration::from_millis(200));
    ended
}
