//! Blocked contacts: holds that name another contact, what releases them, and circles of them.

use std::collections::{HashMap, HashSet};

use super::due::put_again;
use super::{Fence, Result, Store, Transaction, keap_id, keap_ids};
use crate::contact::{Digest, IntercomId, KeapId};

/// The most contacts of a circle. A longer chain of holds waits for a person.
const LONGEST_CIRCLE: i32 = 100;

impl Store {
    /// The held contacts from `blocker` on: each waits for the next one, and the last one waits for
    /// `contact`. `None`: they do not lead back to it.
    pub async fn waiting_for(
        &self,
        blocker: KeapId,
        contact: KeapId,
    ) -> Result<Option<Vec<KeapId>>> {
        let path: Option<Vec<i64>> = transaction!(self, tx, {
            Ok(sqlx::query_scalar(
                "with recursive chain (about, path) as (
                     select about, array[keap_contact_id] from contact_held where keap_contact_id = $1
                     union all
                     select hold.about, chain.path || hold.keap_contact_id
                       from chain join contact_held hold on hold.keap_contact_id = chain.about
                      where chain.about <> $2 and hold.keap_contact_id <> all(chain.path)
                        and cardinality(chain.path) < $3
                 )
                 select path from chain where about = $2",
            )
            .bind(blocker.get())
            .bind(contact.get())
            .bind(LONGEST_CIRCLE)
            .fetch_optional(&mut **tx)
            .await?)
        })?;
        path.map(keap_ids).transpose()
    }

    /// The e-mail addresses that linked contacts had when they were last written.
    pub async fn email_digests(&self, ids: &[KeapId]) -> Result<HashMap<KeapId, Digest>> {
        let rows: Vec<(i64, Option<Vec<u8>>)> = transaction!(self, tx, {
            Ok(sqlx::query_as(
                "select keap_contact_id, email_digest from contact_link
                  where keap_contact_id = any($1) and state = 'linked'",
            )
            .bind(ids.iter().map(|id| id.get()).collect::<Vec<_>>())
            .fetch_all(&mut **tx)
            .await?)
        })?;
        let known = rows.into_iter().filter_map(|(id, digest)| {
            let digest = Digest::from_bytes(&digest?)?;
            Some(keap_id(id).map(|id| (id, digest)))
        });
        known.collect()
    }

    /// Makes held contacts due whose time for another look has come, those that wait longest first.
    pub async fn recheck_holds(&self, fence: &Fence, limit: i64) -> Result<()> {
        transaction!(self, tx, {
            let ripe: Vec<i64> = sqlx::query_scalar(
                "select keap_contact_id from contact_held
                  where recheck_at <= now() order by recheck_at limit $1",
            )
            .bind(limit)
            .fetch_all(&mut **tx)
            .await?;
            if ripe.is_empty() {
                return Ok(());
            }
            fence.check(tx).await?;
            put_again(tx, &keap_ids(ripe)?).await
        })
    }
}

/// Makes the contacts due that these block, because these are gone.
pub(super) async fn release_all(tx: &mut Transaction, ids: &[i64]) -> Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    let blocked: Vec<i64> =
        sqlx::query_scalar("select keap_contact_id from contact_held where about = any($1)")
            .bind(ids)
            .fetch_all(&mut **tx)
            .await?;
    put_again(tx, &keap_ids(blocked)?).await
}

/// The links that are about to be stored, column by column.
pub(super) struct NewLinks<'a> {
    pub ids: &'a [i64],
    pub intercom: &'a [Option<&'a str>],
    pub emails: &'a [Option<Vec<u8>>],
}

/// Makes the contacts due that these links block and that may be free now: the e-mail address or
/// the Intercom contact is another one, or the link is new. A hold that nothing in our records
/// explains is looked at again after any write.
pub(super) async fn release_moved(tx: &mut Transaction, links: &NewLinks<'_>) -> Result<()> {
    let blocked: Vec<i64> = sqlx::query_scalar(
        "select hold.keap_contact_id
           from unnest($1::bigint[], $2::text[], $3::bytea[]) as new (id, intercom, email)
           join contact_held hold on hold.about = new.id
           left join contact_link link on link.keap_contact_id = new.id
          where hold.recheck_at is not null
             or link.intercom_contact_id is distinct from new.intercom
             or link.email_digest is distinct from new.email",
    )
    .bind(links.ids)
    .bind(links.intercom)
    .bind(links.emails)
    .fetch_all(&mut **tx)
    .await?;
    put_again(tx, &keap_ids(blocked)?).await
}

