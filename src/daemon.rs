//! The daemon: runs all parts side by side and stops them in order. The only place where all parts
//! meet.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::{self, Pages, Parts, hook_options, log_unfit, prepare_database, words};
use crate::config::{IntercomToKeap, Migrate, Settings};
use crate::feed::Feed;
use crate::http::{self, HttpParts, Keys, PageOf, RemoteStanding, ShownParts};
use crate::mapping::Fitted;
use crate::notify::Watch;
use crate::remote::{Remote, Standing};
use crate::report::{MappedFields, PartStates, Status};
use crate::schedule::{self, Line};
use crate::store::{HeldLease, Lease, Store, StoreError};
use crate::sync::{self, Bulk, Context, Doubt, LOG_AGAIN_AFTER, Urgent, lanes};
use crate::systemd::{self, Reporter};
use crate::tasks::hooks::Hooks;
use crate::tasks::mapping::{self, Wanted};
use crate::tasks::retention::{self, Keep};
use crate::tasks::{lease, pauses, plans, requests, tags, users, walk_schedule};
use crate::trigger::Trigger;

/// The time that the parts get to stop. The next start repeats what is not recorded by then.
const STOP_TIME: Duration = Duration::from_secs(4);

/// The time that Postgres gets to close its connections.
const CLOSE_TIME: Duration = Duration::from_millis(300);

/// Runs the daemon on a bound listener until `cancel`, then stops it within a few seconds. Builds
/// the parts again whenever the mapping fits the accounts otherwise than before.
pub async fn run(
    settings: &Settings,
    listener: TcpListener,
    cancel: CancellationToken,
) -> anyhow::Result<()> {
    let listener = listener.into_std()?;
    loop {
        let parts = Parts::build(settings)?;
        let listener = TcpListener::from_std(listener.try_clone()?)?;
        run_parts(settings, &parts, listener, cancel.child_token()).await?;
        if cancel.is_cancelled() || !parts.outdated.load(Ordering::Relaxed) {
            return Ok(());
        }
    }
}

/// The same, once, with parts that the caller has built and may change while the daemon runs.
pub async fn run_parts(
    settings: &Settings,
    parts: &Parts,
    listener: TcpListener,
    cancel: CancellationToken,
) -> anyhow::Result<()> {
    for (remote, name) in [(parts.keap.remote(), "Keap"), (parts.intercom.remote(), "Intercom")] {
        if let Some(proxy) = remote.proxy() {
            tracing::info!("{name} is called through {proxy}.");
        }
    }
    let mut daemon = Daemon {
        settings,
        parts,
        prepared: watch::Sender::new(false),
        urgent: Arc::default(),
        bulk: Arc::default(),
        started: watch::Sender::new(None),
        fields: watch::Sender::new(None),
        tasks: JoinSet::new(),
        cancel,
    };
    daemon.serve(listener).await?;
    let migrate = settings.database.migrate;
    let ended = match database_is_ready(&daemon.parts.store, migrate, &daemon.cancel).await {
        Ok(true) => {
            daemon.prepared.send_replace(true);
            daemon.run_mapped().await
        }
        Ok(false) => Ok(()),
        Err(error) => Err(error),
    };
    daemon.stop().await;
    ended
}

/// All parts while they run.
struct Daemon<'a> {
    settings: &'a Settings,
    parts: &'a Parts,
    /// True once the database is prepared.
    prepared: watch::Sender<bool>,
    /// Wakes the lane of requests.
    urgent: Arc<Trigger>,
    /// Wakes the lane of walks.
    bulk: Arc<Trigger>,
    /// The context of the lanes, once they run.
    started: watch::Sender<Option<Arc<Context>>>,
    /// The mapping in words, once it fits both accounts.
    fields: watch::Sender<Option<MappedFields>>,
    tasks: JoinSet<()>,
    cancel: CancellationToken,
}

