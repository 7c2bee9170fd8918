//! The brake on a mass leaving: how many contacts have left the scope within a day.

use chrono::{DateTime, Utc};
use sqlx::FromRow;

use super::{Fence, Result, Store, Transaction, plan};
use crate::contact::KeapId;
use crate::outcome::PlanKind;

/// So few contacts are never a mass leaving.
const FEW: i64 = 100;

/// Contacts that have left the scope and wait for a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leaving {
    pub waiting: i64,
    /// The linked contacts then.
    pub links: i64,
}

impl Leaving {
    /// What has happened, in words.
    pub fn in_words(&self) -> String {
        let Self { waiting, links } = self;
        format!(
            "{waiting} of {links} linked contacts have left the scope of [filter] within a day, which is more than mapping.brake_percent allows; they are not archived"
        )
    }

    /// What a person can do about it.
    pub const REMEDY: &str = "give them their tags back in Keap, or archive them: `keap-intercom-sync plan show` lists them, `keap-intercom-sync plan approve` carries it out, and so does `keap-intercom-sync sync --all --force`";
}

#[derive(FromRow)]
struct Counted {
    archived: i64,
    lifted_until: Option<DateTime<Utc>>,
}

impl Store {
    /// Counts contacts that leave the scope now. False if they are too many: then they wait.
    pub async fn may_leave(&self, fence: &Fence, ids: &[KeapId], percent: i64) -> Result<bool> {
        let number = i64::try_from(ids.len()).unwrap_or(i64::MAX);
        transaction!(self, tx, {
            fence.check(tx).await?;
            let Counted { archived, lifted_until } = counted(tx).await?;
            let links: i64 =
                sqlx::query_scalar("select count(*) from contact_link where state = 'linked'")
                    .fetch_one(&mut **tx)
                    .await?;
            let most = FEW.max(links.saturating_add(archived) * percent / 100);
            let is_lifted = lifted_until.is_some_and(|until| until > Utc::now());
            let may = is_lifted || archived + number <= most;
            let sql = if may {
                "update scope_brake set archived = archived + cardinality($1::bigint[])"
            } else {
                "update contact_link set left_at = now() where keap_contact_id = any($1)"
            };
            sqlx::query(sql)
                .bind(ids.iter().map(|id| id.get()).collect::<Vec<_>>())
                .execute(&mut **tx)
                .await?;
            Ok(may)
        })
    }

    /// The contacts that wait because too many have left; `None` if none does.
    pub async fn leaving(&self) -> Result<Option<Leaving>> {
        transaction!(self, tx, {
            let waiting: i64 = sqlx::query_scalar(
                "select count(*) from contact_link where left_at > now() - interval '1 day'
                    and not exists (select from scope_brake where lifted_until > now())",
            )
            .fetch_one(&mut **tx)
            .await?;
            if waiting == 0 {
                return Ok(None);
            }
            let links: i64 =
                sqlx::query_scalar("select count(*) from contact_link where state = 'linked'")
                    .fetch_one(&mut **tx)
                    .await?;
            Ok(Some(Leaving { waiting, links }))
        })
    }

    /// A person lifts the brake for a day.
    pub async fn let_them_leave(&self) -> Result<()> {
        transaction!(self, tx, {
            sqlx::query(
                "insert into scope_brake (lifted_until) values (now() + interval '1 day')
                 on conflict (id) do update set lifted_until = excluded.lifted_until",
            )
            .execute(&mut **tx)
            .await?;
            plan::outdate(tx, PlanKind::Leaving).await
        })
    }
}

/// What was counted within a day. A day that is over begins anew.
async fn counted(tx: &mut Transaction) -> Result<Counted> {
    Ok(sqlx::query_as(
        "insert into scope_brake as brake default values
         on conflict (id) do update
            set since = case when brake.since > now() - interval '1 day' then brake.since else now() end,
                archived = case when brake.since > now() - interval '1 day' then brake.archived else 0 end
         returning archived, lifted_until",
    )
    .fetch_one(&mut **tx)
    .await?)
}
