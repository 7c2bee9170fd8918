//! Everything that is stored of one contact, for whoever asks why it is, or is not, in Intercom. Ids, stamps and reasons only.

use chrono::{DateTime, Utc};
use serde::Serialize;
use uuid::Uuid;

use super::{Result, Store};
use crate::contact::KeapId;

/// So many outcomes are told, newest first.
const OUTCOMES: i64 = 20;

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explained {
    pub now: DateTime<Utc>,
    pub link: Option<ExplainedLink>,
    pub due: Option<ExplainedDue>,
    /// Newest first.
    pub outcomes: Vec<ExplainedOutcome>,
}

#[derive(Debug, Clone, Serialize, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
pub struct ExplainedLink {
    /// `linked`, or `skipped` when it was left out.
    pub state: String,
    pub intercom_contact_id: Option<String>,
    /// Keap's stamp of the change that was last acted on.
    pub keap_updated_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    /// When the fingerprint was last written.
    pub updated_at: DateTime<Utc>,
    /// When an Intercom contact that had vanished was last replaced.
    pub replaced_at: Option<DateTime<Utc>>,
}

#[derive(Debug, Clone, Serialize, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
pub struct ExplainedDue {
    pub reason: String,
    pub due_at: DateTime<Utc>,
    pub attempts: i32,
    pub held: bool,
    pub last_error: Option<String>,
    pub candidates: Vec<String>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

#[derive(Debug, Clone, Serialize, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
pub struct ExplainedOutcome {
    pub at: DateTime<Utc>,
    pub status: String,
    pub action: Option<String>,
    pub reason: Option<String>,
    pub intercom_contact_id: Option<String>,
    pub feed: Option<String>,
    pub run_id: Option<Uuid>,
    /// Intercom's id of the request that wrote it, for its support.
    pub request_id: Option<String>,
}

impl Store {
    pub async fn explain(&self, id: KeapId) -> Result<Explained> {
        transaction!(self, tx, {
            let now = sqlx::query_scalar("select now()")
                .fetch_one(&mut **tx)
                .await?;
            let link = sqlx::query_as(
                "select state, intercom_contact_id, keap_updated_at, created_at, updated_at, replaced_at
                   from contact_link where keap_contact_id = $1",
            )
            .bind(id.get())
            .fetch_optional(&mut **tx)
            .await?;
            let due = sqlx::query_as(
                "select reason, due_at, attempts, held, last_error, candidates, created_at, updated_at
                   from contact_due where keap_contact_id = $1",
            )
            .bind(id.get())
            .fetch_optional(&mut **tx)
            .await?;
            // Its rows first, and then the newest of them: else Postgres may go through the log by age for a contact without a row.
            let outcomes = sqlx::query_as(
                "with told as materialized (
                     select created_at as at, sync_status as status, action, error_message as reason, intercom_contact_id, feed, run_id, request_id
                       from keap_intercom_sync_logs where keap_contact_id = $1)
                 select * from told order by at desc limit $2",
            )
            .bind(id.to_string())
            .bind(OUTCOMES)
            .fetch_all(&mut **tx)
            .await?;
            Ok(Explained {
                now,
                link,
                due,
                outcomes,
            })
        })
    }
}
