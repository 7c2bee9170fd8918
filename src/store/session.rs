//! Sessions: which connections a transaction may trust, and which are closed instead of used again.
//!
//! A transaction-mode pooler runs each transaction in a session that it has opened itself, and that
//! others use too. What this program leaves in such a session harms others, and what others leave
//! there harms this program. So each transaction asks in its first message whether its session was
//! opened by this process. Only then are its statements prepared under a name. An unnamed statement
//! costs one more round trip and leaves nothing behind.

use std::ops::{Deref, DerefMut};
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use futures_util::stream::{BoxStream, TryStreamExt as _};
use sqlx::error::BoxDynError;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{
    PgArguments, PgConnectOptions, PgConnection, PgPool, PgPoolOptions, PgQueryResult, PgRow,
    PgStatement, PgTypeInfo, Postgres,
};
use sqlx::{AssertSqlSafe, Connection as _, Describe, Either, Execute, Executor, FromRow, SqlStr};
use url::Url;
use uuid::Uuid;

use super::options::{Setting, settings_of};
use super::{Result, StoreError};

/// The setting that marks the sessions of this process. Only a session that this process has opened
/// itself has its mark.
const MARK: &str = "keap_intercom_sync.session";

/// Statements that a session keeps under a name, the most recent ones. This program has fewer.
const NAMED_STATEMENTS: usize = 100;

/// Sessions that a transaction tries before it fails.
const TRIES: u32 = 3;

/// Time to find out why no connection came.
const LAST_TRY: Duration = Duration::from_secs(1);

/// A session of a pooler is ended at most this often.
const BETWEEN_ENDS: Duration = Duration::from_secs(1);

/// How to reach Postgres.
pub struct StoreOptions<'a> {
    pub url: &'a str,
    pub max_connections: u32,
    pub connect_timeout: Duration,
    /// How long one statement may run, including its wait for locks.
    pub statement_timeout: Duration,
    /// Whether statements may be prepared under a name, in sessions that are this process's own.
    pub prepared_statements: bool,
}

/// The connections, shared by all copies of a store.
pub(super) struct Sessions {
    pool: PgPool,
    /// How this process recognises its own sessions; `None` for a pool that a test has made.
    own: Option<Own>,
    /// Whether statements may have a name in this process's own sessions.
    may_name: bool,
    /// Some session was not opened by this process: a pooler stands between.
    pooled: AtomicBool,
    /// When a session of the pooler was last ended.
    ended: Mutex<Option<Instant>>,
}

/// What distinguishes the sessions that this process opens.
struct Own {
    mark: String,
    /// How to connect through a pooler that refuses `options`.
    plain: PgConnectOptions,
    /// The settings that the address asks for. A pooler passes none of them on.
    settings: Vec<Setting>,
}

/// Why another session is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doubt {
    /// A pooler has opened it, so it lacks the settings that the address asks for.
    Settings,
    /// It is not the session in which this connection has prepared its statements.
    Exchanged,
    /// Somebody has left a transaction open in it.
    InTransaction,
    /// It takes no writes. A new session may, because such a state can belong to the session.
    ReadOnly,
}

impl Sessions {
    /// Prepares a pool. The first connection is made when it is needed.
    pub(super) fn new(options: &StoreOptions<'_>) -> Result<Self> {
        let plain = connect_options(&without_options(options.url)?)?;
        let direct = connect_options(options.url)?;
        let mark = Uuid::new_v4().to_string();
        let settings = settings_of(direct.get_options().unwrap_or_default());
        let pool = PgPoolOptions::new()
            .max_connections(options.max_connections)
            .acquire_timeout(options.connect_timeout)
            .connect_lazy_with(direct.options([(MARK, &mark)]));
        let own = Some(Own { mark, plain, settings });
        Ok(Self { own, may_name: options.prepared_statements, ..Self::of(pool) })
    }

    /// Sessions of a pool that somebody else has made.
    pub(super) fn of(pool: PgPool) -> Self {
        Self {
            pool,
            own: None,
            may_name: false,
            pooled: AtomicBool::new(false),
            ended: Mutex::new(None),
        }
    }

