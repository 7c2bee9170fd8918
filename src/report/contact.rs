//! The story of a contact: why it is, or is not, in Intercom, and what happens next.

use chrono::{DateTime, Utc};

use super::decision::decision_in_words;
use super::erasure::{erasure_lines, erasure_next, erasure_verdict};
use super::words::{ago, stamp};
use crate::contact::KeapId;
use crate::feed::{Cursor, Feed};
use crate::outcome::{Action, Decided};
use crate::store::{Explained, Store, StoreError, StoredDecision};
use crate::tasks::lease;

/// Why a contact is, or is not, in Intercom.
pub struct Story {
    pub id: KeapId,
    pub known: Explained,
    /// One sentence: is the contact in Intercom?
    pub verdict: String,
    /// What happens next, and what a person can do about it.
    pub next: String,
}

/// What is stored of a contact under one heading, in lines for people.
pub struct Fact {
    pub label: &'static str,
    pub lines: Vec<String>,
}

impl Story {
    /// Reads the story, with the newest `outcomes` log rows.
    pub async fn read(
        store: &Store,
        id: KeapId,
        max_attempts: u32,
        outcomes: i64,
    ) -> Result<Self, StoreError> {
        let known = store.explain(id, outcomes).await?;
        let (changed, backfill) =
            (store.cursor(Feed::Changed).await?, store.cursor(Feed::Backfill).await?);
        let mut next = next(id, &known, changed.as_ref(), backfill.as_ref(), max_attempts);
        if lease::is_free(store).await? {
            next.push_str(
                " No daemon is running passes now: start one with `keap-intercom-sync run`.",
            );
        }
        let verdict = verdict(&known);
        Ok(Self { id, known, verdict, next })
    }

    /// Whether a decision about it is in force, and can be taken back.
    pub fn has_decision(&self) -> bool {
        in_force(&self.known).is_some()
    }

    /// Whether nothing is stored of the contact.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Its link, its fields, its hold or due row, what people have decided about it, and its writes
    /// with an unknown outcome.
    pub fn facts(&self) -> Vec<Fact> {
        let erasure = self
            .known
            .erasure
            .as_ref()
            .map(|erasure| Fact { label: "erasure", lines: erasure_lines(erasure) });
        let facts =
            [erasure, self.link(), self.fields(), self.due(), self.decided(), self.writes()];
        facts.into_iter().flatten().collect()
    }

    fn link(&self) -> Option<Fact> {
        let link = self.known.link.as_ref()?;
        let intercom = link.intercom_contact_id.as_deref().unwrap_or("no Intercom contact");
        let mut lines = vec![
            format!("{} ({intercom}), since {}", link.state, stamp(link.created_at)),
            format!(
                "last written {}, {} ago",
                stamp(link.updated_at),
                ago(self.known.now, link.updated_at)
            ),
        ];
        if let Some(at) = link.keap_updated_at {
            lines.push(format!("for the change that Keap stamped {}", stamp(at)));
        }
        if let Some(at) = link.replaced_at {
            lines.push(format!("its Intercom contact had vanished and was replaced {}", stamp(at)));
        }
        Some(Fact { label: "link", lines })
    }

    fn fields(&self) -> Option<Fact> {
        let of = |state: &str, words: &str| {
            let fields = self.known.fields.iter().filter(|field| field.keap == state);
            let names: Vec<_> = fields.map(|field| field.name.as_str()).collect();
            (!names.is_empty()).then(|| format!("{words}: {}", names.join(", ")))
        };
        let mut lines: Vec<String> = [
            of("value", "had a value in Keap"),
            of("empty", "were empty"),
            of("unknown", "were never read"),
        ]
        .into_iter()
        .flatten()
        .collect();
        if lines.is_empty() {
            return None;
        }
        let values = "their values now: keap-intercom-sync sync";
        lines.push(format!("{values} {} --dry-run --verbose", self.id));
        Some(Fact { label: "fields", lines })
    }

    fn due(&self) -> Option<Fact> {
        let due = self.known.due.as_ref()?;
        let now = self.known.now;
        let since = |at: DateTime<Utc>| format!("since {}, for {}", stamp(at), ago(now, at));
        let (label, mut lines) = if due.held {
            ("held", vec![since(due.held_since.unwrap_or(due.created_at))])
        } else {
            let attempts = if due.attempts == 0 {
                String::new()
            } else {
                format!(", {} attempt(s)", due.attempts)
            };
            let next = due.due_at.map(|at| format!(", next {}", stamp(at))).unwrap_or_default();
            let reason = &due.reason;
            let mut lines =
                vec![format!("{}, reason {reason}{attempts}{next}", since(due.created_at))];
            lines.extend(due.held_since.map(|at| {
                format!("it is held {}; this look decides whether it stays so", since(at))
            }));
            ("due", lines)
        };
        lines.extend(due.last_error.clone());
        if !due.candidates.is_empty() {
            lines.push(format!("Intercom: {}", due.candidates.join(", ")));
        }
        Some(Fact { label, lines })
    }

    fn decided(&self) -> Option<Fact> {
        let lines: Vec<String> = self.known.decisions.iter().map(decision_in_words).collect();
        (!lines.is_empty()).then_some(Fact { label: "decided", lines })
    }

