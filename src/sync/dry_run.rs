//! The dry run: the same reading and the same decisions, reported instead of carried out. Nothing
//! is written anywhere.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{TimeDelta, Utc};

use super::context::Context;
use super::decide::Decision;
use super::dry_users::Users;
use super::feeds::by_id;
use super::feeds::missing;
use super::feeds::walk::{Walker, sorted};
use super::page::Rows;
use super::plan::{Planned, Planner};
use super::preview::{Preview, Scope};
use super::result::Halt;
use crate::contact::{Bases, Clears, Contact, FieldName, IntercomId, KeapId, Reading, Role};
use crate::feed::{Counts, Feed, Lane, Walk};
use crate::intercom::Found;
use crate::keap::Show;
use crate::outcome::{Action, SkipReason};
use crate::remote::Failure;

/// Decides every contact in scope and hands each preview to `show`.
pub async fn run(
    context: &Context,
    scope: Scope,
    mut show: impl FnMut(Preview),
) -> Result<Counts, Halt> {
    let show = |preview| {
        show(preview);
        true
    };
    Ok(run_while(context, scope, false, show).await?.counts)
}

/// What a dry run has found beside the previews.
#[derive(Debug, Default)]
pub struct Foretold {
    pub counts: Counts,
    /// The users that would get a contact in Keap. `None`: nobody looked, or nobody is created.
    pub created: Option<Vec<IntercomId>>,
    /// Of an audit: the linked contacts that Intercom's list misses.
    pub missing: Vec<KeapId>,
}

/// The same, until `show` returns false. `compare`: also reads what Intercom shows of each contact
/// that would be written, which costs a call for each.
pub async fn run_while(
    context: &Context,
    scope: Scope,
    compare: bool,
    mut show: impl FnMut(Preview) -> bool,
) -> Result<Foretold, Halt> {
    let mut total = Counts::default();
    let only = |counts| Foretold { counts, ..Foretold::default() };
    let began = Utc::now();
    let mut users = Users::of(context, &scope).await?;
    let start = match scope {
        Scope::Ids(ids) => {
            preview_ids(context, &ids, (compare, &mut users), &mut total, &mut show).await?;
            return Ok(only(total));
        }
        Scope::Audit => {
            let rest = users.rest();
            preview_ids(context, &rest, (compare, &mut users), &mut total, &mut show).await?;
            let missing = missing(context, &users.seen(), began).await?;
            return Ok(Foretold { missing, ..only(total) });
        }
        Scope::Changed => match context.store.cursor(Feed::Changed).await? {
            Some(cursor) => Some(cursor.settled + TimeDelta::milliseconds(1)),
            None if context.policy.everything_first() => None,
            // The first poll would only store Keap's newest stamp.
            None => return Ok(only(total)),
        },
        Scope::All => None,
        Scope::Since(since) => Some(since - TimeDelta::seconds(1)),
    };
    let mut walker =
        Walker::new(Arc::clone(&context.keap), context.policy.keap.page_size, Show::Everything);
    let mut next = Some(Walk { start, ..Walk::default() });
    while let Some(walk) = next {
        let step = walker.step(Lane::Bulk, &walk).await?;
        let rows = sorted(step.rows)?;
        let goes_on =
            preview_rows(context, rows, (compare, &mut users), &mut total, &mut show).await?;
        if !goes_on {
            return Ok(only(total));
        }
        next = step.next;
    }
    // They have changed in Intercom only.
    let rest = users.rest();
    preview_ids(context, &rest, (compare, &mut users), &mut total, &mut show).await?;
    let created = users.created(context).await?;
    let number = created.as_ref().map_or(0, Vec::len);
    total.created_in_keap = i64::try_from(number).unwrap_or(i64::MAX);
    Ok(Foretold { created, ..only(total) })
}

