//! Reads what the daemon recorded in Postgres, with plain SQL as a user would write it.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::postgres::PgPool;

/// The content of the tables at one moment.
#[derive(Default)]
pub(crate) struct Recorded {
    /// Keap id and Intercom id of each linked contact.
    pub linked: BTreeMap<i64, String>,
    pub skipped: BTreeSet<i64>,
    /// Keap id of each held contact, and why it needs a person.
    pub held: BTreeMap<i64, String>,
    /// Number of contacts that wait for another try.
    pub due: i64,
    /// Number of rows in `keap_intercom_sync_logs` by status and action, for the direction to
    /// Intercom.
    pub rows: BTreeMap<(String, String), i64>,
    /// Number of rows for the direction to Keap.
    pub to_keap: i64,
    /// Keap id and Intercom id of each row whose status is `synced`.
    pub synced: BTreeSet<(String, String)>,
}

impl Recorded {
    pub(crate) async fn read(pool: &PgPool) -> sqlx::Result<Recorded> {
        let ready: bool = sqlx::query_scalar("select to_regclass('sync_lease') is not null")
            .fetch_one(pool)
            .await?;
        // The daemon has not created its tables yet.
        if !ready {
            return Ok(Recorded::default());
        }
        let links: Vec<(i64, Option<String>)> =
            sqlx::query_as("select keap_contact_id, intercom_contact_id from contact_link")
                .fetch_all(pool)
                .await?;
        let mut recorded = Recorded::default();
        for (id, intercom) in links {
            match intercom {
                Some(intercom) => drop(recorded.linked.insert(id, intercom)),
                None => drop(recorded.skipped.insert(id)),
            }
        }
        let held: Vec<(i64, String)> =
            sqlx::query_as("select keap_contact_id, code from contact_held")
                .fetch_all(pool)
                .await?;
        recorded.held = held.into_iter().collect();
        recorded.due = sqlx::query_scalar("select count(*) from contact_due where not held")
            .fetch_one(pool)
            .await?;
        let rows: Vec<(String, String, i64)> = sqlx::query_as(
            "select sync_status, coalesce(action, ''), count(*) from keap_intercom_sync_logs
             where sync_direction = 'keap_to_intercom' group by 1, 2",
        )
        .fetch_all(pool)
        .await?;
        recorded.rows =
            rows.into_iter().map(|(status, action, count)| ((status, action), count)).collect();
        recorded.to_keap = sqlx::query_scalar(
            "select count(*) from keap_intercom_sync_logs where sync_direction = 'intercom_to_keap'",
        )
        .fetch_one(pool)
        .await?;
        let synced: Vec<(String, String)> = sqlx::query_as(
            "select distinct keap_contact_id, intercom_contact_id from keap_intercom_sync_logs
             where sync_status = 'synced' and intercom_contact_id is not null",
        )
        .fetch_all(pool)
        .await?;
        recorded.synced = synced.into_iter().collect();
        Ok(recorded)
    }

    pub(crate) fn rows_with(&self, status: &str) -> i64 {
        self.rows.iter().filter(|((its, _), _)| its == status).map(|(_, count)| count).sum()
    }
}
