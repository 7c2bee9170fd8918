//! `init`: asks for what is needed, tests each answer live, and writes the settings and the
//! credentials where the service looks for them.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{BufRead, IsTerminal, Write, stdin};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use super::{Ended, NOTHING_DONE, WELL, exit, look};
use crate::app;
use crate::config::{self, Region, Settings, Sources};
use crate::store::SchemaState;

/// The folder of the service, as the units use it.
const SERVICE: &str = "/etc/keap-intercom-sync";
/// The first line of a new settings file.
const HEAD: &str =
    "# The settings that differ from the defaults; `keap-intercom-sync config` shows all.\n";
/// So often an answer that does not work is asked for again.
const TRIES: usize = 3;

#[derive(Debug, Clone, Args)]
#[command(
    after_help = "It asks for the address of Postgres, the Keap key and the Intercom token, and tests each at once. An
empty answer keeps a credential that is there already. It writes FOLDER/config.toml and
FOLDER/credentials/, which only their owner can read. It reads answers from a pipe, too, one a line.

Exit status: 0 all well; 2 nothing could be done; 78 a setting is wrong."
)]
pub struct InitArgs {
    /// Where to write. Without it: the folder of the service, /etc/keap-intercom-sync.
    #[arg(long, value_name = "FOLDER", default_value = SERVICE)]
    pub dir: PathBuf,
}

/// A question, with the secret that its answer sets.
struct Question {
    env: &'static str,
    ask: &'static str,
}

const QUESTIONS: [Question; 3] = [
    Question {
        env: "DATABASE_URL",
        ask: "The address of Postgres, postgres://user:password@host:5432/database",
    },
    Question {
        env: "KEAP_API_KEY",
        ask: "The Keap key. In Keap, as an admin: Settings → API → Service Account Keys",
    },
    Question {
        env: "INTERCOM_ACCESS_TOKEN",
        ask: "The Intercom token. In Intercom's Developer Hub: a private app with users and leads",
    },
];

/// Asks, tests and writes.
pub async fn run(args: InitArgs) -> Ended {
    let folder = Folder::open(&args.dir)?;
    let existing = Some(folder.settings()).filter(|file| file.exists());
    let mut sources = Sources::from_process(existing);
    sources.credentials_dir = None;
    for question in QUESTIONS {
        sources.env.remove(question.env);
        sources.env.remove(&format!("{}_FILE", question.env));
    }
    let mut region = None;
    for question in &QUESTIONS {
        let Some((answer, found)) = answered(question, &folder, &sources).await? else {
            errln!("{} does not work; nothing was written for it.", question.env);
            return exit(NOTHING_DONE);
        };
        region = found.or(region);
        folder.write_secret(question.env, &answer)?;
        sources.env.insert(question.env.into(), answer);
    }
    let set = config::load(&sources)?.intercom.region;
    folder.write_region(&region.map_or_else(|| name(set), str::to_owned))?;
    say_what_is_next(&folder);
    exit(WELL)
}

fn say_what_is_next(folder: &Folder) {
    outln!("\nWritten to {}. What is next:", folder.path.display());
    // A command stays whole, so that it can be copied.
    let command = if folder.path == Path::new(SERVICE) {
        "keap-intercom-sync --service".to_owned()
    } else {
        format!(
            "CREDENTIALS_DIRECTORY={} keap-intercom-sync --config {}",
            folder.credentials().display(),
            folder.settings().display()
        )
    };
    out!("  {command} check\n");
    out!("  {command} sync --all --dry-run\n");
    if folder.path == Path::new(SERVICE) {
        out!("  systemctl enable --now keap-intercom-sync keap-intercom-sync-check.timer\n");
    } else {
        out!("  {command} run\n");
    }
}

/// Asks until an answer works. Returns it, with the region of the workspace if it tells one.
/// `None`: no answer works.
async fn answered(
    question: &Question,
    folder: &Folder,
    sources: &Sources,
) -> anyhow::Result<Option<(String, Option<&'static str>)>> {
    let known = folder.read_secret(question.env);
    for _ in 0..TRIES {
        let hint = if known.is_some() { " (empty: keep the one that is there)" } else { "" };
        outln!("\n{}{hint}:", question.ask);
        let Some(answer) = read_secret()? else { return Ok(None) };
        let answer = answer.trim().to_owned();
        let answer = match (answer.is_empty(), &known) {
            (true, Some(known)) => known.clone(),
            _ => answer,
        };
        let env = BTreeMap::from([(question.env.to_owned(), answer.clone())]);
        let mut tried = sources.clone();
        tried.env.extend(env);
        match test(question.env, &tried).await {
            Ok((text, region)) => {
                outln!("{} {text}", look::mark(true));
                return Ok(Some((answer, region)));
            }
            Err(why) => outln!("{} {why}", look::mark(false)),
        }
    }
    Ok(None)
}

/// Tries the answer. Returns what it found, and the region of the workspace; or why it does not
/// work, without the answer.
async fn test(env: &str, sources: &Sources) -> Result<(String, Option<&'static str>), String> {
    let settings = config::load(sources).map_err(|wrong| wrong.to_string())?;
    match env {
        "DATABASE_URL" => database(&settings).await.map(|text| (text, None)),
        "KEAP_API_KEY" => {
            let keap = app::keap_client(&settings).map_err(|error| format!("{error:#}"))?;
            let account = keap.account().await.map_err(|failure| failure.to_string())?;
            let tenant = account.tenant.unwrap_or_else(|| "not named".into());
            Ok((format!("Keap accepts it; tenant {tenant}"), None))
        }
        _ => intercom(&settings).await,
    }
}

