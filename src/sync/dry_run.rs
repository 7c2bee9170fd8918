//! The dry run: the same feeds and decisions, told instead of done. Nothing is written anywhere.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::Syncer;
use super::decide::{Decision, SkipReason};
use super::feeds::Rows;
use super::outcome::Halt;
use super::plan::{Planned, Planner};
use crate::contact::{Contact, EmailField, KeapId};
use crate::remote::Lane;
use crate::store::{Counts, Feed, Walk};

/// What to look at.
#[derive(Debug, Clone)]
pub enum Scope {
    Ids(Vec<KeapId>),
    /// What the next poll would find.
    Changed,
    All,
    Since(DateTime<Utc>),
}

/// What would be done for one contact.
pub struct Preview {
    pub keap_contact_id: i64,
    /// `created`, `linked`, `updated`, `unchanged`, `skipped`, `held` or `failed`.
    pub action: &'static str,
    pub intercom_contact_id: Option<String>,
    pub reason: Option<String>,
    /// Each field that would be written, with its value; `None` clears it. For the operator's eyes, never for a log.
    pub fields: Vec<(&'static str, Option<String>)>,
}

impl Syncer {
    /// Decides every contact in scope and hands each preview to `tell`.
    pub async fn dry_run(
        &self,
        scope: Scope,
        mut tell: impl FnMut(Preview),
    ) -> Result<Counts, Halt> {
        let mut total = Counts::default();
        let start = match scope {
            Scope::Ids(ids) => {
                for chunk in ids.chunks(self.walker.page_size()) {
                    let (rows, missing) = self.read_by_id(Lane::Urgent, chunk).await?;
                    for id in missing {
                        total.seen += 1;
                        total.skipped += 1;
                        tell(Preview {
                            keap_contact_id: id.get(),
                            action: "skipped",
                            intercom_contact_id: None,
                            reason: Some("not_in_keap".into()),
                            fields: Vec::new(),
                        });
                    }
                    self.preview(rows, &mut total, &mut tell).await?;
                }
                return Ok(total);
            }
            Scope::Changed => match self.store.cursor(Feed::Changed).await? {
                Some(cursor) => Some(cursor.settled + TimeDelta::milliseconds(1)),
                None if self.everything_first => None,
                // The first poll would only note where Keap stands.
                None => return Ok(total),
            },
            Scope::All => None,
            Scope::Since(since) => Some(since - TimeDelta::seconds(1)),
        };
        let mut next = Some(Walk {
            start,
            ..Walk::default()
        });
        while let Some(walk) = next {
            let step = self.walker.step(Lane::Bulk, &walk).await?;
            self.preview(Rows::of_walk(step.rows)?, &mut total, &mut tell)
                .await?;
            next = step.next;
        }
        Ok(total)
    }

    async fn preview(
        &self,
        rows: Rows,
        total: &mut Counts,
        tell: &mut impl FnMut(Preview),
    ) -> Result<(), Halt> {
        let planner = Planner {
            store: &self.store,
            intercom: &self.intercom,
            key: &self.key,
            rules: self.rules,
            lane: Lane::Urgent,
            feed: Feed::Due,
            versions: &HashMap::new(),
        };
        for planned in planner.plan(rows.contacts).await? {
            let preview = preview(&planned);
            total.seen += 1;
            *match preview.action {
                "created" => &mut total.created,
                "linked" => &mut total.linked,
                "updated" => &mut total.updated,
                "unchanged" => &mut total.unchanged,
                "held" => &mut total.held,
                "skipped" => &mut total.skipped,
                _ => &mut total.failed,
            } += 1;
            tell(preview);
        }
        for (id, why) in rows.unreadable {
            total.seen += 1;
            total.failed += 1;
            tell(Preview {
                keap_contact_id: id.get(),
                action: "failed",
                intercom_contact_id: None,
                reason: Some(why),
                fields: Vec::new(),
            });
        }
        Ok(())
    }
}

fn preview(planned: &Planned) -> Preview {
    let failed = planned.search_failed.as_ref().map(|(why, _)| why.clone());
    let (action, intercom, reason) = match &planned.decision {
        _ if failed.is_some() => ("failed", None, failed),
        Decision::Create => ("created", None, None),
        Decision::Link(id) => ("linked", Some(id.to_string()), None),
        Decision::Update(id) => ("updated", Some(id.to_string()), None),
        Decision::Archive(id) => ("archived", Some(id.to_string()), None),
        Decision::Unlink(id) | Decision::HandOver(id, _) => {
            ("unlinked", Some(id.to_string()), None)
        }
        Decision::Skip(SkipReason::Unchanged) => ("unchanged", None, None),
        Decision::Skip(SkipReason::StillHeld) => (
            "held",
            None,
            Some("held, and unchanged since: see `keap-intercom-sync held`".to_owned()),
        ),
        Decision::Skip(SkipReason::RetryLater) => (
            "failed",
            None,
            Some("failed before; its next try comes later".to_owned()),
        ),
        Decision::Skip(reason) => ("skipped", None, Some(reason.to_string())),
        Decision::Hold(hold) => (
            "held",
            hold.candidates.first().map(ToString::to_string),
            Some(hold.reason.to_string()),
        ),
        Decision::Match => ("failed", None, Some("not matched".into())),
    };
    let fields = match action {
        "created" | "linked" | "updated" => fields(&planned.contact),
        _ => Vec::new(),
    };
    Preview {
        keap_contact_id: planned.contact.id.get(),
        action,
        intercom_contact_id: intercom,
        reason,
        fields,
    }
}

fn fields(contact: &Contact) -> Vec<(&'static str, Option<String>)> {
    let mut fields = vec![
        ("external_id", Some(contact.id.to_string())),
        ("role", Some("user".into())),
    ];
    match &contact.email {
        EmailField::Valid(email) => fields.push(("email", Some(email.as_written().to_owned()))),
        EmailField::Absent => fields.push(("email", None)),
        EmailField::Invalid => {}
    }
    fields.push(("name", contact.name.clone()));
    fields.push(("phone", contact.phone.clone()));
    fields
}