    /// How new connections are made.
    pub(super) fn connect_options(&self) -> Arc<PgConnectOptions> {
        self.pool.connect_options()
    }

    /// Whether a pooler is known to stand between.
    pub(super) fn are_pooled(&self) -> bool {
        self.pooled.load(Ordering::Relaxed)
    }

    /// Closes all connections.
    pub(super) async fn close(&self) {
        self.pool.close().await;
    }

    /// Begins a transaction in a session that serves. `limits`: statements that hold for the
    /// transaction.
    pub(super) async fn begin(self: &Arc<Self>, limits: &str) -> Result<Transaction> {
        let mut tries = TRIES;
        loop {
            tries -= 1;
            let with_options = self.connect_options().get_options().is_some();
            match self.begin_once(limits).await {
                Ok(begun) => match self.doubt(&begun) {
                    Some(doubt) if tries > 0 => self.give_up(begun, doubt).await,
                    _ => return Ok(begun),
                },
                // Nothing was done yet, so another session may try.
                Err(Failed::ToConnect(error))
                    if tries > 0 && with_options && self.refuses_options(&error) =>
                {
                    self.note_pooler();
                }
                Err(Failed::ToBegin(_)) if tries > 0 => self.close_idle(),
                Err(Failed::ToConnect(error) | Failed::ToBegin(error)) => return Err(error),
            }
        }
    }

    /// Sends one statement with its `limits` as one message, which Postgres runs in one
    /// transaction. Returns how many rows it changed. If it fails, a whole transaction tries again,
    /// in a session that serves.
    pub(super) async fn send(self: &Arc<Self>, limits: &str, statement: &str) -> Result<u64> {
        let lent = self.connect().await?;
        if let Ok(changed) = self.send_in(lent, limits, statement).await {
            return Ok(changed);
        }
        self.close_idle();
        let mut transaction = self.begin(limits).await?;
        let done = transaction.execute(AssertSqlSafe(statement.to_owned())).await;
        transaction.end(done.map(|done| done.rows_affected()).map_err(StoreError::from)).await
    }

    async fn send_in(&self, mut lent: Lent, limits: &str, statement: &str) -> Result<u64> {
        let message = format!("{limits}; {}{statement}", self.settings("select ", "; "));
        let results = (&mut *lent.connection).execute_many(AssertSqlSafe(message));
        // The statement's own result is the last.
        let last = results.try_fold(0, async |_, result| Ok(result.rows_affected())).await?;
        lent.serves = true;
        Ok(last)
    }

    async fn begin_once(
        self: &Arc<Self>,
        limits: &str,
    ) -> std::result::Result<Transaction, Failed> {
        let mut lent = self.connect().await.map_err(Failed::ToConnect)?;
        let is_own = match &self.own {
            Some(own) => {
                format!("coalesce(current_setting('{MARK}', true) = '{}', false)", own.mark)
            }
            None => "false".to_owned(),
        };
        let settings = self.settings(", ", "");
        let message = format!(
            "begin; {limits}; select current_setting('transaction_read_only') = 'on' as read_only, \
             now() = statement_timestamp() as is_new, {is_own} as is_own{settings}"
        );
        let state = sqlx::raw_sql(AssertSqlSafe(message)).fetch_one(&mut *lent.connection).await;
        let state = state
            .and_then(|row| State::from_row(&row))
            .map_err(|error| Failed::ToBegin(error.into()))?;
        let named = state.is_own && self.may_name && !self.are_pooled();
        Ok(Transaction { session: Session { lent, named }, sessions: Arc::clone(self), state })
    }

    async fn connect(&self) -> Result<Lent> {
        let acquired = self.pool.acquire().await;
        if matches!(acquired, Err(sqlx::Error::PoolTimedOut)) {
            // The pool does not say why it got no connection. One more attempt does.
            let options = self.pool.connect_options();
            let tried = PgConnection::connect_with(&options);
            if let Ok(Err(error)) = tokio::time::timeout(LAST_TRY, tried).await {
                return Err(unreachable(error));
            }
        }
        let connection = acquired.map_err(unreachable)?;
        Ok(Lent { connection, serves: false })
    }

