//! Notifications: a transaction that stores a request announces it, and other processes hear of it.

use std::time::Duration;

use sqlx::Executor;
use sqlx::postgres::{PgListener, PgPool, PgPoolOptions};
use uuid::Uuid;

use super::{Result, Store, Transaction, within};

/// The channel of this schema: several accounts may share one database.
const CHANNEL: &str = "select 'keap_intercom_sync_' || md5(current_schema())";

/// How Postgres shows a connection that listens; the end of the channel's name follows, because
/// several accounts may share one database.
const LISTENER: &str = "keap-intercom-sync-listener";

/// A notification that takes longer than this does not come at all.
const PROOF_TIME: Duration = Duration::from_secs(5);

/// How often a silent connection proves that it is still there. A connection that was cut without a
/// word would look just as silent.
const SILENCE_CHECK: Duration = Duration::from_secs(300);

/// What somebody stored for the holder of the lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// A contact is due.
    Due,
    /// A walk is requested.
    Run,
    /// Something was paused or resumed.
    Pause,
    /// A plan is asked for.
    Plan,
}

impl Request {
    fn as_str(self) -> &'static str {
        match self {
            Self::Due => "due",
            Self::Run => "run",
            Self::Pause => "pause",
            Self::Plan => "plan",
        }
    }
}

/// Announces a request to all processes when the transaction commits. Postgres folds repeats.
pub(super) async fn announce(tx: &mut Transaction, request: Request) -> Result<()> {
    notify(tx, request.as_str()).await
}

async fn notify(tx: &mut Transaction, payload: &str) -> Result<()> {
    sqlx::query("select pg_notify('keap_intercom_sync_' || md5(current_schema()), $1)")
        .bind(payload)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// A connection, beside those of the pool, that hears what is announced.
pub struct Listener {
    pool: PgPool,
    inner: PgListener,
    answer_time: Duration,
}

impl Store {
    /// Begins to listen. `None`: notifications do not come through, because a transaction-mode
    /// pooler stands between.
    pub async fn listen(&self) -> Result<Option<Listener>> {
        let channel: String = transaction!(self, tx, {
            Ok(sqlx::query_scalar(CHANNEL).fetch_one(&mut **tx).await?)
        })?;
        // A pooler would give the session that listens to others.
        if self.sessions.are_pooled() {
            return Ok(None);
        }
        let mut listener = within(self.stall, self.subscribe(&channel)).await?;
        let proof = Uuid::new_v4().to_string();
        // Sent over another connection: a pooler would pass it on within a single one.
        transaction!(self, tx, { notify(tx, &proof).await })?;
        match tokio::time::timeout(PROOF_TIME, listener.hears(&proof)).await {
            Ok(heard) => heard.map(|()| Some(listener)),
            Err(_) => Ok(None),
        }
    }

    /// How many processes hear of requests, and so would take the lease over. `None`: a pooler
    /// stands between, so nobody can count them.
    pub async fn listening(&self) -> Result<Option<i64>> {
        if self.sessions.are_pooled() {
            return Ok(None);
        }
        let number = transaction!(self, tx, {
            let channel: String = sqlx::query_scalar(CHANNEL).fetch_one(&mut **tx).await?;
            let sql = "select count(*) from pg_stat_activity where datname = current_database() and application_name = $1";
            Ok(sqlx::query_scalar(sql).bind(listener_of(&channel)).fetch_one(&mut **tx).await?)
        })?;
        Ok(Some(number))
    }

    async fn subscribe(&self, channel: &str) -> Result<Listener> {
        let connect = self.sessions.connect_options();
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .max_lifetime(None)
            .idle_timeout(None)
            .connect_lazy_with((*connect).clone().application_name(&listener_of(channel)));
        let mut inner = PgListener::connect_with(&pool).await?;
        // A new connection must prove itself first.
        inner.eager_reconnect(false);
        inner.listen(channel).await?;
        Ok(Listener { pool, inner, answer_time: self.stall })
    }
}

/// The name of connections that listen on this channel.
fn listener_of(channel: &str) -> String {
    let end = channel.len().saturating_sub(8);
    format!("{LISTENER}-{}", channel.get(end..).unwrap_or_default())
}

impl Listener {
    /// Waits for the next request. An error: the connection is lost, and requests may be missed
    /// until there is a new one.
    pub async fn next(&mut self) -> Result<Request> {
        loop {
            let Ok(payload) = tokio::time::timeout(SILENCE_CHECK, self.payload()).await else {
                within(self.answer_time, self.answers()).await?;
                continue;
            };
            let payload = payload?;
            let known = [Request::Due, Request::Run, Request::Pause, Request::Plan];
            if let Some(request) = known.into_iter().find(|request| request.as_str() == payload) {
                return Ok(request);
            }
        }
    }

    /// Says goodbye to Postgres, if it listens within `patience`.
    pub async fn close(self, patience: Duration) {
        drop(self.inner);
        let _ = tokio::time::timeout(patience, self.pool.close()).await;
    }

    async fn hears(&mut self, wanted: &str) -> Result<()> {
        while self.payload().await? != wanted {}
        Ok(())
    }

    async fn payload(&mut self) -> Result<String> {
        let notification = self.inner.try_recv().await?.ok_or(sqlx::Error::WorkerCrashed)?;
        Ok(notification.payload().to_owned())
    }

    async fn answers(&mut self) -> Result<()> {
        self.inner.execute("select 1").await?;
        Ok(())
    }
}
