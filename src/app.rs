//! Builds every part once, runs them side by side and stops them in order. The only place where all parts meet.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use secrecy::ExposeSecret;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{self, FirstRun, Migrate, Settings, SettingsError};
use crate::http::{self, HttpParts, Keys, RemoteStanding};
use crate::intercom::{IntercomClient, IntercomOptions};
use crate::keap::{KeapClient, KeapOptions};
use crate::remote::{Remote, Standing};
use crate::schedule;
use crate::store::{Lease, SchemaState, Store, StoreError, StoreOptions};
use crate::sync::hooks::{HookOptions, Hooks};
use crate::sync::retention::{self, Keep};
use crate::sync::{self, Brake, Deleted, Retries, Rules, SyncOptions, Syncer, lease};
use crate::systemd::{self, Reporter};
use crate::trigger::Trigger;

/// A database that stays away is told of at once and then this often.
const TELL_EVERY: Duration = Duration::from_secs(300);

/// How long the parts get to stop; what is not recorded by then is done again after the next start.
const STOP_TIME: Duration = Duration::from_secs(4);

/// The parts that every command builds from.
pub struct Parts {
    pub store: Store,
    pub keap: Arc<KeapClient>,
    pub intercom: Arc<IntercomClient>,
    options: SyncOptions,
}

impl Parts {
    /// Builds the clients and the pool; nothing is called yet. Errors name the setting that is missing or wrong.
    pub fn build(settings: &Settings) -> anyhow::Result<Self> {
        let (keap, intercom, sync) = (&settings.keap, &settings.intercom, &settings.sync);
        let store = store(settings)?;
        let keap_client = keap_client(settings)?;
        let intercom_client = IntercomClient::new(IntercomOptions {
            base_url: intercom.base_url(),
            access_token: settings.intercom_access_token()?.clone(),
            version: intercom.version.clone(),
            calls_per_10_seconds: intercom.calls_per_10_seconds,
            emails_per_search: intercom.emails_per_search as usize,
            concurrency: sync.concurrency,
            urgent_share_percent: sync.urgent_share_percent,
            connect_timeout: intercom.connect_timeout(),
            request_timeout: intercom.request_timeout(),
            stop_recheck: sync.stop_recheck(),
        })
        .context("the Intercom client could not be built")?;
        let options = SyncOptions {
            rules: Rules {
                promote_leads: sync.promote_leads,
                unarchive: sync.unarchive,
            },
            retries: Retries {
                max_attempts: i32::try_from(sync.max_attempts).unwrap_or(i32::MAX),
                base: sync.retry_base(),
                cap: sync.retry_cap(),
            },
            concurrency: sync.concurrency,
            record_group: sync.record_group,
            record_after: sync.record_after(),
            page_size: keap.page_size as usize,
            ids_per_call: keap.ids_per_call as usize,
            hint_calls_per_day: keap.webhook_calls_per_day,
            overlap: settings.poll.overlap(),
            everything_first: settings.poll.first_run == FirstRun::Everything,
            deleted: match settings.sweep.deleted {
                config::Deleted::Archive => Deleted::Archive,
                config::Deleted::Unlink => Deleted::Unlink,
                config::Deleted::Ignore => Deleted::Ignore,
            },
            brake: Brake {
                contacts: settings.sweep.brake_contacts.into(),
                percent: settings.sweep.brake_percent.into(),
            },
            idle_check: sync.idle_check(),
        };
        Ok(Self {
            store,
            keap: Arc::new(keap_client),
            intercom: Arc::new(intercom_client),
            options,
        })
    }

    /// The syncer, once the database is migrated.
    pub async fn syncer(
        &self,
        lease: watch::Receiver<Option<Lease>>,
        cancel: CancellationToken,
    ) -> Result<Syncer, StoreError> {
        let key = self.store.digest_key().await?;
        Ok(Syncer::new(
            self.options.clone(),
            self.store.clone(),
            Arc::clone(&self.keap),
            Arc::clone(&self.intercom),
            key,
            lease,
            cancel,
        ))
    }
}

/// The Keap client; nothing is called yet.
pub fn keap_client(settings: &Settings) -> anyhow::Result<KeapClient> {
    let (keap, sync) = (&settings.keap, &settings.sync);
    KeapClient::new(KeapOptions {
        base_url: keap.base_url.clone(),
        api_key: settings.keap_api_key()?.clone(),
        calls_per_second: keap.calls_per_second,
        calls_per_minute: keap.calls_per_minute,
        daily_reserve_percent: keap.daily_reserve_percent,
        urgent_share_percent: sync.urgent_share_percent,
        connect_timeout: keap.connect_timeout(),
        request_timeout: keap.request_timeout(),
        stop_recheck: sync.stop_recheck(),
    })
    .context("the Keap client could not be built")
}

