//! What a time without changes costs.

use super::{Claim, Evidence, Finding};

/// What was called and written up to one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    intercom_calls: usize,
    keap_writes: usize,
    log_rows: i64,
}

impl Mark {
    pub(crate) async fn now(evidence: &Evidence) -> sqlx::Result<Mark> {
        let log_rows = sqlx::query_scalar("select count(*) from keap_intercom_sync_logs")
            .fetch_one(&evidence.pool)
            .await?;
        Ok(Mark {
            intercom_calls: evidence.intercom.calls() - polls(evidence),
            keap_writes: KEAP_WRITES.map(|kind| evidence.keap.count(kind)).iter().sum(),
            log_rows,
        })
    }

    /// What the time since then has cost. Nothing has changed meanwhile.
    pub(crate) async fn cost(&self, evidence: &Evidence) -> sqlx::Result<Vec<Finding>> {
        let now = Mark::now(evidence).await?;
        let costs = [
            ("calls to Intercom", now.intercom_calls - self.intercom_calls),
            ("writes to Keap", now.keap_writes - self.keap_writes),
            ("log rows", (now.log_rows - self.log_rows) as usize),
        ];
        let costs = costs.into_iter().filter(|(_, number)| *number > 0);
        Ok(costs
            .map(|(what, number)| Finding::new(Claim::IdleIsFree, format!("{number} {what}")))
            .collect())
    }
}

/// The ways to write to Keap.
const KEAP_WRITES: [&str; 3] = ["write", "apply_tag", "set_opt_status"];

/// The calls to Intercom that ask who has changed there.
fn polls(evidence: &Evidence) -> usize {
    if evidence.owners.is_two_way() { evidence.intercom.count("search") } else { 0 }
}

impl Evidence {
    /// Whether polls begin behind everything that was read.
    pub(crate) async fn is_settled(&self) -> sqlx::Result<bool> {
        let sql =
            "select exists (select from sync_cursor where feed = 'changed' and settled = position)";
        sqlx::query_scalar(sql).fetch_one(&self.pool).await
    }
}
