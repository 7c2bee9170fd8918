//! Taking the lease, and taking over what its former holder left.

use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use super::lease::NAME;
use super::{Fence, Lease, LeaseHolder, Result, Store, former_link, hold, intent, run};

impl Store {
    /// Takes the lease when it is free, expired, or held by `dead`, a holder that is known to have
    /// died.
    ///
    /// The contacts whose writes the former holder left without an outcome become due.
    ///
    /// A former release keeps holds and former links in other tables. The same transaction takes
    /// them over, so that no pass runs before.
    pub async fn take_lease(
        &self,
        holder: &str,
        ttl: Duration,
        dead: Option<&LeaseHolder>,
    ) -> Result<Option<Lease>> {
        let asked = Instant::now();
        let epoch: Option<i64> = transaction!(self, tx, {
            let epoch = sqlx::query_scalar(
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
            .await?;
            if let Some(epoch) = epoch {
                intent::take_over(tx, epoch).await?;
                hold::take_over(tx).await?;
                former_link::take_over(tx).await?;
            }
            Ok(epoch)
        })?;
        Ok(epoch.map(|epoch| Lease { epoch, valid_until: asked + ttl }))
    }

    /// Takes over the runs that a former holder of the lease or a fault left. `own`: the runs that
    /// this process carries out.
    pub async fn take_over_runs(&self, fence: &Fence, own: &[Uuid]) -> Result<()> {
        transaction!(self, tx, {
            fence.check(tx).await?;
            run::take_over(tx, own).await
        })
    }
}