    /// Expressions that give a session of a pooler the settings that the address asks for, up to
    /// the end of the transaction.
    fn settings(&self, before: &str, after: &str) -> String {
        let settings = self.own.as_ref().map_or(&[][..], |own| &own.settings);
        if settings.is_empty() || !self.are_pooled() {
            return String::new();
        }
        let set: Vec<String> = settings.iter().map(Setting::as_expression).collect();
        format!("{before}{}{after}", set.join(", "))
    }

    fn doubt(&self, begun: &Transaction) -> Option<Doubt> {
        if let Some(own) = self.own.as_ref().filter(|_| !begun.state.is_own) {
            if !self.are_pooled() {
                self.note_pooler();
                if !own.settings.is_empty() {
                    return Some(Doubt::Settings);
                }
            }
            if begun.session.lent.connection.cached_statements_size() > 0 {
                return Some(Doubt::Exchanged);
            }
        }
        if !begun.state.is_new {
            return Some(Doubt::InTransaction);
        }
        begun.state.read_only.then_some(Doubt::ReadOnly)
    }

    /// Closes a session in doubt, and the idle ones beside it, which may be the same.
    async fn give_up(&self, mut begun: Transaction, doubt: Doubt) {
        if doubt == Doubt::ReadOnly && self.are_pooled() && self.may_end_one() {
            // The pooler would keep the session and lend it again.
            let end = "select pg_terminate_backend(pg_backend_pid())";
            let _ = (&mut *begun.session.lent.connection).execute(end).await;
        }
        drop(begun);
        self.close_idle();
    }

    fn may_end_one(&self) -> bool {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let may = ended.is_none_or(|at| at.elapsed() >= BETWEEN_ENDS);
        if may {
            *ended = Some(Instant::now());
        }
        may
    }

    /// Closes the connections that nobody uses now. What one of them met holds for the others.
    fn close_idle(&self) {
        while let Some(mut idle) = self.pool.try_acquire() {
            idle.close_on_drop();
        }
    }

    /// Whether the other side does not take `options`, as poolers do not.
    fn refuses_options(&self, error: &StoreError) -> bool {
        let is_refusal = ["08", "0A", "22", "42"].iter().any(|class| error.is_of_class(class))
            && !error.is_access_denied();
        is_refusal && self.own.is_some()
    }

    fn note_pooler(&self) {
        if self.pooled.swap(true, Ordering::Relaxed) {
            return;
        }
        if let Some(own) = &self.own {
            self.pool.set_connect_options(own.plain.clone());
        }
        tracing::info!(
            "A pooler stands between this program and Postgres. Statements are not prepared under a name, so that each may run in another session."
        );
    }
}

/// What kept a transaction from beginning.
enum Failed {
    ToConnect(StoreError),
    ToBegin(StoreError),
}

fn connect_options(url: &str) -> Result<PgConnectOptions> {
    Ok(PgConnectOptions::from_str(url)?
        .application_name("keap-intercom-sync")
        // Poolers refuse it, and no statement here reads a number as text.
        .extra_float_digits(None)
        .statement_cache_capacity(NAMED_STATEMENTS))
}

/// The address without `options`.
fn without_options(url: &str) -> Result<String> {
    let mut url = Url::parse(url).map_err(|error| sqlx::Error::Configuration(error.into()))?;
    let kept: Vec<(String, String)> = url
        .query_pairs()
        .filter(|(name, _)| name != "options" && !name.starts_with("options["))
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect();
    url.query_pairs_mut().clear().extend_pairs(kept);
    Ok(url.into())
}

fn unreachable(error: sqlx::Error) -> StoreError {
    match error {
        sqlx::Error::Io(error) => StoreError::Unreachable(error),
        error => error.into(),
    }
}

