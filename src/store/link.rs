//! Links: which Intercom contact belongs to which Keap contact, and what was last written to it.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use sqlx::FromRow;

use super::blocked::NewLinks;
use super::due::Waiting;
use super::hold::KnownHold;
use super::intent::FoundIntent;
use super::mapping::{self, Mappings};
use super::{
    Result, Store, StoreError, Transaction, blocked, decision, due, erased, hold, intent, keap_id,
    keap_ids,
};
use crate::contact::{Bases, Digest, IntercomId, KeapId, Link, LinkState, Writes};
use crate::outcome::InForce;

/// What the store knows about the contacts of a page.
#[derive(Debug, Default)]
pub struct Known {
    pub links: HashMap<KeapId, Link>,
    pub waiting: HashMap<KeapId, Waiting>,
    pub holds: HashMap<KeapId, KnownHold>,
    /// Writes whose outcome is unknown, and those that are under way.
    pub intents: HashMap<KeapId, Vec<FoundIntent>>,
    /// What people have decided about held contacts.
    pub decisions: HashMap<KeapId, InForce>,
    /// Those that are erased, or about to be.
    pub erased: HashSet<KeapId>,
    /// Somebody is erased, so addresses may be, too.
    pub knows_erased: bool,
}

/// A link to be stored.
#[derive(Debug, Clone)]
pub struct LinkRow {
    pub id: KeapId,
    pub link: Link,
    pub email_digest: Option<Digest>,
}

/// A new update stamp of a contact that has nothing to be written.
#[derive(Debug, Clone)]
pub struct Restamp {
    pub id: KeapId,
    /// The stamp that the link had when it was read. Another one means that somebody was faster.
    pub former: Option<DateTime<Utc>>,
    pub stamp: DateTime<Utc>,
}

#[derive(FromRow)]
struct StoredLink {
    #[sqlx(try_from = "i64")]
    keap_contact_id: KeapId,
    intercom_contact_id: Option<String>,
    #[sqlx(try_from = "Vec<u8>")]
    fingerprint: Digest,
    #[sqlx(try_from = "Vec<u8>")]
    sighting: Digest,
    keap_updated_at: Option<DateTime<Utc>>,
    replaced_at: Option<DateTime<Utc>>,
    mapping_id: Option<i32>,
    keap_base: Option<Vec<u8>>,
    intercom_base: Option<Vec<u8>>,
    intercom_updated_at: Option<DateTime<Utc>>,
    writes_to_keap: i16,
    writes_to_intercom: i16,
    writes_since: Option<DateTime<Utc>>,
    gone_in_intercom: bool,
    is_out: bool,
}

impl StoredLink {
    fn link(self, mappings: &Mappings) -> Result<(KeapId, Link)> {
        let state = match self.intercom_contact_id {
            None => LinkState::Skipped,
            Some(id) => {
                LinkState::Linked(IntercomId::new(id).ok_or(StoreError::BadRow("contact_link"))?)
            }
        };
        let link = Link {
            state,
            fingerprint: self.fingerprint,
            sighting: self.sighting,
            keap_base: self.keap_base.and_then(|bytes| mappings.bases(self.mapping_id, bytes)),
            keap_updated_at: self.keap_updated_at,
            intercom_base: self
                .intercom_base
                .and_then(|bytes| mappings.bases(self.mapping_id, bytes)),
            intercom_updated_at: self.intercom_updated_at,
            replaced_at: self.replaced_at,
            gone_in_intercom: self.gone_in_intercom,
            is_out: self.is_out,
            writes: Writes {
                keap: self.writes_to_keap,
                intercom: self.writes_to_intercom,
                since: self.writes_since,
            },
        };
        Ok((self.keap_contact_id, link))
    }
}

#[derive(FromRow)]
struct EmailOwner {
    #[sqlx(try_from = "Vec<u8>")]
    email_digest: Digest,
    #[sqlx(try_from = "i64")]
    keap_contact_id: KeapId,
}

