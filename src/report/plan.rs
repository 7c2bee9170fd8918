//! A plan in words.

use chrono::{DateTime, Utc};

use super::words::{ago, count, number, stamp};
use crate::outcome::PlanState;
use crate::store::{Plan, PlanCount};

/// The first characters of an id, which are enough for people.
fn short(plan: &Plan) -> String {
    plan.id.to_string().chars().take(8).collect()
}

/// What a plan is about.
pub fn plan_scope(plan: &Plan) -> String {
    let words = plan.kind().map_or("what a newer release knows", |kind| kind.in_words());
    format!("{}: {words}", plan.kind)
}

/// How a plan stands, and since when.
pub fn plan_standing(plan: &Plan, now: DateTime<Utc>) -> String {
    let by = |what: &str| match (&plan.decided_by, plan.decided_at) {
        (Some(by), Some(at)) => format!("{what} ({by}, {} UTC)", stamp(at)),
        _ => what.to_owned(),
    };
    match plan.state() {
        Some(PlanState::Requested) => "is being made".to_owned(),
        Some(PlanState::Waiting) => format!("waits, made {} ago", ago(now, plan.made_at)),
        Some(PlanState::Approved) => by("approved, being carried out"),
        Some(PlanState::Done) => by("approved, and carried out"),
        Some(PlanState::Dropped) => by("dropped"),
        Some(PlanState::Replaced) => {
            "over: the brake was lifted, or a later look has shown another picture".to_owned()
        }
        Some(PlanState::Failed) => by("failed, and not carried out"),
        None => plan.state.clone(),
    }
}

/// The facts of a plan by name.
pub fn plan_facts(plan: &Plan, now: DateTime<Utc>) -> Vec<(&'static str, String)> {
    let by = if plan.asked_by == "brake" { "a brake" } else { plan.asked_by.as_str() };
    let mut facts = vec![
        ("plan", plan.id.to_string()),
        ("about", plan_scope(plan)),
        ("made by", format!("{by}, {} UTC", stamp(plan.made_at))),
        ("state", plan_standing(plan, now)),
        (
            "looked at",
            format!(
                "{}; {} unchanged, {} skipped",
                count(plan.seen, "contact"),
                number(plan.unchanged),
                number(plan.skipped)
            ),
        ),
    ];
    facts.extend(plan.why.clone().map(|why| ("why", why)));
    facts.extend(plan.run_id.map(|run| ("run", run.to_string())));
    facts.extend(plan_changed(plan.changed).map(|changed| ("changed", changed)));
    facts
}

/// How many contacts were decided afresh, if any were.
pub fn plan_changed(changed: i64) -> Option<String> {
    (changed > 0).then(|| {
        let verb = if changed == 1 { "has" } else { "have" };
        format!(
            "{} {verb} changed since the plan was made, and {} decided afresh",
            count(changed, "contact"),
            if changed == 1 { "was" } else { "were" }
        )
    })
}

/// What a plan would do, in a few words.
pub fn plan_actions(counts: &[PlanCount]) -> String {
    let actions = counts.iter().filter(|count| count.what == "action");
    let actions = actions.map(|one| format!("{} {}", number(one.contacts), action_word(&one.word)));
    let actions: Vec<String> = actions.collect();
    if actions.is_empty() { "nothing to do".to_owned() } else { actions.join(", ") }
}

/// An action of a plan, as a person reads it.
pub fn action_word(code: &str) -> String {
    match code {
        "looked_at" => "looked at on both sides".to_owned(),
        code => code.replace('_', " "),
    }
}

/// A plan in one line, for a list of plans.
pub fn plan_line(plan: &Plan, now: DateTime<Utc>) -> String {
    format!("{} {} ({})", short(plan), plan_scope(plan), plan_standing(plan, now))
}

/// Why a plan can be neither approved nor dropped any more.
pub fn plan_refusal(plan: &Plan, now: DateTime<Utc>) -> String {
    format!("plan {} does not wait for a person: {}", short(plan), plan_standing(plan, now))
}
