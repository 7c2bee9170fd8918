//! The overview: the state of the whole installation, for readiness and metrics.

use std::time::Duration;

use sqlx::FromRow;

use super::two_way::TwoWay;
use super::{Result, Store, lease, pause, seconds};
use crate::feed::{Feed, stands_still};
use crate::outcome::BRAKE;
use crate::pause::Pauses;

/// The state of the whole installation.
#[derive(Debug, Clone, Default)]
pub struct Overview {
    /// Who holds the lease; `None` once its time is over.
    pub holder: Option<String>,
    pub feeds: Vec<FeedAge>,
    pub due: i64,
    pub held: i64,
    pub hooks: i64,
    pub hooks_verified: i64,
    /// The brake ended the last sweep.
    pub sweep_braked: bool,
    /// The fields of the mapping that are held for every contact.
    pub held_fields: i64,
    /// A changed mapping waits for a person.
    pub mapping_waits: bool,
    /// Plans that wait for a person.
    pub plans_waiting: i64,
    /// What a person has paused.
    pub pauses: Pauses,
    /// The database takes no writes now.
    pub read_only: bool,
    /// How the second direction stands; `None` where nobody has asked.
    pub two_way: Option<TwoWay>,
}

/// How far a feed has come.
#[derive(Debug, Clone)]
pub struct FeedAge {
    pub feed: &'static str,
    /// Time since a whole walk last succeeded.
    pub age: Option<Duration>,
    /// How far the cursor lies behind now. Where nothing changes in Keap, it grows.
    pub lag: Duration,
    pub walking: bool,
    /// Time since the walk under way last moved.
    pub still_for: Option<Duration>,
}

impl Overview {
    /// The walk that stands still for the longest time, if one does and no pause explains it.
    /// `poll_age`: the age from which a poll is late.
    pub fn standing_still(&self, poll_age: Duration) -> Option<(&'static str, Duration)> {
        let still = self.feeds.iter().filter_map(|age| Some((age.feed, age.still_for?)));
        let is_paused = |feed: &str| {
            Feed::parse(feed).is_some_and(|feed| self.pauses.of_feed(feed, false).is_some())
        };
        still
            .filter(|(feed, time)| stands_still(*time, poll_age) && !is_paused(feed))
            .max_by_key(|(_, time)| *time)
    }

    pub fn feed(&self, feed: Feed) -> Option<&FeedAge> {
        self.feeds.iter().find(|age| age.feed == feed.as_str())
    }
}

#[derive(FromRow)]
struct OverviewRow {
    holder: Option<String>,
    due: i64,
    held: i64,
    hooks: i64,
    hooks_verified: i64,
    sweep_braked: bool,
    held_fields: i64,
    mapping_waits: bool,
    plans_waiting: i64,
}

#[derive(FromRow)]
struct FeedRow {
    feed: String,
    age: Option<f64>,
    lag: f64,
    walking: bool,
    still_for: Option<f64>,
}

impl Store {
    /// Reads the overview, in three statements.
    pub async fn overview(&self) -> Result<Overview> {
        let (row, feeds, pauses, read_only): (OverviewRow, Vec<FeedRow>, Pauses, bool) = transaction!(
            self,
            tx,
            {
                let row = sqlx::query_as(
                "select (select holder from sync_lease where name = $1 and expires_at >= now()) as holder,
                        (select count(*) from contact_due where not held) as due,
                        (select count(*) from contact_held)
                      + (select count(*) from intercom_due where code not in ('in_keap', 'not_tagged')) as held,
                        hook.hooks, hook.hooks_verified,
                        coalesce((select error_code = $2 from sync_run where feed = 'sweep' and finished_at is not null
                                   order by finished_at desc limit 1), false) as sweep_braked,
                        coalesce((select cardinality(unfit) from mapping_state), 0)::bigint as held_fields,
                        coalesce((select would_rewrite is not null and not forced from mapping_state), false) as mapping_waits,
                        (select count(*) from sync_plan where state = 'waiting') as plans_waiting
                   from (select count(*) as hooks, count(*) filter (where state = 'verified') as hooks_verified from keap_hook) hook",
            )
            .bind(lease::NAME)
            .bind(BRAKE)
            .fetch_one(&mut **tx)
            .await?;
                let feeds = sqlx::query_as(
                "select feed, walking, greatest(extract(epoch from now() - position), 0)::float8 as lag,
                        case when polled_at is not null then greatest(extract(epoch from now() - polled_at), 0) end::float8 as age,
                        case when walking then greatest(extract(epoch from now() - greatest(updated_at, (select acquired_at from sync_lease where name = $1))), 0) end::float8 as still_for
                   from sync_cursor",
            )
            .bind(lease::NAME)
            .fetch_all(&mut **tx)
            .await?;
                let pauses = pause::read(tx).await?;
                Ok((row, feeds, pauses, tx.is_read_only()))
            }
        )?;
        let feeds = feeds.into_iter().filter_map(|row| {
            Some(FeedAge {
                feed: Feed::parse(&row.feed)?.as_str(),
                age: row.age.map(seconds),
                lag: seconds(row.lag),
                walking: row.walking,
                still_for: row.still_for.map(seconds),
            })
        });
        Ok(Overview {
            holder: row.holder,
            feeds: feeds.collect(),
            due: row.due,
            held: row.held,
            hooks: row.hooks,
            hooks_verified: row.hooks_verified,
            sweep_braked: row.sweep_braked,
            held_fields: row.held_fields,
            mapping_waits: row.mapping_waits,
            plans_waiting: row.plans_waiting,
            pauses,
            read_only,
            two_way: None,
        })
    }
}
