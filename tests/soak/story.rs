//! What happened to the contacts that a finding names, in order, for the person who looks for the
//! reason.

use std::time::Instant;

use crate::checker::Finding;
use crate::life::Life;

/// Lines for each contact: what people did to it, and every call of Intercom about it.
pub(crate) async fn of(life: &Life, findings: &[Finding]) -> Vec<String> {
    let mut ids: Vec<i64> = findings.iter().flat_map(|finding| named(&finding.what)).collect();
    ids.sort_unstable();
    ids.dedup();
    let mut lines = Vec::new();
    for id in ids.into_iter().take(4) {
        lines.extend(of_contact(life, id).await);
    }
    lines
}

/// The Keap ids in a text: the numbers behind "contact".
fn named(text: &str) -> Vec<i64> {
    let words: Vec<&str> = text.split([' ', ',', ':']).collect();
    let pairs =
        words.windows(2).filter(|pair| pair[0].ends_with("contact") || pair[0] == "carries");
    pairs.filter_map(|pair| pair[1].parse().ok()).collect()
}

async fn of_contact(life: &Life, id: i64) -> Vec<String> {
    let evidence = &life.scene.evidence;
    let mut events: Vec<(Instant, String)> = life.changes.of(id).collect();
    let key = id.to_string();
    let intercom: Option<String> = sqlx::query_scalar(
        "select intercom_contact_id from contact_link where keap_contact_id = $1",
    )
    .bind(id)
    .fetch_optional(&evidence.pool)
    .await
    .ok()
    .flatten();
    let calls = evidence.intercom.ledger().into_iter().filter(|call| {
        let about = call.external_id.as_ref() == Some(&key) || call.key.as_ref() == Some(&key);
        about || (intercom.is_some() && call.key == intercom)
    });
    events.extend(calls.map(|call| {
        let body = call.body.map(|body| body.to_string()).unwrap_or_default();
        let what = format!("Intercom: {} {} {} {body}", call.kind, call.path, call.status);
        (call.at, what)
    }));
    events.extend(life.milestones.iter().cloned());
    events.sort_by_key(|(at, _)| *at);
    let mut lines = vec![format!("  Contact {id}, linked to {intercom:?}:")];
    lines.extend(events.iter().map(|(at, what)| {
        let seconds = at.duration_since(life.began).as_secs_f64();
        format!("    {seconds:7.3} {what}")
    }));
    lines.push(format!("    In Keap: {:?}", evidence.keap.person(id)));
    let users = evidence.intercom.contacts().into_iter();
    let users = users.filter(|user| {
        user.external_id.as_ref() == Some(&key) || Some(&user.id) == intercom.as_ref()
    });
    lines.extend(users.map(|user| format!("    In Intercom: {user:?}")));
    lines
}