#[derive(FromRow)]
struct LinkOwner {
    #[sqlx(try_from = "String")]
    intercom_contact_id: IntercomId,
    #[sqlx(try_from = "i64")]
    keap_contact_id: KeapId,
}

#[derive(FromRow)]
struct AnyOwner {
    #[sqlx(flatten)]
    owner: LinkOwner,
    /// Now, or in a former link.
    linked: bool,
}

/// Up to this number of rows, links are counted one by one.
const COUNTED_LINKS: i64 = 10_000;

/// How many contacts are linked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkCount {
    pub links: i64,
    /// False for an estimate.
    pub is_exact: bool,
}

impl Store {
    /// Links, due rows, holds, intents, decisions and erasures of a page, in seven statements.
    pub async fn known(&self, keap_ids: &[KeapId]) -> Result<Known> {
        let ids: Vec<i64> = keap_ids.iter().map(|id| id.get()).collect();
        transaction!(self, tx, {
            let links: Vec<StoredLink> = sqlx::query_as(
                "select keap_contact_id, intercom_contact_id, fingerprint, sighting, keap_updated_at, replaced_at,
                        mapping_id, intercom_updated_at, writes_to_keap, writes_to_intercom, writes_since,
                        gone_in_intercom_at is not null as gone_in_intercom, is_out,
                        case when based_at = updated_at then keap_base end as keap_base,
                        case when based_at = updated_at then intercom_base end as intercom_base
                   from contact_link where keap_contact_id = any($1)",
            )
            .bind(&ids)
            .fetch_all(&mut **tx)
            .await?;
            let mappings = Mappings::read(tx).await?;
            let key = erased::key_if_any(tx).await?;
            let erased = match &key {
                Some(key) => erased::among_by(tx, key, keap_ids).await?,
                None => HashSet::new(),
            };
            Ok(Known {
                erased,
                knows_erased: key.is_some(),
                links: links.into_iter().map(|row| row.link(&mappings)).collect::<Result<_>>()?,
                waiting: due::waiting(tx, &ids).await?,
                holds: hold::known(tx, &ids).await?,
                intents: intent::found(tx, &ids).await?,
                decisions: decision::in_force(tx, &ids).await?,
            })
        })
    }

    /// Which linked contact has each of these e-mails: the lowest Keap id where several have it.
    pub async fn email_owners(&self, digests: &[Digest]) -> Result<HashMap<Digest, KeapId>> {
        let digests: Vec<Vec<u8>> =
            digests.iter().map(|digest| digest.as_bytes().to_vec()).collect();
        let rows: Vec<EmailOwner> = transaction!(self, tx, {
            Ok(sqlx::query_as(
                "select email_digest, min(keap_contact_id) as keap_contact_id from contact_link
                      where email_digest = any($1) and state = 'linked' group by email_digest",
            )
            .bind(&digests)
            .fetch_all(&mut **tx)
            .await?)
        })?;
        Ok(rows.into_iter().map(|row| (row.email_digest, row.keap_contact_id)).collect())
    }

    /// The linked contacts that have one of these e-mails, each with what Keap showed when it was
    /// settled.
    pub async fn links_with(&self, digests: &[Digest]) -> Result<Vec<(KeapId, Option<Bases>)>> {
        let digests: Vec<Vec<u8>> =
            digests.iter().map(|digest| digest.as_bytes().to_vec()).collect();
        transaction!(self, tx, {
            let rows: Vec<(i64, Option<i32>, Option<Vec<u8>>)> = sqlx::query_as(
                "select keap_contact_id, mapping_id, case when based_at = updated_at then keap_base end
                   from contact_link where email_digest = any($1) and state = 'linked'",
            )
            .bind(&digests)
            .fetch_all(&mut **tx)
            .await?;
            let mappings = Mappings::read(tx).await?;
            let link = |(id, mapping, base): (i64, Option<i32>, Option<Vec<u8>>)| {
                Ok((keap_id(id)?, base.and_then(|base| mappings.bases(mapping, base))))
            };
            rows.into_iter().map(link).collect()
        })
    }

