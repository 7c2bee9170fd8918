//! Postgres: the pool, short transactions, and one file per table. SQL lives here and nowhere else.

/// One transaction: everything goes through one, so that a transaction-mode pooler is enough. The block sees it as `$tx`, gives
/// a `Result`, and is rolled back on `Err`. A macro, because a closure that borrows could not be sent between threads.
macro_rules! transaction {
    ($store:expr, $tx:ident, $work:block) => {
        $crate::store::within($store.stall, async {
            let mut transaction = $store.begin().await?;
            let $tx = &mut transaction;
            let value = $crate::store::as_result(async $work).await?;
            transaction.commit().await?;
            Ok(value)
        })
        .await
    };
}

/// The Keap id behind `email_linked_to` in a reason, in SQL.
macro_rules! WAITS_FOR {
    ($reason:literal) => {
        concat!(
            "substring(",
            $reason,
            " from '^email_linked_to ([0-9]{1,18}):')::bigint"
        )
    };
}

mod batch;
mod cursor;
mod due;
mod explain;
mod hook;
mod lease;
mod link;
mod log;
mod look;
mod overview;
mod record;
mod retention;
mod run;
mod schema;
mod sweep;

pub use batch::Batch;
pub use cursor::{Cursor, Feed, Walk};
pub use due::{DueReason, DueRow, DueTicket, Held, Waiting};
pub use explain::{Explained, ExplainedDue, ExplainedLink, ExplainedOutcome};
pub use hook::{HookRow, HookState};
pub use lease::{Lease, LeaseHolder};
pub use link::Known;
pub use log::{LogRow, SyncStatus};
pub use look::{ContactState, DueState, LinkState, LogEntry};
pub use overview::{FeedAge, Overview};
pub use record::{DueAgain, Group, LinkRow, Recorded};
pub use retention::{DeletedRows, Old};
pub use run::{Counts, Run, RunState};
pub use schema::SchemaState;
pub use sweep::{BRAKE, SweepStanding, SweptPage};

use std::future::Future;
use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Postgres, Transaction};

/// A database that does not even answer is given up this long after a statement's time, because that limit needs an answer too.
const SILENCE: Duration = Duration::from_secs(10);

/// A holder of the lease that is frozen in the middle of a transaction keeps its row locked no longer than this.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// How long it is tried to learn why no connection came.
const LAST_TRY: Duration = Duration::from_secs(1);

/// What tests, which bring their own pool, give a statement.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(30);

/// What can go wrong with the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The cause stands in the text, because a log line in JSON shows no causes.
    #[error("Postgres did not do what was asked: {0}")]
    Database(sqlx::Error),
    #[error("Postgres did not answer within {} s", .0.as_secs())]
    Stalled(Duration),
    #[error("another process has taken the lease; nothing was recorded")]
    LeaseLost,
    #[error("the database is not ready: {0}")]
    Schema(String),
    #[error("the row of {0} holds a value that this program never wrote")]
    BadRow(&'static str),
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

impl StoreError {
    /// Whether waiting can help: everything but a schema or a value that is not ours.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Database(_) | Self::Stalled(_)) && !self.is_refusal()
    }

    /// Postgres refuses what these rows hold: it will do so again.
    pub fn is_refusal(&self) -> bool {
        // Cardinality, data and integrity errors.
        ["21", "22", "23"]
            .iter()
            .any(|class| self.is_of_class(class))
    }

    /// Postgres does not let this program in, or not at what it needs: a setting or a right is wrong.
    pub fn is_no_admission(&self) -> bool {
        // Authorisation, catalog name, and the privileges of a role.
        ["28", "3D", "42501"]
            .iter()
            .any(|class| self.is_of_class(class))
    }

    fn is_of_class(&self, class: &str) -> bool {
        let Self::Database(sqlx::Error::Database(error)) = self else {
            return false;
        };
        error.code().is_some_and(|code| code.starts_with(class))
    }
}

pub type Result<T> = std::result::Result<T, StoreError>;

/// How to reach Postgres.
pub struct StoreOptions<'a> {
    pub url: &'a str,
    pub max_connections: u32,
    pub connect_timeout: Duration,
    /// How long one statement may run, waiting for locks included.
    pub statement_timeout: Duration,
    /// `false` behind a transaction-mode pooler that cannot keep prepared statements.
    pub prepared_statements: bool,
}

/// The database, shared by all parts; cheap to clone.
#[derive(Clone)]
pub struct Store {
    pool: PgPool,
    /// How every transaction begins.
    begin: String,
    stall: Duration,
}

impl Store {
    /// Prepares a pool; the first connection is made when it is needed.
    pub fn new(options: &StoreOptions<'_>) -> Result<Self> {
        let mut connect =
            PgConnectOptions::from_str(options.url)?.application_name("keap-intercom-sync");
        if !options.prepared_statements {
            connect = connect.statement_cache_capacity(0);
        }
        let pool = PgPoolOptions::new()
            .max_connections(options.max_connections)
            .acquire_timeout(options.connect_timeout)
            .connect_lazy_with(connect);
        Ok(Self::of(pool, options.statement_timeout))
    }

    /// For tests, which get their pool from sqlx.
    pub fn from_pool(pool: PgPool) -> Self {
        Self::of(pool, STATEMENT_TIMEOUT)
    }

    fn of(pool: PgPool, statement_timeout: Duration) -> Self {
        let (statement, idle) = (
            statement_timeout.as_millis(),
            statement_timeout.min(LONGEST_PAUSE).as_millis(),
        );
        // Set in each transaction, because a pooler keeps no session for us.
        let begin = format!(
            "begin; set local statement_timeout = {statement}; set local idle_in_transaction_session_timeout = {idle}"
        );
        Self {
            pool,
            begin,
            stall: statement_timeout + SILENCE,
        }
    }

    /// The same database for callers who do not wait long: what is not done within `patience`, a connection included, fails.
    pub fn hurried(&self, patience: Duration) -> Self {
        Self {
            stall: patience,
            ..Self::of(self.pool.clone(), patience)
        }
    }

    /// Says goodbye to Postgres, if it listens within `patience`.
    pub async fn close(&self, patience: Duration) {
        let _ = tokio::time::timeout(patience, self.pool.close()).await;
    }

    async fn begin(&self) -> Result<Transaction<'static, Postgres>> {
        let begun = self
            .pool
            .begin_with(AssertSqlSafe(self.begin.clone()))
            .await;
        if matches!(begun, Err(sqlx::Error::PoolTimedOut)) {
            // The pool has tried all the while and does not say why in vain.
            let options = self.pool.connect_options();
            let tried = PgConnection::connect_with(&options);
            if let Ok(Err(error)) = tokio::time::timeout(LAST_TRY, tried).await {
                return Err(error.into());
            }
        }
        Ok(begun?)
    }
}

async fn within<T>(stall: Duration, work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(stall, work)
        .await
        .unwrap_or(Err(StoreError::Stalled(stall)))
}

/// Tells the compiler the error type of a block.
async fn as_result<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    work.await
}
