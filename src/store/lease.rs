//! The lease: the row that says which process may run passes. Only Postgres's clock counts.

use std::time::Duration;

use sqlx::FromRow;
use tokio::sync::watch;
use tokio::time::Instant;

use super::{Result, Store, StoreError, Transaction, within};

/// The one lease of a database. Its holder writes in both directions.
pub(super) const NAME: &str = "writer";

/// A lease that this process holds.
#[derive(Debug, Clone, Copy)]
pub struct Lease {
    /// Grows with every new holder.
    pub epoch: i64,
    /// Until when this process may start writes, by its own monotonic clock. The time counts from
    /// before the request was sent.
    pub valid_until: Instant,
}

impl Lease {
    /// The proof for recording; `None` once the time of the lease is over.
    pub fn fence(&self) -> Option<Fence> {
        (Instant::now() < self.valid_until).then_some(Fence { epoch: self.epoch })
    }
}

/// Proof that this process held the lease a moment ago. Only a lease makes one, and every
/// transaction that records something checks it once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fence {
    epoch: i64,
}

impl Fence {
    /// Fails unless this process still holds the lease, and keeps it until the transaction ends.
    pub(super) async fn check(&self, tx: &mut Transaction) -> Result<()> {
        let ours: Option<i64> = sqlx::query_scalar(
            "select epoch from sync_lease where name = $1 and epoch = $2 for share",
        )
        .bind(NAME)
        .bind(self.epoch)
        .fetch_optional(&mut **tx)
        .await?;
        ours.map(|_| ()).ok_or(StoreError::LeaseLost)
    }

    /// Distinguishes one period of holding the lease from the next.
    pub fn epoch(&self) -> i64 {
        self.epoch
    }
}

/// Who holds the lease according to the row.
#[derive(Debug, Clone, FromRow)]
pub struct LeaseHolder {
    pub holder: String,
    pub epoch: i64,
    /// False when the time of the holder is over.
    pub live: bool,
}

impl Store {
    /// Prolongs the lease; `None` when another process has taken it.
    ///
    /// An idle daemon does little else. So this is one message to Postgres instead of the messages
    /// of a transaction. Postgres runs the statements of one message in one transaction.
    pub async fn renew_lease(&self, lease: &Lease, ttl: Duration) -> Result<Option<Lease>> {
        let asked = Instant::now();
        let renewal = format!(
            "update sync_lease set expires_at = now() + make_interval(secs => {}) where name = '{NAME}' and epoch = {}",
            ttl.as_secs_f64(),
            lease.epoch,
        );
        let renewed = self.sessions.send(&self.limits, &renewal);
        let kept = within(self.stall, renewed).await? == 1;
        Ok(kept.then_some(Lease { valid_until: asked + ttl, ..*lease }))
    }

    /// Gives the lease back, so that the next process need not wait for its end.
    pub async fn release_lease(&self, lease: &Lease) -> Result<()> {
        transaction!(self, tx, {
            sqlx::query("update sync_lease set expires_at = now() - interval '1 second' where name = $1 and epoch = $2")
                .bind(NAME)
                .bind(lease.epoch)
                .execute(&mut **tx)
                .await?;
            Ok(())
        })
    }

    /// Who holds the lease, or held it last; `None` before the first holder.
    pub async fn lease_holder(&self) -> Result<Option<LeaseHolder>> {
        transaction!(self, tx, {
            Ok(sqlx::query_as(
                "select holder, epoch, expires_at >= now() as live from sync_lease where name = $1",
            )
            .bind(NAME)
            .fetch_optional(&mut **tx)
            .await?)
        })
    }
}

/// The lease as its keeper last saw it.
#[derive(Debug, Clone)]
pub struct HeldLease(watch::Receiver<Option<Lease>>);

impl HeldLease {
    /// What a keeper announces through the other end.
    pub fn new(receiver: watch::Receiver<Option<Lease>>) -> Self {
        Self(receiver)
    }

    /// The lease of a process that never holds it: for a dry run.
    pub fn never() -> Self {
        Self(watch::channel(None).1)
    }

    /// The proof for recording; `None` while this process may not run passes.
    pub fn fence(&self) -> Option<Fence> {
        self.0.borrow().as_ref().and_then(Lease::fence)
    }

    /// Whether this process may run passes now.
    pub fn is_held(&self) -> bool {
        self.fence().is_some()
    }

    /// Waits until the keeper announces something new. False once the keeper has ended.
    pub async fn changed(&mut self) -> bool {
        self.0.changed().await.is_ok()
    }

    /// Waits until this process gets the lease, loses it, or gets it anew. A renewal is no change.
    pub async fn passed_on(&mut self) {
        let fence = self.fence();
        let other = |now: &Option<Lease>| now.as_ref().and_then(Lease::fence) != fence;
        // A keeper that has ended announces nothing any more.
        if self.0.wait_for(other).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