impl Daemon<'_> {
    /// Starts what works without a database: the HTTP surface and the reports to systemd.
    async fn serve(&mut self, listener: TcpListener) -> anyhow::Result<()> {
        let reporter = Reporter {
            store: self.parts.store.clone(),
            lanes: self.started.subscribe(),
            standings: Box::new({
                let (keap, intercom) =
                    (Arc::clone(&self.parts.keap), Arc::clone(&self.parts.intercom));
                move || systemd::standings(keap.remote(), intercom.remote())
            }),
        };
        self.tasks.spawn(reporter.report(self.cancel.clone()));
        let [router, open_router] = http::routers(self.http_parts());
        let connections = self.settings.http.max_connections;
        let cancel = self.cancel.clone();
        let serve = |listener, router| http::serve(listener, router, connections, cancel.clone());
        self.tasks.spawn(serve(listener, router));
        if let Some(address) = self.settings.http.metrics_listen {
            let listener = TcpListener::bind(address)
                .await
                .with_context(|| format!("HTTP__METRICS_LISTEN: cannot listen on {address}"))?;
            self.tasks.spawn(serve(listener, open_router));
        }
        self.tasks.spawn(http::gather(self.cancel.clone()));
        self.tasks.spawn(self.alarms().run());
        Ok(())
    }

    /// Tells people what is wrong. It begins before the database is there, because its absence is
    /// told too.
    fn alarms(&self) -> Watch {
        let (store, prepared) = (self.parts.store.clone(), self.prepared.subscribe());
        let (keap, intercom) = (Arc::clone(&self.parts.keap), Arc::clone(&self.parts.intercom));
        let poll_age_limit = self.settings.http.ready_poll_age;
        let second = app::second_direction(self.settings);
        let started = self.started.subscribe();
        Watch {
            notifier: Arc::clone(&self.parts.notifier),
            store: self.parts.store.clone(),
            status: Box::new(move || {
                let (store, is_prepared) = (store.clone(), *prepared.borrow());
                let state = |name, remote| Some(standing(name, remote).state.to_owned());
                let parts = PartStates {
                    keap: state("Keap", keap.remote()),
                    intercom: state("Intercom", intercom.remote()),
                    ..PartStates::default()
                };
                Box::pin(async move {
                    if !is_prepared {
                        return store.is_read_only().await.map(|_| None);
                    }
                    Status::take(&store, parts, poll_age_limit, second).await.map(Some)
                })
            }),
            lease: Box::new(move || started.borrow().as_ref().map(|lanes| lanes.lease.clone())),
            cancel: self.cancel.clone(),
        }
    }

    fn http_parts(&self) -> HttpParts {
        let (settings, parts) = (self.settings, self.parts);
        let (alive, holding) = (self.started.subscribe(), self.started.subscribe());
        let hinted = self.started.subscribe();
        let (keap, intercom) = (Arc::clone(&parts.keap), Arc::clone(&parts.intercom));
        HttpParts {
            environment: settings.environment.clone(),
            keys: Keys::new(settings.http.api_token.as_ref(), &settings.keap.webhook_secrets())
                .with_client_secret(settings.intercom.client_secret.as_ref())
                .with_ui_password(settings.http.ui_password.as_ref()),
            notifier: Arc::clone(&parts.notifier),
            store: parts.store.clone(),
            urgent: Arc::clone(&self.urgent),
            bulk: Arc::clone(&self.bulk),
            prepared: self.prepared.subscribe(),
            start_limit: http::START_LIMIT,
            cancel: self.cancel.clone(),
            // Before the lanes start, nothing can hang.
            is_alive: Box::new(move || {
                alive.borrow().as_ref().is_none_or(|lanes| lanes.is_alive())
            }),
            holds_lease: Box::new(move || {
                holding.borrow().as_ref().is_some_and(|lanes| lanes.lease.is_held())
            }),
            remotes: Box::new(move || {
                vec![standing("Keap", keap.remote()), standing("Intercom", intercom.remote())]
            }),
            changed_in_intercom: Box::new(move |item| {
                let context = hinted.borrow().clone();
                Box::pin(async move {
                    match context {
                        Some(context) => sync::users::hint(&context, item).await.map(Some),
                        None => Ok(None),
                    }
                })
            }),
            people: Box::new({
                let (keap, intercom) = (Arc::clone(&parts.keap), Arc::clone(&parts.intercom));
                move |id, candidates| {
                    let (keap, intercom) = (Arc::clone(&keap), Arc::clone(&intercom));
                    Box::pin(
                        async move { app::people::look(&keap, &intercom, id, candidates).await },
                    )
                }
            }),
            both_sides: Box::new({
                let (keap, intercom) = (Arc::clone(&parts.keap), Arc::clone(&parts.intercom));
                move |id, linked| {
                    let (keap, intercom) = (Arc::clone(&keap), Arc::clone(&intercom));
                    Box::pin(
                        async move { app::side_by_side::look(&keap, &intercom, id, linked).await },
                    )
                }
            }),
            brings_newcomers: parts.brings_newcomers(),
            poll_age_limit: settings.http.ready_poll_age,
            second: app::second_direction(settings),
            max_attempts: settings.sync.max_attempts,
            is_https: settings.http.public_url.as_ref().is_some_and(|url| url.scheme() == "https"),
            shown: self.shown_parts(),
        }
    }

    /// What only the operator's page shows.
    fn shown_parts(&self) -> ShownParts {
        let (settings, parts) = (self.settings, self.parts);
        let pages = Pages::of(Arc::clone(&parts.keap), Arc::clone(&parts.intercom), settings);
        let pages = Arc::new(pages);
        ShownParts {
            settings: settings.in_force(),
            fields: self.fields.subscribe(),
            find_page: Box::new(move |page| {
                let pages = Arc::clone(&pages);
                Box::pin(async move {
                    match page {
                        PageOf::Keap(id) => pages.in_keap(id).await,
                        PageOf::Intercom(id) => pages.in_intercom(id.as_str()).await,
                    }
                })
            }),
        }
    }

    /// Runs the lanes once the mapping fits both accounts. When it no longer does, the parts are
    /// outdated: they stop in order, and the caller builds them again.
    async fn run_mapped(&mut self) -> anyhow::Result<()> {
        let fitting = self.parts.fitting.clone();
        let Some(fitted) = fitting.begin(&self.cancel).await else {
            return Ok(());
        };
        log_unfit(&fitted);
        self.fields.send_replace(Some(MappedFields {
            fields: words::fields(&fitted),
            direction: words::direction(self.settings),
            consent: words::consent(self.settings),
        }));
        let every = self.settings.mapping.check;
        let doubt = Arc::<Doubt>::default();
        let (parts, cancel) = (self.parts, self.cancel.clone());
        let wanted = Wanted {
            fields: fitted.identities(),
            unfit: fitted
                .unfit()
                .map(|(rule, unfit)| format!("{}: {}", rule.name, unfit.why))
                .collect(),
            brake_percent: self.settings.mapping.brake_percent,
        };
        let watching = {
            let (doubt, cancel) = (Arc::clone(&doubt), self.cancel.clone());
            let fitted = &fitted;
            async move { fitting.changed(fitted, every, &doubt, &cancel).await }
        };
        let lanes = self.run_lanes(doubt, wanted, &fitted);
        tokio::pin!(lanes, watching);
        tokio::select! {
            ended = &mut lanes => return ended,
            () = &mut watching => {}
        }
        if !cancel.is_cancelled() {
            tracing::info!("The fields of an account have changed; the mapping is fitted again.");
            parts.outdated.store(true, Ordering::Relaxed);
            cancel.cancel();
        }
        lanes.await
    }

    /// Runs both lanes and the background tasks until the daemon stops. Returns an error if a part
    /// ended by itself.
    async fn run_lanes(
        &mut self,
        doubt: Arc<Doubt>,
        wanted: Wanted,
        fitted: &Fitted,
    ) -> anyhow::Result<()> {
        let (lease_sender, lease) = watch::channel(None);
        let lease = HeldLease::new(lease);
        let build =
            || self.parts.context(fitted, lease.clone(), Arc::clone(&doubt), self.cancel.clone());
        let Some(context) = once_postgres_answers(&self.cancel, build).await? else {
            return Ok(());
        };
        let (settings, tag_ids) = (self.settings, self.parts.fitting.tags());
        let bulk = Arc::clone(&self.bulk);
        let mut lines = self.background(&lease);
        let tags = (!tag_ids.is_empty()).then(Arc::<Trigger>::default);
        lines.extend(tags.iter().map(|trigger| Line {
            setting: "poll.schedule (POLL__SCHEDULE)",
            line: settings.poll.schedule.as_str(),
            trigger: Arc::clone(trigger),
        }));
        let (users, of_users) = second_direction(&settings.intercom_to_keap, bulk);
        lines.extend(of_users);
        let mut scheduler = schedule::start(lines).await?;
        // Passes stop first, then the lease is given back.
        let running = TaskTracker::new();
        let lease_cancel = CancellationToken::new();
        self.keep_lease(lease_sender, lease_cancel.clone());
        let requested = Arc::clone(&context.board.requests);
        let hearing = requests::hear(self.parts.store.clone(), requested, self.cancel.clone());
        self.tasks.spawn(hearing);
        self.tasks.spawn(pauses::follow(Arc::clone(&context)));
        self.tasks.spawn(mapping::bring(Arc::clone(&context), wanted));
        self.tasks.spawn(plans::make(Arc::clone(&context)));
        if let Some(trigger) = tags {
            self.tasks.spawn(tags::poll(Arc::clone(&context), tag_ids, trigger));
        }
        if let Some(schedule) = users {
            self.tasks.spawn(users::watch(Arc::clone(&context), schedule));
        }
        let urgent = lanes::run::<Urgent>(Arc::clone(&context), Arc::clone(&self.urgent));
        let bulk = lanes::run::<Bulk>(Arc::clone(&context), Arc::clone(&self.bulk));
        self.tasks.spawn(running.track_future(urgent));
        self.tasks.spawn(running.track_future(bulk));
        running.close();
        self.started.send_replace(Some(context));
        let ended = tokio::select! {
            // Check cancellation first: a part that ends after it is a normal stop.
            biased;
            () = self.cancel.cancelled() => Ok(()),
            // A part ends when it is cancelled, or when it panics. After a panic, systemd restarts
            // the process.
            _ = self.tasks.join_next() => Err(anyhow::anyhow!("a part of the daemon ended by itself; the lines before this one say why")),
        };
        self.cancel.cancel();
        tracing::info!("Stopping: what is under way is finished and recorded.");
        self.tasks.spawn(async move {
            running.wait().await;
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

    fn keep_lease(&mut self, sender: watch::Sender<Option<Lease>>, cancel: CancellationToken) {
        let store = self.parts.store.clone();
        self.tasks.spawn(lease::keep(store, self.settings.lease.ttl, sender, cancel));
    }

    /// Starts the background tasks. Returns the cron lines, each with the trigger that it fires.
    fn background(&mut self, lease: &HeldLease) -> Vec<Line<'_>> {
        let (settings, cancel) = (self.settings, &self.cancel);
        let store = || self.parts.store.clone();
        let mut lines = Vec::new();
        let mut line = |setting, line, trigger: &Arc<Trigger>| {
            lines.push(Line { setting, line, trigger: Arc::clone(trigger) });
        };
        line("poll.schedule (POLL__SCHEDULE)", settings.poll.schedule.as_str(), &self.bulk);
        if let Some(options) = hook_options(settings) {
            let trigger = Arc::default();
            line("hooks.schedule (HOOKS__SCHEDULE)", settings.hooks.schedule.as_str(), &trigger);
            let hooks = Hooks::new(Arc::clone(&self.parts.keap), store(), options);
            self.tasks.spawn(hooks.watch(trigger, lease.clone(), cancel.clone()));
        }
        let second = &settings.intercom_to_keap;
        let audit = second.audit_schedule.as_ref().filter(|_| second.enabled);
        for (feed, setting, schedule) in [
            (Feed::Sweep, "sweep.schedule (SWEEP__SCHEDULE)", settings.sweep.schedule.as_ref()),
            (
                Feed::Audit,
                "intercom_to_keap.audit_schedule (INTERCOM_TO_KEAP__AUDIT_SCHEDULE)",
                audit,
            ),
        ] {
            let Some(schedule) = schedule else {
                continue;
            };
            let trigger = Arc::default();
            line(setting, schedule, &trigger);
            let (bulk, lease) = (Arc::clone(&self.bulk), lease.clone());
            let asking = walk_schedule::ask(feed, store(), trigger, bulk, lease, cancel.clone());
            self.tasks.spawn(asking);
        }
        let keep = Keep { log_rows: settings.retention.log, runs: settings.retention.run };
        let trigger = Arc::default();
        let schedule = settings.retention.schedule.as_str();
        line("retention.schedule (RETENTION__SCHEDULE)", schedule, &trigger);
        let keeping = retention::keep_to(keep, store(), trigger, lease.clone(), cancel.clone());
        self.tasks.spawn(keeping);
        lines
    }

    /// Stops all parts, in order, within the time that they get.
    async fn stop(mut self) {
        self.cancel.cancel();
        let drained = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(STOP_TIME, drained).await.is_err() {
            tracing::warn!(
                "Not everything ended in time; what is not recorded is done again after the next start."
            );
        }
        self.parts.store.close(CLOSE_TIME).await;
    }
}

/// When Intercom's users are read, if what changes there reaches Keap.
fn second_direction(
    settings: &IntercomToKeap,
    bulk: Arc<Trigger>,
) -> (Option<users::Schedule>, Vec<Line<'_>>) {
    if !settings.enabled {
        return (None, Vec::new());
    }
    let trigger = Arc::<Trigger>::default();
    let line = Line {
        setting: "intercom_to_keap.schedule (INTERCOM_TO_KEAP__SCHEDULE)",
        line: settings.schedule.as_str(),
        trigger: Arc::clone(&trigger),
    };
    (Some(users::Schedule { poll: trigger, bulk }), vec![line])
}

/// The state of a remote, in the words of the HTTP surface.
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
            .map(|headroom| (headroom.name, headroom.limit, headroom.available))
            .collect(),
    }
}

