//! Deciding: takes what people decide about held contacts, or refuses it, and takes it back.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use sqlx::FromRow;

use super::due::put_requests;
use super::{Result, Store, Transaction, keap_ids};
use crate::contact::{IntercomId, KeapId};
use crate::feed::DueReason;
use crate::outcome::{Decided, Fate, HoldReason, refusal};

/// The way on which a decision comes. The page has one password for all, so it knows no names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecidedBy {
    Page,
    Http,
    Command,
}

impl DecidedBy {
    /// The stored word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Page => "page",
            Self::Http => "http",
            Self::Command => "command",
        }
    }
}

/// Which held contacts a decision is about.
#[derive(Debug, Clone, Copy)]
pub enum Whose<'a> {
    These(&'a [KeapId]),
    /// All that are held for this reason, by its stored word.
    Reason(&'a str),
    /// All that are held for a reason, within a time.
    Held(HeldFilter<'a>),
    All,
}

/// Which held contacts, and users of Intercom without a contact in Keap: those of a reason, and
/// those that are held since some time. An empty filter is all of them.
#[derive(Debug, Clone, Copy, Default)]
pub struct HeldFilter<'a> {
    /// The reason's stored word.
    pub reason: Option<&'a str>,
    pub since: Option<DateTime<Utc>>,
    pub until: Option<DateTime<Utc>>,
}

impl<'a> Whose<'a> {
    fn ids(self) -> Option<Vec<i64>> {
        match self {
            Self::These(ids) => Some(ids.iter().map(|id| id.get()).collect()),
            _ => None,
        }
    }

    fn reason(self) -> Option<&'a str> {
        match self {
            Self::Reason(code) => Some(code),
            Self::Held(filter) => filter.reason,
            _ => None,
        }
    }

    /// Since when they are held.
    fn time(self) -> (Option<DateTime<Utc>>, Option<DateTime<Utc>>) {
        match self {
            Self::Held(filter) => (filter.since, filter.until),
            _ => (None, None),
        }
    }

    /// The named contacts that are not among these.
    fn others(self, met: &HashSet<KeapId>) -> Vec<KeapId> {
        match self {
            Self::These(ids) => ids.iter().copied().filter(|id| !met.contains(id)).collect(),
            _ => Vec::new(),
        }
    }
}

/// A decision to be taken.
#[derive(Debug, Clone, Copy)]
pub struct NewDecision<'a> {
    pub whose: Whose<'a>,
    pub decided: Decided,
    /// The Intercom contact to use.
    pub intercom: Option<&'a IntercomId>,
    pub by: DecidedBy,
}

/// What came of a decision.
#[derive(Debug, Default)]
pub struct Taken {
    pub decided: Vec<KeapId>,
    /// Contacts about which this cannot be decided, each with a sentence.
    pub refused: Vec<(KeapId, String)>,
    /// Named contacts that do not wait for a person, or about which nothing was decided.
    pub not_held: Vec<KeapId>,
}

#[derive(FromRow)]
struct HeldRow {
    #[sqlx(try_from = "i64")]
    keap_contact_id: KeapId,
    code: String,
    candidates: Vec<String>,
    sighting: Option<Vec<u8>>,
    is_linked: bool,
    /// Nothing but a change in Keap or a person ends the hold.
    is_final: bool,
}

impl Store {
    /// Takes a decision about contacts that are held, in one transaction: it is stored, and the
    /// contacts are due again unless they are to be ignored.
    pub async fn decide(&self, new: &NewDecision<'_>) -> Result<Taken> {
        transaction!(self, tx, {
            one_at_a_time(tx).await?;
            let held = held(tx, new.whose).await?;
            let met = held.iter().map(|row| row.keap_contact_id).collect();
            let mut taken = Taken { not_held: new.whose.others(&met), ..Taken::default() };
            let mut rows = Vec::new();
            for row in held {
                match refused(tx, new, &row).await? {
                    Some(why) => taken.refused.push((row.keap_contact_id, why)),
                    None => rows.push(row),
                }
            }
            taken.decided = rows.iter().map(|row| row.keap_contact_id).collect();
            put(tx, new, &rows).await?;
            if !new.decided.ignores() && !rows.is_empty() {
                put_requests(tx, &taken.decided, DueReason::Manual).await?;
            }
            Ok(taken)
        })
    }

    /// How many contacts are held that a filter names.
    pub async fn count_held(&self, filter: HeldFilter<'_>) -> Result<i64> {
        transaction!(self, tx, {
            let held = held(tx, Whose::Held(filter)).await?;
            Ok(i64::try_from(held.len()).unwrap_or(i64::MAX))
        })
    }

    /// Takes back the decisions in force about these contacts. What was not carried out yet is
    /// looked at again.
    pub async fn take_back(&self, whose: Whose<'_>, by: DecidedBy) -> Result<Taken> {
        transaction!(self, tx, {
            one_at_a_time(tx).await?;
            let rows: Vec<(i64, bool)> = sqlx::query_as(
                "update contact_decision set ended_at = now(), ended_how = 'taken_back', taken_back_by = $3
                  where ended_at is null and ($1::bigint[] is null or keap_contact_id = any($1)) and ($2::text is null or reason = $2)
              returning keap_contact_id, done_at is not null",
            )
            .bind(whose.ids())
            .bind(whose.reason())
            .bind(by.as_str())
            .fetch_all(&mut **tx)
            .await?;
            let open: Vec<i64> = rows.iter().filter(|(_, done)| !done).map(|(id, _)| *id).collect();
            if !open.is_empty() {
                put_requests(tx, &keap_ids(open)?, DueReason::Manual).await?;
            }
            let mut ids: Vec<i64> = rows.into_iter().map(|(id, _)| id).collect();
            ids.sort_unstable();
            let decided = keap_ids(ids)?;
            let not_held = whose.others(&decided.iter().copied().collect());
            Ok(Taken { decided, not_held, ..Taken::default() })
        })
    }
}

