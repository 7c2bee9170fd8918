//! Hints: requests of webhooks for contacts that Keap's lists do not show.

use std::time::Duration;

use super::due::DueRow;
use super::{Fence, Result, Store, hold, keap_ids};

impl Store {
    /// Settles hints whose contacts Keap's lists did not show. Some are looked at once more later.
    /// The others are dropped, with the hold of their contact if it has one: Keap does not list the
    /// contact, so its hold concerns nobody.
    pub async fn delay_hints(
        &self,
        fence: &Fence,
        later: &[DueRow],
        delay: Duration,
        dropped: &[DueRow],
    ) -> Result<()> {
        let columns = |rows: &[DueRow]| -> (Vec<i64>, Vec<i64>) {
            rows.iter().map(|row| (row.id.get(), row.version)).unzip()
        };
        transaction!(self, tx, {
            fence.check(tx).await?;
            let (ids, versions) = columns(later);
            sqlx::query(
                "update contact_due due set due_at = now() + make_interval(secs => $3), attempts = attempts + 1, updated_at = now()
                   from unnest($1::bigint[], $2::bigint[]) as row (id, version)
                  where due.keap_contact_id = row.id and due.version = row.version",
            )
            .bind(ids)
            .bind(versions)
            .bind(delay.as_secs_f64())
            .execute(&mut **tx)
            .await?;
            let (ids, versions) = columns(dropped);
            let dropped: Vec<i64> = sqlx::query_scalar(
                "delete from contact_due due using unnest($1::bigint[], $2::bigint[]) as row (id, version)
                  where due.keap_contact_id = row.id and due.version = row.version
              returning due.keap_contact_id",
            )
            .bind(ids)
            .bind(versions)
            .fetch_all(&mut **tx)
            .await?;
            hold::settle(tx, &keap_ids(dropped)?).await
        })
    }
}