/// Waits for Postgres without a limit. False if the daemon stops first.
async fn database_is_ready(
    store: &Store,
    migrate: Migrate,
    cancel: &CancellationToken,
) -> anyhow::Result<bool> {
    Ok(once_postgres_answers(cancel, || prepare_database(store, migrate)).await?.is_some())
}

/// Asks until Postgres answers, without a limit. `None` if the daemon stops first.
async fn once_postgres_answers<T, F>(
    cancel: &CancellationToken,
    ask: impl Fn() -> F,
) -> anyhow::Result<Option<T>>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let mut logged: Option<Instant> = None;
    loop {
        let answered = tokio::select! {
            () = cancel.cancelled() => return Ok(None),
            answered = ask() => answered,
        };
        match answered {
            Ok(answer) => return Ok(Some(answer)),
            Err(error) if error.is_transient() && !error.is_access_denied() => {
                if logged.is_none_or(|at| at.elapsed() > LOG_AGAIN_AFTER) {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "Postgres is not there yet; waiting for it."
                    );
                    logged = Some(Instant::now());
                }
            }
            Err(error) => {
                return Err(anyhow::Error::from(error)
                    .context("the database of DATABASE_URL cannot be used"));
            }
        }
        tokio::select! {
            () = cancel.cancelled() => return Ok(None),
            () = tokio::time::sleep(Duration::from_secs(1).mul_f64(rand::random_range(0.5..1.5))) => {}
        }
    }
}
