//! The claims about the daemon's tables.

use std::collections::BTreeSet;

use sqlx::{AssertSqlSafe, PgPool};

use super::holds::Holds;
use super::remotes::shown;
use super::{Claim, Evidence, Finding};
use crate::canary::canary_in;
use crate::sim::Standing;

pub(super) async fn check(evidence: &Evidence, holds: &Holds) -> sqlx::Result<Vec<Finding>> {
    let mut findings = open(evidence).await?;
    let linked: Vec<(i64, String)> = sqlx::query_as(
        "select keap_contact_id, intercom_contact_id from contact_link where state = 'linked'",
    )
    .fetch_all(&evidence.pool)
    .await?;
    let logged: Vec<(String, String)> = sqlx::query_as(
        "select distinct keap_contact_id, intercom_contact_id from keap_intercom_sync_logs
          where sync_status = 'synced' and intercom_contact_id is not null",
    )
    .fetch_all(&evidence.pool)
    .await?;
    let logged: BTreeSet<_> = logged.into_iter().collect();
    for (id, intercom) in &linked {
        if evidence.keap.person(*id).is_none() {
            let what = format!("contact {id} is linked, and Keap does not have it");
            findings.push(Finding::new(Claim::NoOrphan, what));
            continue;
        }
        let is_right = evidence.intercom.contact(intercom).is_some_and(|contact| {
            contact.standing == Standing::Live && contact.external_id == Some(id.to_string())
        });
        if !is_right && !holds.contains_key(id) {
            let what = format!("contact {id} is linked to {intercom}, which is not its own");
            findings.push(Finding::new(Claim::LinksAreRight, what));
        }
        // What an unknown write has made is linked while the contact waits for a person.
        if !logged.contains(&(id.to_string(), intercom.clone())) && !holds.contains_key(id) {
            let what = format!("no log row says that contact {id} was synced to {intercom}");
            findings.push(Finding::new(Claim::Logged, what));
        }
    }
    findings.extend(unlinked(evidence, &linked));
    Ok(findings)
}

/// Contacts of ours in Intercom that the daemon does not know.
fn unlinked(evidence: &Evidence, linked: &[(i64, String)]) -> Vec<Finding> {
    let known: BTreeSet<&str> = linked.iter().map(|(_, intercom)| intercom.as_str()).collect();
    let users = evidence.intercom.live_users();
    let ours = users
        .iter()
        .filter(|user| user.external_id.as_deref().is_some_and(|id| id.parse::<i64>().is_ok()));
    ours.filter(|user| !known.contains(user.id.as_str()) && !evidence.is_as_at_start(user))
        .map(|user| {
            let what = format!("{} has no link", shown(user));
            Finding::new(Claim::LinksAreRight, what)
        })
        .collect()
}

/// What a quiet daemon does not leave.
async fn open(evidence: &Evidence) -> sqlx::Result<Vec<Finding>> {
    let counts = [
        (
            Claim::NoRunOpen,
            "run(s) open or walk(s) under way",
            // A poll may be at work now.
            "select (select count(*) from sync_run
                      where state = 'requested' or state = 'running' and (feed <> 'changed' or created_at < now() - interval '5 s'))
                  + (select count(*) from sync_cursor
                      where walking and (feed <> 'changed' or updated_at < now() - interval '5 s'))",
        ),
        (Claim::NoneDue, "contact(s) due", "select count(*) from contact_due where not held"),
    ];
    let mut findings = Vec::new();
    for (claim, what, sql) in counts {
        let number: i64 = sqlx::query_scalar(sql).fetch_one(&evidence.pool).await?;
        if number > 0 {
            findings.push(Finding::new(claim, format!("{number} {what}")));
        }
    }
    findings.extend(unknown_writes(evidence).await?);
    Ok(findings)
}

/// Writes whose outcome is unknown, except of contacts that wait for a person and for nothing else.
async fn unknown_writes(evidence: &Evidence) -> sqlx::Result<Vec<Finding>> {
    let sql = "select coalesce(keap_contact_id, 0), kind, coalesce(recheck_at - now(), interval '0')::text
                 from contact_intent intent
                where recheck_at is not null
                   or not exists (select from contact_held held where held.keap_contact_id = intent.keap_contact_id)";
    let rows: Vec<(i64, String, String)> = sqlx::query_as(sql).fetch_all(&evidence.pool).await?;
    let finding = |(id, kind, left)| {
        let what =
            format!("a {kind} of contact {id} has an unknown outcome; time to its recheck: {left}");
        Finding::new(Claim::NoIntent, what)
    };
    Ok(rows.into_iter().map(finding).collect())
}

/// Each table that holds a person or a secret.
pub(super) async fn canaries(evidence: &Evidence) -> sqlx::Result<Vec<Finding>> {
    let found = people_in(&evidence.pool).await?.into_iter();
    Ok(found.map(|what| Finding::new(Claim::NoCanary, what)).collect())
}

/// What each table shows of a person or a secret.
pub(crate) async fn people_in(pool: &PgPool) -> sqlx::Result<Vec<String>> {
    let tables: Vec<String> = sqlx::query_scalar(
        "select quote_ident(table_name) from information_schema.tables
          where table_schema = current_schema() and table_type = 'BASE TABLE'",
    )
    .fetch_all(pool)
    .await?;
    let mut found = Vec::new();
    for table in tables {
        let sql = format!("select row_of::text from {table} row_of");
        let rows: Vec<String> = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(pool).await?;
        let shown = rows.iter().find_map(|row| Some((canary_in(row)?, row)));
        if let Some((canary, row)) = shown {
            found.push(format!("table {table} shows {canary:?}: {row}"));
        }
    }
    Ok(found)
}