async fn database(settings: &Settings) -> Result<String, String> {
    settings.require(&[config::Needed::DatabaseUrl]).map_err(|wrong| wrong.to_string())?;
    let store = app::store(settings).map_err(|error| format!("{error:#}"))?;
    let state = super::database::while_waiting(settings, store.schema_state()).await;
    match state.map_err(|error| error.to_string())? {
        SchemaState::Current => Ok("Postgres answers, and its tables are there".into()),
        SchemaState::Newer => Err("the database was migrated by a newer version".into()),
        // The commands that it prints next need the tables.
        SchemaState::Behind(_) => match store.may_migrate().await {
            Ok(true) => {
                store.migrate().await.map_err(|error| error.to_string())?;
                Ok("Postgres answers, and its tables are made".into())
            }
            Ok(false) => {
                Err("this role may not create tables in its schema, and some are missing; let the owner run `keap-intercom-sync migrate` first".into())
            }
            Err(error) => Err(error.to_string()),
        },
    }
}

async fn intercom(settings: &Settings) -> Result<(String, Option<&'static str>), String> {
    let client = app::intercom_client_of(settings).map_err(|error| format!("{error:#}"))?;
    let workspace = client.workspace().await.map_err(|failure| failure.to_string())?;
    let id = workspace.id_code.unwrap_or_else(|| "not named".into());
    let region = workspace.region.unwrap_or_default().to_lowercase();
    let known = ["us", "eu", "au"].into_iter().find(|known| *known == region);
    let named = known.map(|region| format!(", region {region}")).unwrap_or_default();
    Ok((format!("Intercom accepts it; workspace {id}{named}"), known))
}

/// Reads a line without showing it. `None`: there is none.
fn read_secret() -> anyhow::Result<Option<String>> {
    let _hidden = Hidden::begin();
    let mut line = String::new();
    let read = stdin().lock().read_line(&mut line).context("the answer cannot be read")?;
    Ok((read > 0).then_some(line))
}

/// While it lives, the terminal does not show what is typed.
struct Hidden(Option<Termios>);

impl Hidden {
    fn begin() -> Self {
        if !stdin().is_terminal() {
            return Self(None);
        }
        let Ok(before) = tcgetattr(stdin()) else { return Self(None) };
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        // Where that fails, the answer is shown, and the question works all the same.
        let _ = tcsetattr(stdin(), OptionalActions::Flush, &hidden);
        Self(Some(before))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = tcsetattr(stdin(), OptionalActions::Flush, before);
        }
    }
}

/// The folder of the settings and the credentials.
struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Makes the folders. The error says what to do.
    fn open(path: &Path) -> anyhow::Result<Self> {
        let folder = Self { path: path.to_owned() };
        let why =
            || format!("cannot write into {}; run this as root, or give --dir", path.display());
        fs::create_dir_all(path).with_context(why)?;
        if !folder.credentials().is_dir() {
            DirBuilder::new().mode(0o700).create(folder.credentials()).with_context(why)?;
        }
        Ok(folder)
    }

    fn credentials(&self) -> PathBuf {
        self.path.join("credentials")
    }

    fn settings(&self) -> PathBuf {
        self.path.join("config.toml")
    }

    fn read_secret(&self, env: &str) -> Option<String> {
        let text = fs::read_to_string(self.credentials().join(env)).ok()?;
        let text = text.trim_end().to_owned();
        (!text.is_empty()).then_some(text)
    }

    /// Writes a file that only its owner can read, whole or not at all.
    fn write_secret(&self, env: &str, secret: &str) -> anyhow::Result<()> {
        let file = self.credentials().join(env);
        write_whole(&file, &format!("{secret}\n"), 0o600)
    }

    /// Writes where the workspace is hosted, unless the file says so. In a file that holds settings
    /// nothing is changed, because it is a person's: a line says what to set.
    fn write_region(&self, region: &str) -> anyhow::Result<()> {
        let file = self.settings();
        let before = fs::read_to_string(&file).ok();
        let in_force =
            Sources { file: before.is_some().then(|| file.clone()), ..Sources::default() };
        let is_set = name(config::load(&in_force)?.intercom.region) == region;
        let section =
            if is_set { String::new() } else { format!("\n[intercom]\nregion = \"{region}\"\n") };
        let is_blank =
            |line: &str| line.trim_start().is_empty() || line.trim_start().starts_with('#');
        match before {
            None => write_whole(&file, &format!("{HEAD}{section}"), 0o644),
            Some(_) if is_set => Ok(()),
            Some(text) if text.lines().all(is_blank) => {
                write_whole(&file, &format!("{text}{section}"), 0o644)
            }
            Some(_) => {
                outln!("\nSet this in {}: [intercom] region = \"{region}\"", file.display());
                Ok(())
            }
        }
    }
}

/// The region as a settings file has it.
fn name(region: Region) -> String {
    format!("{region:?}").to_lowercase()
}

fn write_whole(file: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    let beside = file.with_extension("new");
    let written = || -> std::io::Result<()> {
        let _ = fs::remove_file(&beside);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(mode);
        let mut open = options.open(&beside)?;
        open.write_all(text.as_bytes())?;
        open.sync_all()?;
        fs::rename(&beside, file)
    };
    written().with_context(|| format!("cannot write {}", file.display()))
}