/// Decisions are few, and two at once must not choose one Intercom contact for two contacts.
async fn one_at_a_time(tx: &mut Transaction) -> Result<()> {
    sqlx::query("lock table contact_decision in share row exclusive mode")
        .execute(&mut **tx)
        .await?;
    Ok(())
}

async fn held(tx: &mut Transaction, whose: Whose<'_>) -> Result<Vec<HeldRow>> {
    Ok(sqlx::query_as(
        "select keap_contact_id, code, candidates, sighting,
                exists (select from contact_link link
                         where link.keap_contact_id = held.keap_contact_id and link.state = 'linked') as is_linked,
                recheck_at is null as is_final
           from contact_held held
          where ($1::bigint[] is null or keap_contact_id = any($1)) and ($2::text is null or code = $2)
            and ($3::timestamptz is null or held_at >= $3) and ($4::timestamptz is null or held_at <= $4)
          order by keap_contact_id",
    )
    .bind(whose.ids())
    .bind(whose.reason())
    .bind(whose.time().0)
    .bind(whose.time().1)
    .fetch_all(&mut **tx)
    .await?)
}

/// Why this cannot be decided about a held contact.
async fn refused(
    tx: &mut Transaction,
    new: &NewDecision<'_>,
    row: &HeldRow,
) -> Result<Option<String>> {
    if let Some(why) = refusal(new.decided, &row.code, row.is_linked) {
        return Ok(Some(why));
    }
    let Some(intercom) = new.intercom.filter(|_| new.decided == Decided::Use) else {
        return Ok(None);
    };
    if !row.candidates.iter().any(|candidate| candidate == intercom.as_str()) {
        return Ok(Some(format!(
            "the Intercom contact {intercom} is none of the candidates: {}",
            row.candidates.join(", ")
        )));
    }
    let linked: Option<i64> = sqlx::query_scalar(
        "select keap_contact_id from contact_link
          where intercom_contact_id = $1 and keap_contact_id <> $2 and state = 'linked'",
    )
    .bind(intercom.as_str())
    .bind(row.keap_contact_id.get())
    .fetch_optional(&mut **tx)
    .await?;
    if let Some(owner) = linked {
        return Ok(Some(format!(
            "the Intercom contact {intercom} is linked to the Keap contact {owner}, and no other one can have it"
        )));
    }
    let chosen: Option<i64> = sqlx::query_scalar(
        "select keap_contact_id from contact_decision
          where intercom_contact_id = $1 and keap_contact_id <> $2 and ended_at is null",
    )
    .bind(intercom.as_str())
    .bind(row.keap_contact_id.get())
    .fetch_optional(&mut **tx)
    .await?;
    Ok(chosen.map(|owner| {
        format!(
            "somebody has decided that the Keap contact {owner} uses the Intercom contact {intercom}; take that decision back first"
        )
    }))
}

/// Whether the chosen candidate was archived when the contact was held. Only then does a hold of
/// one of the last two reasons wait for a person alone: a look would make the candidate live.
fn unarchives(new: &NewDecision<'_>, row: &HeldRow) -> bool {
    new.decided == Decided::Use
        && match HoldReason::of_code(&row.code) {
            Some(HoldReason::Archived) => true,
            Some(HoldReason::ExternalIdTaken | HoldReason::ExternalIdUnproven) => row.is_final,
            _ => false,
        }
}

/// Stores a decision about each of these contacts, in place of the one in force. To try a contact
/// again is done at once, and changes no other decision.
async fn put(tx: &mut Transaction, new: &NewDecision<'_>, rows: &[HeldRow]) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let ids: Vec<i64> = rows.iter().map(|row| row.keap_contact_id.get()).collect();
    let ended = (new.decided == Decided::Retry).then_some(Fate::Done.code());
    if ended.is_none() {
        sqlx::query(
            "update contact_decision set ended_at = now(), ended_how = 'replaced'
              where keap_contact_id = any($1) and ended_at is null",
        )
        .bind(&ids)
        .execute(&mut **tx)
        .await?;
    }
    sqlx::query(
        "insert into contact_decision (keap_contact_id, decision, intercom_contact_id, unarchives, reason, sighting, decided_by, done_at, ended_at, ended_how)
         select id, $4, $5, unarchives, reason, sighting, $6,
                case when $7::text is not null then now() end, case when $7::text is not null then now() end, $7::text
           from unnest($1::bigint[], $2::text[], $3::bytea[], $8::boolean[]) as new (id, reason, sighting, unarchives)",
    )
    .bind(&ids)
    .bind(rows.iter().map(|row| row.code.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.sighting.clone()).collect::<Vec<_>>())
    .bind(new.decided.code())
    .bind(new.intercom.map(IntercomId::as_str))
    .bind(new.by.as_str())
    .bind(ended)
    .bind(rows.iter().map(|row| unarchives(new, row)).collect::<Vec<_>>())
    .execute(&mut **tx)
    .await?;
    Ok(())
}