/// The pool; the first connection is made when it is needed.
pub fn store(settings: &Settings) -> anyhow::Result<Store> {
    let url = settings.database_url()?;
    Store::new(&StoreOptions {
        url: url.expose_secret(),
        max_connections: settings.database.max_connections,
        connect_timeout: settings.database.connect_timeout(),
        statement_timeout: settings.database.statement_timeout(),
        prepared_statements: settings.database.prepared_statements,
    })
    // The library's own text may quote the URL.
    .map_err(|_| SettingsError::refused("DATABASE_URL: a part of it is not understood; expected a URL such as postgres://user:password@host:5432/database").into())
}

/// Brings the database to this program's schema, or refuses, by setting.
pub async fn prepare_database(store: &Store, migrate: Migrate) -> Result<(), StoreError> {
    match (store.schema_state().await?, migrate) {
        (SchemaState::Current, _) => Ok(()),
        (SchemaState::Behind(missing), Migrate::Refuse) => Err(StoreError::Schema(format!(
            "{missing} migration(s) are missing; run `keap-intercom-sync migrate` as the owner of the schema"
        ))),
        (SchemaState::Behind(_) | SchemaState::Newer, _) => {
            let applied = store.migrate().await?;
            tracing::info!(applied, "The database is migrated.");
            Ok(())
        }
    }
}

/// Runs the daemon on a bound listener until `cancel`, then stops it within a few seconds.
pub async fn run(
    settings: &Settings,
    listener: TcpListener,
    cancel: CancellationToken,
) -> anyhow::Result<()> {
    let parts = Parts::build(settings)?;
    let mut tasks = JoinSet::new();
    let (urgent, bulk) = (Arc::new(Trigger::default()), Arc::new(Trigger::default()));
    let (started, lanes) = watch::channel(None::<Arc<Syncer>>);
    let [router, open_router] = http::routers(HttpParts {
        environment: settings.environment.clone(),
        keys: Keys::new(
            settings.http.api_token.as_ref(),
            &settings.keap.webhook_secrets(),
        ),
        store: parts.store.clone(),
        urgent: Arc::clone(&urgent),
        bulk: Arc::clone(&bulk),
        cancel: cancel.clone(),
        is_alive: Box::new({
            let lanes = lanes.clone();
            // Before the lanes start there is nothing that could hang.
            move || {
                lanes
                    .borrow()
                    .as_ref()
                    .is_none_or(|syncer| syncer.is_alive())
            }
        }),
        holds_lease: Box::new({
            let lanes = lanes.clone();
            move || {
                lanes
                    .borrow()
                    .as_ref()
                    .is_some_and(|syncer| syncer.holds_lease())
            }
        }),
        remotes: Box::new({
            let (keap, intercom) = (Arc::clone(&parts.keap), Arc::clone(&parts.intercom));
            move || {
                vec![
                    standing("Keap", keap.remote()),
                    standing("Intercom", intercom.remote()),
                ]
            }
        }),
        poll_age_limit: settings.http.ready_poll_age(),
    });
    let reporter = Reporter {
        store: parts.store.clone(),
        lanes,
        standings: Box::new({
            let (keap, intercom) = (Arc::clone(&parts.keap), Arc::clone(&parts.intercom));
            move || systemd::standings(keap.remote(), intercom.remote())
        }),
    };
    tasks.spawn(reporter.report(cancel.clone()));
    let connections = settings.http.max_connections;
    let serve = |listener, router| http::serve(listener, router, connections, cancel.clone());
    tasks.spawn(serve(listener, router));
    if let Some(address) = settings.http.metrics_listen {
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("HTTP__METRICS_LISTEN: cannot listen on {address}"))?;
        tasks.spawn(serve(listener, open_router));
    }
    tasks.spawn(http::gather(cancel.clone()));
    let ended = match database_is_ready(&parts.store, settings.database.migrate, &cancel).await {
        Ok(true) => {
            run_lanes(
                settings,
                &parts,
                &started,
                [urgent, bulk],
                &mut tasks,
                &cancel,
            )
            .await
        }
        Ok(false) => Ok(()),
        Err(error) => Err(error),
    };
    cancel.cancel();
    let drained = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(STOP_TIME, drained).await.is_err() {
        tracing::warn!(
            "Not everything ended in time; what is not recorded is done again after the next start."
        );
    }
    parts.store.close(Duration::from_millis(300)).await;
    ended
}

/// The subscriptions there should be; `None` where the settings leave webhooks off.
pub fn hook_options(settings: &Settings) -> Option<HookOptions> {
    let secrets = settings.keap.webhook_secrets();
    let public_url = settings.http.public_url.clone()?;
    (!secrets.is_empty()).then(|| HookOptions {
        events: settings.hooks.events(),
        public_url,
        secrets,
    })
}

/// How a remote stands, in the words of the HTTP surface.
fn standing(name: &'static str, remote: &Remote) -> RemoteStanding {
    let (state, retry_in) = match remote.standing() {
        Standing::Ok => ("ok", None),
        Standing::Limited(time) => ("limited", Some(time)),
        Standing::Failing(time) => ("failing", Some(time)),
        Standing::Refused(time) => ("refused", Some(time)),
    };
    RemoteStanding {
        name,
        state,
        retry_in,
        limits: remote
            .headroom()
            .into_iter()
            .map(|told| (told.name, told.limit, told.available))
            .collect(),
    }
}