    /// Which Keap contacts these Intercom contacts are linked to.
    pub async fn linked_owners(
        &self,
        intercom: &[IntercomId],
    ) -> Result<HashMap<IntercomId, KeapId>> {
        let ids: Vec<&str> = intercom.iter().map(IntercomId::as_str).collect();
        let rows: Vec<LinkOwner> = transaction!(self, tx, {
            Ok(sqlx::query_as(
                "select intercom_contact_id, keap_contact_id from contact_link where intercom_contact_id = any($1)",
            )
            .bind(&ids)
            .fetch_all(&mut **tx)
            .await?)
        })?;
        Ok(rows.into_iter().map(|row| (row.intercom_contact_id, row.keap_contact_id)).collect())
    }

    /// Which Keap contacts these Intercom contacts are linked to now, and which ones they belonged
    /// to when Keap lost its contact.
    pub async fn owners(
        &self,
        intercom: &[IntercomId],
    ) -> Result<(HashMap<IntercomId, KeapId>, HashMap<IntercomId, KeapId>)> {
        let ids: Vec<&str> = intercom.iter().map(IntercomId::as_str).collect();
        let rows: Vec<AnyOwner> = transaction!(self, tx, {
            Ok(sqlx::query_as(
                "select intercom_contact_id, keap_contact_id, true as linked
                   from contact_link where intercom_contact_id = any($1)
                  union all
                 select intercom_contact_id, keap_contact_id, false
                   from former_link where intercom_contact_id = any($1)",
            )
            .bind(&ids)
            .fetch_all(&mut **tx)
            .await?)
        })?;
        let (linked, former): (Vec<AnyOwner>, Vec<AnyOwner>) =
            rows.into_iter().partition(|row| row.linked);
        let by_id = |rows: Vec<AnyOwner>| {
            rows.into_iter().map(|row| (row.owner.intercom_contact_id, row.owner.keap_contact_id))
        };
        Ok((by_id(linked).collect(), by_id(former).collect()))
    }

    /// A linked contact that is none of these and has no trouble of its own: neither a due row nor
    /// a hold. It is another one each time.
    pub async fn bystander(&self, about: &[KeapId]) -> Result<Option<(KeapId, IntercomId)>> {
        let about: Vec<i64> = about.iter().map(|id| id.get()).collect();
        let found: Option<LinkOwner> = transaction!(self, tx, {
            Ok(sqlx::query_as(
                "with quiet as (
                     select keap_contact_id, intercom_contact_id from contact_link link
                      where state = 'linked' and keap_contact_id <> all($1)
                        and not exists (select from contact_due due where due.keap_contact_id = link.keap_contact_id)
                        and not exists (select from contact_hold hold where hold.keap_contact_id = link.keap_contact_id)
                 ), pivot as materialized (
                     select min(keap_contact_id) + floor(random() * (max(keap_contact_id) - min(keap_contact_id) + 1))::bigint as id
                       from contact_link
                 ), around as (
                     (select 1 as turn, * from quiet where keap_contact_id >= (select id from pivot) order by keap_contact_id limit 1)
                     union all
                     (select 2 as turn, * from quiet order by keap_contact_id limit 1)
                 )
                 select keap_contact_id, intercom_contact_id from around order by turn limit 1",
            )
            .bind(&about)
            .fetch_optional(&mut **tx)
            .await?)
        })?;
        Ok(found.map(|found| (found.keap_contact_id, found.intercom_contact_id)))
    }

    /// The linked contacts behind a place, in the order of their Keap ids, at most `limit`.
    pub async fn linked_after(
        &self,
        after: Option<KeapId>,
        limit: i64,
    ) -> Result<Vec<(KeapId, IntercomId)>> {
        let rows: Vec<(i64, String)> = transaction!(self, tx, {
            Ok(sqlx::query_as(
                "select keap_contact_id, intercom_contact_id from contact_link
                  where state = 'linked' and intercom_contact_id is not null and keap_contact_id > $1
                  order by keap_contact_id limit $2",
            )
            .bind(after.map_or(0, KeapId::get))
            .bind(limit)
            .fetch_all(&mut **tx)
            .await?)
        })?;
        let pairs = rows.into_iter().map(|(id, intercom)| {
            let intercom = IntercomId::new(&intercom).ok_or(StoreError::BadRow("contact_link"))?;
            Ok((keap_id(id)?, intercom))
        });
        pairs.collect()
    }

    /// How many contacts are known: linked, skipped or held.
    pub async fn count_known(&self) -> Result<i64> {
        transaction!(self, tx, {
            Ok(sqlx::query_scalar(
                "select (select count(*) from contact_link)
                      + (select count(*) from contact_hold hold
                          where not exists (select from contact_link link where link.keap_contact_id = hold.keap_contact_id))",
            )
            .fetch_one(&mut **tx)
            .await?)
        })
    }

    /// How many contacts are linked.
    pub async fn count_linked(&self) -> Result<i64> {
        transaction!(self, tx, {
            Ok(sqlx::query_scalar("select count(*) from contact_link where state = 'linked'")
                .fetch_one(&mut **tx)
                .await?)
        })
    }

    /// The same for a page that must not wait: many links are estimated from Postgres's statistics,
    /// because counting a million takes too long.
    pub async fn count_linked_soon(&self) -> Result<LinkCount> {
        let (counted, looked_at, estimate): (i64, i64, i64) = transaction!(self, tx, {
            Ok(sqlx::query_as(
                "select counted.linked, counted.looked_at,
                        (select greatest(reltuples, 0)::bigint from pg_class where oid = 'contact_link_email_digest'::regclass)
                   from (select count(*) filter (where state = 'linked') as linked, count(*) as looked_at
                           from (select state from contact_link limit $1) first_rows) counted",
            )
            .bind(COUNTED_LINKS + 1)
            .fetch_one(&mut **tx)
            .await?)
        })?;
        let is_exact = looked_at <= COUNTED_LINKS;
        Ok(LinkCount { links: if is_exact { counted } else { estimate.max(counted) }, is_exact })
    }
}

