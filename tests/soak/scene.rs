//! A scene for one case: both stand-ins, a database behind a proxy, and the daemon's settings.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use keap_intercom_sync::feed::{Feed, RunReason};
use keap_intercom_sync::store::{Store, StoreOptions};

use crate::cast::Cast;
use crate::checker::{Evidence, Finding, Owners};
use crate::daemon::{self, Settings};
use crate::database::Database;
use crate::postgres_proxy::PostgresProxy;
use crate::process::{Log, Process};
use crate::sim::{Intercom, Keap, client};
use crate::target::Target;

const API_TOKEN: &str = "canary-api-token-0123456789";

/// Waits are short, limits are those of the stand-ins, pages and groups are small.
const SETTINGS: &[(&str, &str)] = &[
    ("API_TOKEN", API_TOKEN),
    ("KEAP_WEBHOOK_SECRET", "canary-9f2c4d7ab1e8036511223344"),
    ("KEAP__CALLS_PER_SECOND", "1000"),
    ("KEAP__CALLS_PER_MINUTE", "60000"),
    ("KEAP__PAGE_SIZE", "20"),
    ("KEAP__REQUEST_TIMEOUT_MS", "3000"),
    ("INTERCOM__CALLS_PER_10_SECONDS", "100000"),
    ("INTERCOM__REQUEST_TIMEOUT_MS", "3000"),
    ("SYNC__CONCURRENCY", "8"),
    ("SYNC__RECORD_GROUP", "10"),
    ("SYNC__MAX_ATTEMPTS", "50"),
    ("SYNC__RETRY_BASE_MS", "10"),
    ("SYNC__RETRY_CAP_SECONDS", "1"),
    ("SYNC__RECHECK_SECONDS", "1"),
    ("SYNC__IDLE_CHECK_MS", "50"),
    ("SYNC__STOP_RECHECK_SECONDS", "1"),
    ("POLL__OVERLAP_SECONDS", "0"),
    ("POLL__SCHEDULE", "* * * * * *"),
    ("SWEEP__SCHEDULE", "off"),
    ("LEASE__TTL_SECONDS", "5"),
    ("DATABASE__MAX_CONNECTIONS", "4"),
    ("DATABASE__CONNECT_TIMEOUT_MS", "3000"),
    ("RUST_LOG", "info,keap_intercom_sync=debug"),
];

/// A guard against hangs. It measures nothing.
const READY_WITHIN: Duration = Duration::from_secs(30);

pub(crate) struct Scene {
    pub evidence: Evidence,
    pub proxy: PostgresProxy,
    pub settings: Settings,
    database: Arc<Database>,
    /// The settings file, where both directions are on.
    file: Option<tempfile::NamedTempFile>,
    /// What every process has logged, and every answer of its routes.
    outputs: Vec<(String, String)>,
}

impl Scene {
    /// `mixed`: how many people with mixed shapes. The database is empty, or has the tables of
    /// `template`.
    pub(crate) async fn new(mixed: usize, template: Option<&Database>) -> anyhow::Result<Scene> {
        let (keap, intercom) = (Keap::start().await, Intercom::start().await);
        let Cast { history, at_start, strangers, shared } = Cast::add_to(&keap, &intercom, mixed);
        let database = Arc::new(match template {
            Some(template) => Database::copy("soak", template).await?,
            None => Database::create("soak").await?,
        });
        let mut url = database.url.clone();
        if url.password().is_none() {
            // The cluster of `with-postgres` needs no password and accepts any.
            let _ = url.set_password(Some("canary-password"));
        }
        let proxy = PostgresProxy::start(&url).await?;
        let mut settings = daemon::settings_for(proxy.url.as_str(), &keap, &intercom);
        settings.extend(SETTINGS.iter().map(|(name, value)| (*name, (*value).to_owned())));
        let pool = database.pool.clone();
        let owners = Owners::default();
        let evidence =
            Evidence { keap, intercom, pool, history, at_start, strangers, shared, owners };
        Ok(Scene { evidence, proxy, settings, database, file: None, outputs: Vec::new() })
    }