/// Makes held contacts due that have no link and that Keap does not list in a range of ids, and
/// those that wait for such a contact. They are probably gone, and then holds end, and so do
/// decisions.
pub(super) async fn release_unlisted(
    tx: &mut Transaction,
    range: (i64, i64),
    listed: &[i64],
) -> Result<()> {
    let unlisted: Vec<i64> = sqlx::query_scalar(
        "select keap_contact_id from contact_hold held
          where keap_contact_id > $1 and keap_contact_id <= $2 and keap_contact_id <> all($3)
            and not exists (select from contact_due due where due.keap_contact_id = held.keap_contact_id)
            and not exists (select from contact_link link
                             where link.keap_contact_id = held.keap_contact_id and link.state = 'linked')
          union
         select keap_contact_id from contact_held held
          where about > $1 and about <= $2 and about <> all($3)
            and not exists (select from contact_link link
                             where link.keap_contact_id = held.about and link.state = 'linked')",
    )
    .bind(range.0)
    .bind(range.1)
    .bind(listed)
    .fetch_all(&mut **tx)
    .await?;
    put_again(tx, &keap_ids(unlisted)?).await
}

/// A hold that names a blocking contact, and is about to be stored.
pub(super) struct Blocked<'a> {
    pub id: KeapId,
    pub about: KeapId,
    pub email: Option<Digest>,
    /// The Intercom contact in the way, if one was found.
    pub candidate: Option<&'a IntercomId>,
}

/// A link that was written within this time may have changed since a hold that names it was
/// decided. Outcomes are recorded within seconds, unless the database is down.
const RECENTLY: f64 = 600.0;

/// The contacts whose hold is outdated: the blocking contact has another e-mail address by now, or
/// its link was removed. Where only the Intercom contact of the blocking one has the address, both
/// have always been so, and the hold stands.
pub(super) async fn outdated(
    tx: &mut Transaction,
    holds: &[Blocked<'_>],
) -> Result<HashSet<KeapId>> {
    if holds.is_empty() {
        return Ok(HashSet::new());
    }
    let email = |hold: &Blocked<'_>| hold.email.map(|digest| digest.as_bytes().to_vec());
    let candidate = |hold: &Blocked<'_>| hold.candidate.map(|id| id.as_str().to_owned());
    let ids: Vec<i64> = sqlx::query_scalar(
        "select new.id from unnest($1::bigint[], $2::bigint[], $3::bytea[], $4::text[])
             as new (id, about, email, candidate)
           left join contact_link link on link.keap_contact_id = new.about
          where case when link.keap_contact_id is null then new.candidate is null
                     else link.email_digest is distinct from new.email
                      and (new.candidate is null or link.updated_at > now() - make_interval(secs => $5)) end",
    )
    .bind(holds.iter().map(|hold| hold.id.get()).collect::<Vec<_>>())
    .bind(holds.iter().map(|hold| hold.about.get()).collect::<Vec<_>>())
    .bind(holds.iter().map(email).collect::<Vec<_>>())
    .bind(holds.iter().map(candidate).collect::<Vec<_>>())
    .bind(RECENTLY)
    .fetch_all(&mut **tx)
    .await?;
    Ok(keap_ids(ids)?.into_iter().collect())
}

/// One contact of each circle that these holds, which are stored now, close. Each contact of a
/// circle waits for the next one, so none of them would ever be looked at again.
pub(super) async fn circles(
    tx: &mut Transaction,
    holds: &[Blocked<'_>],
) -> Result<HashSet<KeapId>> {
    if holds.is_empty() {
        return Ok(HashSet::new());
    }
    let paths: Vec<Vec<i64>> = sqlx::query_scalar(
        "with recursive chain (start, about, path) as (
             select id, about, array[id] from unnest($1::bigint[], $2::bigint[]) as new (id, about)
             union all
             select chain.start, hold.about, chain.path || hold.keap_contact_id
               from chain join contact_held hold on hold.keap_contact_id = chain.about
              where chain.about <> chain.start and hold.keap_contact_id <> all(chain.path)
                and cardinality(chain.path) <= $3
         )
         select path from chain where about = start",
    )
    .bind(holds.iter().map(|hold| hold.id.get()).collect::<Vec<_>>())
    .bind(holds.iter().map(|hold| hold.about.get()).collect::<Vec<_>>())
    .bind(LONGEST_CIRCLE)
    .fetch_all(&mut **tx)
    .await?;
    let new: HashSet<i64> = holds.iter().map(|hold| hold.id.get()).collect();
    let first = |path: Vec<i64>| path.into_iter().filter(|id| new.contains(id)).min();
    Ok(keap_ids(paths.into_iter().filter_map(first).collect())?.into_iter().collect())
}