/// Removes links. The contacts that these links blocked are looked at again.
pub(super) async fn remove(tx: &mut Transaction, ids: &[KeapId]) -> Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    let ids: Vec<i64> = ids.iter().map(|id| id.get()).collect();
    sqlx::query("delete from contact_link where keap_contact_id = any($1)")
        .bind(&ids)
        .execute(&mut **tx)
        .await?;
    blocked::release_all(tx, &ids).await
}

/// Stores links. The contacts that may be free by that are looked at again.
pub(super) async fn put(tx: &mut Transaction, mut rows: Vec<&LinkRow>) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    rows.sort_unstable_by_key(|row| row.id);
    let ids: Vec<i64> = rows.iter().map(|row| row.id.get()).collect();
    let intercom = intercom_ids(&rows);
    let emails = email_digests(&rows);
    let links = NewLinks { ids: &ids, intercom: &intercom, emails: &emails };
    blocked::release_moved(tx, &links).await?;
    replace_older(tx, &ids, &intercom).await?;
    let bases: Vec<[Option<&Bases>; 2]> = rows
        .iter()
        .map(|row| [row.link.keap_base.as_ref(), row.link.intercom_base.as_ref()])
        .collect();
    let order = bases.iter().flatten().flatten().find_map(|bases| bases.order());
    let mapping = mapping::id_of(tx, order).await?;
    let bytes = |side: usize| -> Vec<Option<&[u8]>> {
        bases.iter().map(|both| both[side].map(Bases::as_bytes)).collect()
    };
    sqlx::query(
        "insert into contact_link as link
                (keap_contact_id, intercom_contact_id, state, fingerprint, sighting, email_digest, keap_updated_at, replaced_at,
                 mapping_id, keap_base, intercom_base, intercom_updated_at, writes_to_keap, writes_to_intercom, writes_since, is_out, based_at)
         select id, intercom, case when intercom is null then 'skipped' else 'linked' end, fingerprint, sighting, email, stamp, replaced,
                case when base <> '' or intercom_base <> '' then $9::integer end, base, intercom_base, intercom_stamp,
                to_keap, to_intercom, writes_since, is_out, now()
           from unnest($1::bigint[], $2::text[], $3::bytea[], $4::bytea[], $5::bytea[], $6::timestamptz[], $7::timestamptz[], $8::bytea[],
                       $10::bytea[], $11::timestamptz[], $12::smallint[], $13::smallint[], $14::timestamptz[], $15::boolean[])
             as new (id, intercom, fingerprint, sighting, email, stamp, replaced, base, intercom_base, intercom_stamp, to_keap, to_intercom, writes_since, is_out)
         on conflict (keap_contact_id) do update
            set intercom_contact_id = excluded.intercom_contact_id, state = excluded.state,
                fingerprint = excluded.fingerprint, sighting = excluded.sighting, email_digest = excluded.email_digest,
                keap_updated_at = excluded.keap_updated_at, replaced_at = coalesce(excluded.replaced_at, link.replaced_at),
                mapping_id = excluded.mapping_id, keap_base = excluded.keap_base, intercom_base = excluded.intercom_base,
                intercom_updated_at = excluded.intercom_updated_at,
                writes_to_keap = excluded.writes_to_keap, writes_to_intercom = excluded.writes_to_intercom,
                writes_since = excluded.writes_since, is_out = excluded.is_out, gone_in_intercom_at = null, left_at = null, based_at = excluded.based_at,
                updated_at = now()",
    )
    .bind(&ids)
    .bind(&intercom)
    .bind(rows.iter().map(|row| row.link.fingerprint.as_bytes().to_vec()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.link.sighting.as_bytes().to_vec()).collect::<Vec<_>>())
    .bind(&emails)
    .bind(rows.iter().map(|row| row.link.keap_updated_at).collect::<Vec<Option<DateTime<Utc>>>>())
    .bind(rows.iter().map(|row| row.link.replaced_at).collect::<Vec<Option<DateTime<Utc>>>>())
    .bind(bytes(0))
    .bind(mapping)
    .bind(bytes(1))
    .bind(rows.iter().map(|row| row.link.intercom_updated_at).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.link.writes.keap).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.link.writes.intercom).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.link.writes.since).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.link.is_out).collect::<Vec<_>>())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Stores stamps alone: the next sweep must not take them for changes that were missed.