    fn writes(&self) -> Option<Fact> {
        let lines = self.known.open_writes.iter().map(|write| {
            let side = if write.side == "keap" { "Keap" } else { "Intercom" };
            let then = write.read_again_at.map_or_else(
                || "the contact is read there before anything else is decided".to_owned(),
                |at| {
                    let at = stamp(at);
                    format!("the contact was read there since, and is read once more at {at}")
                },
            );
            let (kind, since) = (&write.kind, stamp(write.since));
            format!("{kind} at {side} since {since}, whose outcome is not known yet: {then}")
        });
        let lines: Vec<String> = lines.collect();
        (!lines.is_empty()).then_some(Fact { label: "write", lines })
    }
}

/// The decision about it that is in force.
fn in_force(known: &Explained) -> Option<&StoredDecision> {
    known.decisions.iter().find(|decision| decision.ended_at.is_none())
}

/// Until when it is ignored, if somebody has decided so.
fn ignored(known: &Explained) -> Option<&'static str> {
    match Decided::parse(&in_force(known)?.decision)? {
        Decided::Ignore => Some("until the decision is taken back"),
        Decided::IgnoreUntilChanged => Some("until it changes in Keap"),
        Decided::Use | Decided::Create | Decided::Retry => None,
    }
}

/// One sentence: is the contact in Intercom?
fn verdict(known: &Explained) -> String {
    if let Some(erasure) = &known.erasure {
        return erasure_verdict(erasure).to_owned();
    }
    match &known.link {
        Some(link) => match &link.intercom_contact_id {
            Some(intercom) => format!("It is in Intercom as {intercom}."),
            None => "It is not in Intercom: it was skipped.".into(),
        },
        None if ignored(known).is_some() => {
            "It is not in Intercom: a person has decided to ignore it.".into()
        }
        None if known.due.as_ref().is_some_and(|due| due.held) => {
            "It is not in Intercom: it is held for a person.".into()
        }
        None => match known.outcomes.first() {
            Some(last) => {
                match (last.action.as_deref().and_then(Action::parse), &last.intercom_contact_id) {
                    (Some(Action::Archived), Some(intercom)) => format!(
                        "It is not in Intercom any more: Keap does not have it, and {intercom} was archived."
                    ),
                    (Some(Action::Unlinked), Some(intercom)) => format!(
                        "Keap does not have it; {intercom} was left in Intercom, without a link."
                    ),
                    _ => "It is not in Intercom: the last outcome says why.".into(),
                }
            }
            None => "It is not in Intercom, as far as is recorded here.".into(),
        },
    }
}

/// What happens next, and what a person can do about it.
fn next(
    id: KeapId,
    known: &Explained,
    changed: Option<&Cursor>,
    backfill: Option<&Cursor>,
    max_attempts: u32,
) -> String {
    if let Some(erasure) = &known.erasure {
        return erasure_next(id, erasure);
    }
    if let Some(due) = &known.due {
        let later = due.due_at.filter(|at| *at > known.now);
        return match (due.held, later) {
            (true, Some(at)) => format!(
                "It is looked at again by itself at {}, or when it changes in Keap. Sooner: keap-intercom-sync held retry {id}.",
                stamp(at)
            ),
            // Its time has come, so the next poll looks at it.
            (true, None) if due.due_at.is_some() => "The next poll looks at it again.".to_owned(),
            (true, None) => format!(
                "Nothing until it changes in Keap. Settle the reason, then: keap-intercom-sync held retry {id}."
            ),
            (false, Some(at)) => format!(
                "It is tried again at {}, after {} of {max_attempts} attempts.",
                stamp(at),
                due.attempts
            ),
            (false, None) => format!("The next pass looks at it (reason: {}).", due.reason),
        };
    }
    if let Some(until) = ignored(known) {
        return format!(
            "Nothing {until}. To sync it after all: keap-intercom-sync decide take-back {id}."
        );
    }
    let ahead = |cursor: Option<&Cursor>| {
        let walk = cursor.and_then(|cursor| cursor.walk.as_ref());
        walk.is_some_and(|walk| walk.last_id.is_none_or(|last| last.get() < id.get()))
    };
    if known.link.is_some() {
        let nothing = "Nothing until it changes in Keap. The next poll finds a change.".to_owned();
        return if ahead(backfill) {
            nothing + " A backfill is under way and has not reached it yet."
        } else {
            nothing
        };
    }
    if ahead(changed) || ahead(backfill) {
        return "A walk over Keap is under way and has not reached its id yet.".into();
    }
    if changed.is_none_or(|cursor| cursor.polled_age.is_none()) {
        return "The first poll has not ended yet; it may still find it.".into();
    }
    if !known.outcomes.is_empty() {
        return format!(
            "Nothing until it changes, or is back, in Keap. To look at it now: keap-intercom-sync sync {id}."
        );
    }
    format!(
        "Nothing was ever recorded about it: Keap does not have it, or it has not changed since the first poll (poll.first_run). To look at it now: keap-intercom-sync sync {id}."
    )
}