/// False: nobody looks at the previews any more.
async fn preview_ids(
    context: &Context,
    ids: &[KeapId],
    (compare, users): (bool, &mut Users),
    total: &mut Counts,
    show: &mut impl FnMut(Preview) -> bool,
) -> Result<bool, Halt> {
    for chunk in ids.chunks(context.policy.keap.page_size) {
        let (rows, missing) = by_id::read(context, Lane::Urgent, chunk).await?;
        for id in missing {
            let reason = Some(SkipReason::NotInKeap.code().to_owned());
            count(total, Preview::of(id, Action::Skipped, reason), show);
        }
        if !preview_rows(context, rows, (compare, &mut *users), total, show).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// False: nobody looks at the previews any more.
async fn preview_rows(
    context: &Context,
    rows: Rows,
    (compare, users): (bool, &mut Users),
    total: &mut Counts,
    show: &mut impl FnMut(Preview) -> bool,
) -> Result<bool, Halt> {
    let versions = HashMap::new();
    let planner = Planner { context, lane: Lane::Urgent, feed: Feed::Due, versions: &versions };
    for planned in planner.plan(rows.contacts).await? {
        let mut preview = preview(context, &planned);
        if !users.bring(context, &planned, &mut preview).await? && compare {
            read_before(context, &mut preview).await?;
        }
        if !count(total, preview, show) {
            return Ok(false);
        }
    }
    for (id, why) in rows.unreadable {
        if !count(total, Preview::of(id, Action::Failed, Some(why)), show) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn count(total: &mut Counts, preview: Preview, show: &mut impl FnMut(Preview) -> bool) -> bool {
    total.seen += 1;
    total.add(&Counts::of(preview.action));
    total.conflicts += i64::from(!preview.conflicts.is_empty());
    show(preview)
}

/// Adds what Intercom shows now of a contact that would be written.
async fn read_before(context: &Context, preview: &mut Preview) -> Result<(), Halt> {
    let Some(id) = preview.intercom.as_ref().filter(|_| !preview.fields.is_empty()) else {
        return Ok(());
    };
    let shown = match context.intercom.read(Lane::Bulk, id).await {
        Ok(Found::Contact(shown)) => shown,
        // It has vanished, or cannot be read alone. The fields are shown without it.
        Ok(Found::Merged(_) | Found::Missing)
        | Err(Failure::Again { .. } | Failure::Never { .. }) => return Ok(()),
        Err(failure) => return Err(Halt::of_reading(failure)),
    };
    let names: Vec<String> = preview.fields.iter().map(|(name, _)| name.clone()).collect();
    preview.before = names
        .into_iter()
        .filter_map(|name| {
            let value = match name.as_str() {
                EXTERNAL_ID => shown.external_id.clone(),
                ROLE => Some(role(shown.role).to_owned()),
                name => match shown.field(name)? {
                    Reading::Is(value) => Some(value.as_str().to_owned()),
                    Reading::Empty => None,
                    Reading::Invalid => return None,
                },
            };
            Some((name, value))
        })
        .collect();
    Ok(())
}

fn role(role: Role) -> &'static str {
    match role {
        Role::User => "user",
        Role::Lead => "lead",
    }
}

/// What is decided for a contact.
pub(super) fn preview(context: &Context, planned: &Planned) -> Preview {
    let id = planned.contact.id;
    if let Some((why, _)) = &planned.search_failed {
        return Preview::of(id, Action::Failed, Some(why.clone()));
    }
    let of = |action, intercom: Option<&IntercomId>, reason: Option<String>| Preview {
        intercom: intercom.cloned(),
        ..Preview::of(id, action, reason)
    };
    let written = |preview: Preview| {
        let nothing = Bases::nothing();
        let before = match &planned.decision {
            Decision::Update(_) => planned.link.as_ref().and_then(|link| link.keap_base.as_ref()),
            _ => Some(&nothing),
        };
        let (key, order, contact) = (&context.key, &context.fields, &planned.contact);
        let clears = match &planned.decision {
            Decision::Create => Clears::nothing(),
            _ => key.clears(order, contact, before),
        };
        let is_written = |name: &FieldName| match contact.fields.get(name.as_str()) {
            Some(Reading::Empty) => clears.includes(name.as_str()),
            _ => true,
        };
        let mut differs = key.unsettled(order, contact, before.unwrap_or(&nothing));
        differs.retain(is_written);
        Preview { fields: fields(contact, &clears), differs, ..preview }
    };
    match &planned.decision {
        Decision::Create => written(of(Action::Created, None, None)),
        Decision::Link(id) | Decision::Choose(id) => written(of(Action::Linked, Some(id), None)),
        Decision::Update(id) => written(of(Action::Updated, Some(id), None)),
        Decision::Relate(id) => of(Action::Updated, Some(id), None),
        Decision::Archive(id) => of(Action::Archived, Some(id), None),
        Decision::Unlink(id) | Decision::Transfer(id, _) => of(Action::Unlinked, Some(id), None),
        Decision::Skip(SkipReason::Unchanged) => of(Action::Unchanged, None, None),
        Decision::Skip(reason @ SkipReason::StillHeld) => {
            of(Action::Held, None, Some(reason.to_string()))
        }
        Decision::Skip(reason @ SkipReason::RetryLater) => {
            of(Action::Failed, None, Some(reason.to_string()))
        }
        Decision::Skip(reason) => of(Action::Skipped, None, Some(reason.to_string())),
        Decision::Hold(hold) => {
            of(Action::Held, hold.candidates.first(), Some(hold.reason.to_string()))
        }
        Decision::Look(_) | Decision::Adopt(_) => of(
            Action::Failed,
            None,
            Some("unknown: a write has no answer, so Intercom will be read".into()),
        ),
        Decision::Match => of(Action::Failed, None, Some("not matched".into())),
    }
}

/// The two fields that stand in no mapping, in Intercom's words.
const EXTERNAL_ID: &str = "external_id";
const ROLE: &str = "role";

fn fields(contact: &Contact, clears: &Clears) -> Vec<(String, Option<String>)> {
    let mut fields = vec![
        (EXTERNAL_ID.to_owned(), Some(contact.id.to_string())),
        (ROLE.to_owned(), Some(role(Role::User).to_owned())),
    ];
    fields.extend(contact.fields.iter().filter_map(|(name, reading)| {
        let value = match reading {
            Reading::Is(value) => Some(value.as_str().to_owned()),
            Reading::Empty if clears.includes(name.as_str()) => None,
            // Intercom keeps its value.
            Reading::Empty | Reading::Invalid => return None,
        };
        Some((name.to_string(), value))
    }));
    fields
}