pub(super) async fn restamp(tx: &mut Transaction, rows: Vec<&Restamp>) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "update contact_link link set keap_updated_at = new.stamp
           from unnest($1::bigint[], $2::timestamptz[], $3::timestamptz[]) as new (id, former, stamp)
          where link.keap_contact_id = new.id and link.keap_updated_at is not distinct from new.former",
    )
    .bind(rows.iter().map(|row| row.id.get()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.former).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.stamp).collect::<Vec<_>>())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Removes older links of these Intercom contacts: each has another Keap contact now, and the older
/// link would be in the way. What the older link blocked is looked at again, and so is its own
/// contact, which may still be in Keap.
async fn replace_older(tx: &mut Transaction, ids: &[i64], intercom: &[Option<&str>]) -> Result<()> {
    let replaced: Vec<i64> = sqlx::query_scalar(
        "delete from contact_link link using unnest($1::bigint[], $2::text[]) as new (keap_contact_id, intercom_contact_id)
          where link.intercom_contact_id = new.intercom_contact_id and link.keap_contact_id <> new.keap_contact_id
      returning link.keap_contact_id",
    )
    .bind(ids)
    .bind(intercom)
    .fetch_all(&mut **tx)
    .await?;
    blocked::release_all(tx, &replaced).await?;
    due::put_again(tx, &keap_ids(replaced)?).await
}

fn intercom_ids<'a>(rows: &[&'a LinkRow]) -> Vec<Option<&'a str>> {
    let id = |row: &&'a LinkRow| row.link.intercom().map(IntercomId::as_str);
    rows.iter().map(id).collect()
}

fn email_digests(rows: &[&LinkRow]) -> Vec<Option<Vec<u8>>> {
    rows.iter().map(|row| row.email_digest.map(|digest| digest.as_bytes().to_vec())).collect()
}