    /// The same with both directions on, and a field for each owner.
    pub(crate) async fn two_way(
        mixed: usize,
        template: Option<&Database>,
    ) -> anyhow::Result<Scene> {
        let mut scene = Scene::new(mixed, template).await?;
        let (keap, intercom) = (&scene.evidence.keap, &scene.evidence.intercom);
        intercom.knobs(|knobs| knobs.search_lag_ms = 0);
        let owners = Owners::add_to(keap, intercom);
        let mut file = tempfile::Builder::new().suffix(".toml").tempfile()?;
        std::io::Write::write_all(&mut file, owners.settings_file().as_bytes())?;
        let path = file.path().display().to_string();
        scene.evidence.owners = owners;
        scene.file = Some(file);
        scene.set(daemon::SETTINGS_FILE, path);
        scene.set("INTERCOM_TO_KEAP__ENABLED", "true");
        scene.set("INTERCOM_TO_KEAP__SCHEDULE", "* * * * * *");
        Ok(scene)
    }

    /// Replaces a setting.
    pub(crate) fn set(&mut self, name: &'static str, value: impl ToString) {
        self.settings.retain(|(known, _)| *known != name);
        self.settings.push((name, value.to_string()));
    }

    /// Starts a daemon. `target` reaches it from its first moment on.
    pub(crate) fn start(&self, target: &Target) -> anyhow::Result<Process> {
        // It waits until the daemon listens.
        tokio::task::block_in_place(|| Process::start_as(target, &[daemon::WORD], &self.settings))
    }

    /// Asks for a walk over all ids, which no brake stops.
    pub(crate) async fn request_sweep(&self) -> anyhow::Result<()> {
        let store = Store::new(&StoreOptions {
            url: self.database.url.as_str(),
            max_connections: 2,
            connect_timeout: Duration::from_secs(10),
            statement_timeout: Duration::from_secs(10),
            prepared_statements: true,
        })?;
        store.request_run(Feed::Sweep, RunReason::Forced, None).await?;
        store.close(Duration::from_secs(1)).await;
        Ok(())
    }

    /// The same, once the daemon has made its tables.
    pub(crate) async fn request_sweep_when_ready(&self) -> anyhow::Result<()> {
        let began = Instant::now();
        loop {
            let asked = self.request_sweep().await;
            if asked.is_ok() || began.elapsed() > READY_WITHIN {
                return asked;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub(crate) fn keep_log(&mut self, log: &Log) {
        let mut lines = log.lines();
        if log.is_full() {
            lines.push("canary: the log is too long to be searched".to_owned());
        }
        self.outputs.push((format!("process {}", self.outputs.len() + 1), lines.join("\n")));
    }

    /// Reads what the routes of a daemon show.
    pub(crate) async fn keep_answers(&mut self, process: &Process) -> anyhow::Result<()> {
        let bearer = format!("Bearer {API_TOKEN}");
        let base = format!("http://{}", process.first_line);
        let wrong = r#"{"keap_contact_id": "Canary <canary.1@canary.example>"}"#;
        let calls = [
            ("GET", "/metrics", ""),
            ("GET", "/health", ""),
            ("GET", "/ready", ""),
            ("POST", "/sync/contact", wrong),
        ];
        for (method, path, body) in calls {
            let headers =
                [("authorization", bearer.as_str()), ("content-type", "application/json")];
            let reply = client::send(method, &format!("{base}{path}"), &headers, body.to_owned())
                .await
                .with_context(|| format!("{method} {path} was not answered"))?;
            let text = String::from_utf8_lossy(&reply.body).into_owned();
            self.outputs.push((format!("{method} {path}"), text));
        }
        Ok(())
    }

    /// Every person and secret that something shows.
    pub(crate) async fn canaries(&self) -> sqlx::Result<Vec<Finding>> {
        self.evidence.canaries(&self.outputs).await
    }

    /// The last lines of the logs.
    pub(crate) fn last_lines(&self, number: usize) -> Vec<String> {
        let logs = self.outputs.iter().filter(|(name, _)| name.starts_with("process"));
        let lines: Vec<String> =
            logs.flat_map(|(_, text)| text.lines().map(str::to_owned)).collect();
        lines[lines.len().saturating_sub(number)..].to_vec()
    }

    /// Removes the database and stops the stand-ins.
    pub(crate) async fn end(self) -> anyhow::Result<()> {
        self.evidence.keap.stop().await;
        self.evidence.intercom.stop().await;
        self.database.remove().await
    }
}