/// Runs both lanes beside what runs already; returns when the daemon is to stop, with an error when a part ended by itself.
async fn run_lanes(
    settings: &Settings,
    parts: &Parts,
    started: &watch::Sender<Option<Arc<Syncer>>>,
    [urgent, bulk]: [Arc<Trigger>; 2],
    tasks: &mut JoinSet<()>,
    cancel: &CancellationToken,
) -> anyhow::Result<()> {
    let (lease_sender, lease) = watch::channel(None);
    let hook_lease = lease.clone();
    let syncer = Arc::new(parts.syncer(lease.clone(), cancel.clone()).await?);
    let mut lines = vec![schedule::Line {
        setting: "poll.schedule (POLL__SCHEDULE)",
        line: &settings.poll.schedule,
        trigger: Arc::clone(&bulk),
    }];
    if let Some(options) = hook_options(settings) {
        let trigger = Arc::new(Trigger::default());
        lines.push(schedule::Line {
            setting: "hooks.schedule (HOOKS__SCHEDULE)",
            line: &settings.hooks.schedule,
            trigger: Arc::clone(&trigger),
        });
        let hooks = Hooks::new(Arc::clone(&parts.keap), parts.store.clone(), options);
        tasks.spawn(hooks.watch(trigger, hook_lease, cancel.clone()));
    }
    if let Some(line) = settings.sweep.schedule() {
        let trigger = Arc::new(Trigger::default());
        lines.push(schedule::Line {
            setting: "sweep.schedule (SWEEP__SCHEDULE)",
            line,
            trigger: Arc::clone(&trigger),
        });
        tasks.spawn(sync::ask_on_schedule(
            parts.store.clone(),
            trigger,
            Arc::clone(&bulk),
            lease.clone(),
            cancel.clone(),
        ));
    }
    let keep = Keep {
        log_rows: settings.retention.log_rows(),
        runs: settings.retention.runs(),
    };
    if keep.ends() {
        let trigger = Arc::new(Trigger::default());
        lines.push(schedule::Line {
            setting: "retention.schedule (RETENTION__SCHEDULE)",
            line: &settings.retention.schedule,
            trigger: Arc::clone(&trigger),
        });
        tasks.spawn(retention::keep_to(
            keep,
            parts.store.clone(),
            trigger,
            lease.clone(),
            cancel.clone(),
        ));
    }
    let mut scheduler = schedule::start(lines).await?;
    // Passes stop first, then the lease is given back.
    let lanes = TaskTracker::new();
    let lease_cancel = CancellationToken::new();
    tasks.spawn(lease::keep(
        parts.store.clone(),
        settings.lease.ttl(),
        lease_sender,
        lease_cancel.clone(),
    ));
    tasks.spawn(lanes.track_future(Arc::clone(&syncer).urgent_lane(urgent)));
    tasks.spawn(lanes.track_future(Arc::clone(&syncer).bulk_lane(bulk)));
    lanes.close();
    started.send_replace(Some(syncer));
    let ended = tokio::select! {
        // First: parts that end because they were told to are no accident.
        biased;
        () = cancel.cancelled() => Ok(()),
        // A part ends only when it is told to, or panics: then systemd starts everything afresh.
        _ = tasks.join_next() => Err(anyhow::anyhow!("a part of the daemon ended by itself; the lines before this one say why")),
    };
    cancel.cancel();
    tracing::info!("Stopping: what is under way is finished and recorded.");
    tasks.spawn(async move {
        lanes.wait().await;
        lease_cancel.cancel();
        if let Err(error) = scheduler.shutdown().await {
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                "The scheduler did not stop."
            );
        }
    });
    ended
}

/// Waits for Postgres as long as it takes. False when the daemon is stopped meanwhile.
async fn database_is_ready(
    store: &Store,
    migrate: Migrate,
    cancel: &CancellationToken,
) -> anyhow::Result<bool> {
    let mut told: Option<Instant> = None;
    loop {
        let prepared = tokio::select! {
            () = cancel.cancelled() => return Ok(false),
            prepared = prepare_database(store, migrate) => prepared,
        };
        match prepared {
            Ok(()) => return Ok(true),
            Err(error) if error.is_passing() && !error.is_no_admission() => {
                if told.is_none_or(|at| at.elapsed() > TELL_EVERY) {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "Postgres is not there yet; waiting for it."
                    );
                    told = Some(Instant::now());
                }
            }
            Err(error) => {
                return Err(anyhow::Error::from(error)
                    .context("the database of DATABASE_URL cannot be used"));
            }
        }
        tokio::select! {
            () = cancel.cancelled() => return Ok(false),
            () = tokio::time::sleep(Duration::from_secs(1).mul_f64(rand::random_range(0.5..1.5))) => {}
        }
    }
}
