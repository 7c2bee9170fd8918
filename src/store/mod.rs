//! Postgres: the pool, short transactions, and one file per table. SQL lives here and nowhere else.

/// One transaction: everything goes through one, so that a transaction-mode pooler is enough. The block sees it as `$tx`, gives
/// a `Result`, and is rolled back on `Err`. A macro, because a closure that borrows could not be sent between threads.
macro_rules! transaction {
    ($store:expr, $tx:ident, $work:block) => {
        $crate::store::within(async {
            let mut transaction = $store.begin().await?;
            let $tx = &mut transaction;
            let value = $crate::store::as_result(async $work).await?;
            transaction.commit().await?;
            Ok(value)
        })
        .await
    };
}

mod cursor;
mod due;
mod lease;
mod link;
mod log;
mod record;
mod run;
mod schema;

pub use cursor::{Cursor, Feed, Walk};
pub use due::{DueReason, DueRow, DueTicket, Held, Waiting};
pub use lease::{Lease, LeaseHolder};
pub use link::Known;
pub use log::{LogRow, SyncStatus};
pub use record::{DueAgain, Group, LinkRow};
pub use run::{Counts, Run, RunState};
pub use schema::SchemaState;

use std::future::Future;
use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{Postgres, Transaction};

/// No statement here needs a fraction of this; one that takes longer waits for a lock or a sick disk.
const BEGIN: &str = "begin; set local statement_timeout = '30s'; set local idle_in_transaction_session_timeout = '60s'";

/// A database that does not even answer is given up after this long, because a statement time-out needs an answer too.
const STALL: Duration = Duration::from_secs(40);

/// What can go wrong with the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("Postgres did not do what was asked; the work is kept and tried again")]
    Database(#[from] sqlx::Error),
    #[error("Postgres did not answer within {} s", STALL.as_secs())]
    Stalled,
    #[error("another process has taken the lease; nothing was recorded")]
    LeaseLost,
    #[error("the database is not ready: {0}")]
    Schema(String),
    #[error("the row of {0} holds a value that this program never wrote")]
    BadRow(&'static str),
}

impl StoreError {
    /// Whether waiting can help: everything but a schema that is not ours.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Database(_) | Self::Stalled)
    }
}

pub type Result<T> = std::result::Result<T, StoreError>;

/// How to reach Postgres.
pub struct StoreOptions<'a> {
    pub url: &'a str,
    pub max_connections: u32,
    pub connect_timeout: Duration,
    /// `false` behind a transaction-mode pooler that cannot keep prepared statements.
    pub prepared_statements: bool,
}

/// The database, shared by all parts; cheap to clone.
#[derive(Clone)]
pub struct Store {
    pool: PgPool,
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
        Ok(Self { pool })
    }

    /// For tests, which get their pool from sqlx.
    pub fn from_pool(pool: PgPool) -> Self {
        Self { pool }
    }

    pub async fn close(&self) {
        self.pool.close().await;
    }

    async fn begin(&self) -> Result<Transaction<'static, Postgres>> {
        Ok(self.pool.begin_with(BEGIN).await?)
    }
}

async fn within<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(STALL, work)
        .await
        .unwrap_or(Err(StoreError::Stalled))
}

/// Tells the compiler the error type of a block.
async fn as_result<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    work.await
}
