//! The lease: the row that says which process may run passes. Its clock is Postgres's alone.

use std::time::Duration;

use tokio::time::Instant;

use super::{Result, Store};

/// The only lease there is; the name leaves room for the other direction.
const NAME: &str = "writer";

/// A lease that this process holds.
#[derive(Debug, Clone, Copy)]
pub struct Lease {
    /// Grows with every new holder; recording transactions check it.
    pub epoch: i64,
    /// Until when this process may start writes, by its own monotonic clock: counted from before the request was sent.
    pub valid_until: Instant,
}

/// Who holds the lease according to the row.
#[derive(Debug, Clone)]
pub struct LeaseHolder {
    pub holder: String,
    pub epoch: i64,
    /// False when the time of the holder is over.
    pub live: bool,
}

impl Store {
    /// Takes the lease when it is free, expired, or held by `dead`, a holder that is known to have died.
    pub async fn take_lease(
        &self,
        holder: &str,
        ttl: Duration,
        dead: Option<&LeaseHolder>,
    ) -> Result<Option<Lease>> {
        let asked = Instant::now();
        let epoch: Option<i64> = transaction!(self, tx, {
            Ok(sqlx::query_scalar(
                "insert into sync_lease as lease (name, epoch, holder, expires_at)
                     values ($1, 1, $2, now() + make_interval(secs => $3))
                     on conflict (name) do update
                        set epoch = lease.epoch + 1, holder = excluded.holder,
                            expires_at = excluded.expires_at, acquired_at = now()
                      where lease.expires_at < now()
                         or (lease.holder = $4 and lease.epoch = $5)
                     returning epoch",
            )
            .bind(NAME)
            .bind(holder)
            .bind(ttl.as_secs_f64())
            .bind(dead.map(|dead| dead.holder.as_str()))
            .bind(dead.map(|dead| dead.epoch))
            .fetch_optional(&mut **tx)
            .await?)
        })?;
        Ok(epoch.map(|epoch| Lease {
            epoch,
            valid_until: asked + ttl,
        }))
    }

    /// Prolongs the lease; `None` when another process has taken it.
    pub async fn renew_lease(&self, lease: &Lease, ttl: Duration) -> Result<Option<Lease>> {
        let asked = Instant::now();
        let kept = transaction!(self, tx, {
            Ok(sqlx::query("update sync_lease set expires_at = now() + make_interval(secs => $3) where name = $1 and epoch = $2")
                    .bind(NAME)
                    .bind(lease.epoch)
                    .bind(ttl.as_secs_f64())
                    .execute(&mut **tx)
                    .await?
                    .rows_affected()
                    == 1)
        })?;
        Ok(kept.then_some(Lease {
            valid_until: asked + ttl,
            ..*lease
        }))
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

    pub async fn lease_holder(&self) -> Result<Option<LeaseHolder>> {
        let row: Option<(String, i64, bool)> = transaction!(self, tx, {
            Ok(sqlx::query_as(
                "select holder, epoch, expires_at >= now() from sync_lease where name = $1",
            )
            .bind(NAME)
            .fetch_optional(&mut **tx)
            .await?)
        })?;
        Ok(row.map(|(holder, epoch, live)| LeaseHolder {
            holder,
            epoch,
            live,
        }))
    }
}

/// Fails unless the lease is still ours, and keeps it so until the transaction ends.
pub(super) const CHECK_EPOCH: &str =
    "select epoch from sync_lease where name = 'writer' and epoch = $1 for share";
