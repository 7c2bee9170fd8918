//! Postgres: the pool, short transactions, and one file per table. SQL lives here and nowhere else.

/// Runs a block in one transaction. Everything goes through one, so that a transaction-mode pooler
/// is enough. The block sees the transaction as `$tx` and gives a `Result`; `Err` rolls back. This
/// is a macro, because a closure that borrows could not be sent between threads.
macro_rules! transaction {
    ($store:expr, $tx:ident, $work:block) => {
        $crate::store::within($store.stall, async {
            let mut transaction = $store.begin().await?;
            let worked = {
                let $tx = &mut transaction;
                $crate::store::as_result(async $work).await
            };
            transaction.end(worked).await
        })
        .await
    };
}

mod alarm;
mod batch;
mod blocked;
mod create;
mod cursor;
mod decide;
mod decision;
mod due;
mod erase_rows;
mod erased;
mod erasure;
mod error;
mod explain;
mod former_link;
mod gone;
mod held_newcomer;
mod hints;
mod hold;
mod hook;
mod intent;
mod intercom_cursor;
mod lease;
mod link;
mod listen;
mod log;
mod log_list;
mod mapping;
mod mapping_state;
mod newcomer;
mod open_create;
mod options;
mod overview;
mod pause;
mod plan;
mod plan_work;
mod record;
mod retention;
mod run;
mod schema;
mod scope_brake;
mod session;
mod sweep;
mod tag_cursor;
mod take_over;
mod tally;
mod traces;
mod two_way;
mod unsynced;

pub use alarm::{Alarm, AlarmMessage, FailingTarget};
pub use batch::Batch;
pub use create::Intended;
pub use decide::{DecidedBy, HeldFilter, NewDecision, Taken, Whose};
pub use decision::StoredDecision;
pub use due::{ChangedInIntercom, DueRow, DueTicket, RetryRow, Takes, Waiting};
pub use erasure::{Door, Erased, Erasure, OpenErasure};
pub use error::{Result, StoreError};
pub use explain::{Explained, ExplainedDue, ExplainedLink, ExplainedOutcome, ExplainedWrite};
pub use former_link::FormerLink;
pub use held_newcomer::HeldNewcomer;
pub use hold::{Held, HoldRow, KnownHold};
pub use hook::{HookRow, HookState, SeenHook};
pub use intent::{FoundIntent, Intent, IntentKind, IntentSide};
pub use intercom_cursor::{IntercomCursor, IntercomFeed, LinkedUser, SeenUsers, SettledUser};
pub use lease::{Fence, HeldLease, Lease, LeaseHolder};
pub use link::{Known, LinkCount, LinkRow, Restamp};
pub use listen::{Listener, Request};
pub use log::{LogRow, LoggedOutcome};
pub use log_list::{LogEntry, LogFilter, LogStretch};
pub use mapping_state::MappingState;
pub use newcomer::{Newcomer, NewcomerRow, NewcomerStanding, Settlement};
pub use open_create::OpenCreate;
pub use overview::{FeedAge, Overview};
pub use pause::PausedRow;
pub use plan::{NewPlan, Plan, PlanContact, PlanCount, PlanRow};
pub use plan_work::{Approval, ApprovedPlan, PlanPart};
pub use record::{Group, Recorded};
pub use retention::{DeletedRows, Old};
pub use run::{NewRun, Run, RunState};
pub use schema::{SchemaState, migrations};
pub use scope_brake::Leaving;
pub use session::StoreOptions;
pub use sweep::{SweepStanding, SweptPage};
pub use tally::{Counted, FieldTally, Span, Tally, TallyRow};
pub use traces::Traces;
pub use two_way::{LastAudit, TwoWay, Watched};
pub use unsynced::Unsynced;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::postgres::PgPool;

use self::session::{Sessions, Transaction};
use crate::contact::KeapId;

/// A database that does not answer at all is given up this long after a statement's own limit,
/// because that limit needs an answer too.
const SILENCE: Duration = Duration::from_secs(10);

/// A holder of the lease that freezes in the middle of a transaction keeps the lease's row locked
/// for at most this time.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// The limit of a statement in tests, which bring their own pool.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(30);

/// The database, shared by all parts. It is cheap to clone.
#[derive(Clone)]
pub struct Store {
    sessions: Arc<Sessions>,
    /// The statements that limit the time of a transaction. Each transaction needs them, because a
    /// pooler keeps no session for us.
    limits: String,
    stall: Duration,
}

impl Store {
    /// Prepares a pool. The first connection is made when it is needed.
    pub fn new(options: &StoreOptions<'_>) -> Result<Self> {
        Ok(Self::of(Arc::new(Sessions::new(options)?), options.statement_timeout))
    }

    /// A store for tests, which get their pool from sqlx.
    pub fn from_pool(pool: PgPool) -> Self {
        Self::of(Arc::new(Sessions::of(pool)), STATEMENT_TIMEOUT)
    }

    fn of(sessions: Arc<Sessions>, statement_timeout: Duration) -> Self {
        let (statement, idle) =
            (statement_timeout.as_millis(), statement_timeout.min(LONGEST_PAUSE).as_millis());
        let limits = format!(
            "set local statement_timeout = {statement}; set local idle_in_transaction_session_timeout = {idle}"
        );
        Self { sessions, limits, stall: statement_timeout + SILENCE }
    }

    /// The same database for callers who do not wait long. What is not done within `patience`,
    /// getting a connection included, fails.
    pub fn with_deadline(&self, patience: Duration) -> Self {
        Self { stall: patience, ..Self::of(Arc::clone(&self.sessions), patience) }
    }

    /// Whether the database takes no writes now.
    pub async fn is_read_only(&self) -> Result<bool> {
        transaction!(self, tx, { Ok(tx.is_read_only()) })
    }

    /// The time of the database, whose stamps every row carries.
    pub async fn now(&self) -> Result<DateTime<Utc>> {
        transaction!(self, tx, {
            Ok(sqlx::query_scalar("select clock_timestamp()").fetch_one(&mut **tx).await?)
        })
    }

    /// Closes the connections, and gives Postgres `patience` to answer.
    pub async fn close(&self, patience: Duration) {
        let _ = tokio::time::timeout(patience, self.sessions.close()).await;
    }

    async fn begin(&self) -> Result<Transaction> {
        self.sessions.begin(&self.limits).await
    }
}

async fn within<T>(stall: Duration, work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(stall, work).await.unwrap_or(Err(StoreError::Stalled(stall)))
}

/// Names the error type of a block for the compiler.
async fn as_result<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    work.await
}

/// A stored Keap id.
fn keap_id(id: i64) -> Result<KeapId> {
    KeapId::new(id).ok_or(StoreError::BadRow("a contact"))
}

/// Stored Keap ids.
fn keap_ids(ids: Vec<i64>) -> Result<Vec<KeapId>> {
    ids.into_iter().map(keap_id).collect()
}

/// A time span that Postgres gave as seconds.
fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}