/// A connection of the pool. It is closed after its use, unless it is known to serve further.
#[derive(Debug)]
struct Lent {
    connection: PoolConnection<Postgres>,
    serves: bool,
}

impl Drop for Lent {
    fn drop(&mut self) {
        if !self.serves {
            self.connection.close_on_drop();
        }
    }
}

/// What a session says of itself when a transaction begins.
#[derive(Debug, Clone, Copy, FromRow)]
struct State {
    read_only: bool,
    /// The transaction has begun now.
    is_new: bool,
    /// This process has opened the session.
    is_own: bool,
}

/// A transaction. Dropping it closes its connection, which rolls it back.
pub(super) struct Transaction {
    session: Session,
    sessions: Arc<Sessions>,
    state: State,
}

impl Transaction {
    /// Whether Postgres takes no writes in it.
    pub(super) fn is_read_only(&self) -> bool {
        self.state.read_only
    }

    /// Commits if the work succeeded, else rolls back. The connection goes back to the pool only
    /// if its session certainly serves further.
    pub(super) async fn end<T>(mut self, worked: Result<T>) -> Result<T> {
        let last = match &worked {
            Ok(_) => "commit",
            Err(error) if error.spares_the_session() => "rollback",
            Err(error) => {
                if error.denies_a_name() {
                    self.sessions.note_pooler();
                }
                let sessions = Arc::clone(&self.sessions);
                drop(self);
                sessions.close_idle();
                return worked;
            }
        };
        let ended = (&mut *self.session.lent.connection).execute(last).await;
        // A new session may take writes again.
        self.session.lent.serves = ended.is_ok() && !self.state.read_only;
        match (worked, ended) {
            (Ok(_), Err(error)) => Err(error.into()),
            (worked, _) => worked,
        }
    }
}

impl Deref for Transaction {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.session
    }
}

impl DerefMut for Transaction {
    fn deref_mut(&mut self) -> &mut Session {
        &mut self.session
    }
}

/// The session of a transaction: runs statements, with a name only where the session keeps them.
#[derive(Debug)]
pub(super) struct Session {
    lent: Lent,
    named: bool,
}

impl Session {
    fn statement<E>(&mut self, query: E) -> (&mut PgConnection, Statement<E>) {
        (&mut *self.lent.connection, Statement { query, named: self.named })
    }
}

impl<'c> Executor<'c> for &'c mut Session {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxStream<'e, sqlx::Result<Either<PgQueryResult, PgRow>>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let (connection, statement) = self.statement(query);
        connection.fetch_many(statement)
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, sqlx::Result<Option<PgRow>>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let (connection, statement) = self.statement(query);
        connection.fetch_optional(statement)
    }

    fn prepare_with<'e>(
        self,
        _: SqlStr,
        _: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, sqlx::Result<PgStatement>>
    where
        'c: 'e,
    {
        Box::pin(std::future::ready(Err(always_named())))
    }

    fn describe<'e>(self, _: SqlStr) -> BoxFuture<'e, sqlx::Result<Describe<Postgres>>>
    where
        'c: 'e,
    {
        Box::pin(std::future::ready(Err(always_named())))
    }
}

/// The library gives such a statement a name in any case. Nothing here asks for one.
fn always_named() -> sqlx::Error {
    sqlx::Error::Protocol("a statement that is prepared on its own always has a name".into())
}

/// A query that is prepared without a name unless `named`.
struct Statement<E> {
    query: E,
    named: bool,
}

impl<'q, E: Execute<'q, Postgres>> Execute<'q, Postgres> for Statement<E> {
    fn sql(self) -> SqlStr {
        self.query.sql()
    }

    fn statement(&self) -> Option<&PgStatement> {
        self.query.statement()
    }

    fn take_arguments(&mut self) -> std::result::Result<Option<PgArguments>, BoxDynError> {
        self.query.take_arguments()
    }

    fn persistent(&self) -> bool {
        self.named && self.query.persistent()
    }
}
