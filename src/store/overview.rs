//! What is known of the whole at one look: for readiness and numbers.

use std::time::Duration;

use sqlx::Row;

use super::{BRAKE, Feed, Result, Store};

/// The whole at one look.
#[derive(Debug, Clone, Default)]
pub struct Overview {
    /// Who holds the lease, while its time is not over.
    pub holder: Option<String>,
    pub feeds: Vec<FeedAge>,
    pub due: i64,
    pub held: i64,
    pub hooks: i64,
    pub hooks_verified: i64,
    /// The brake ended the last sweep.
    pub sweep_braked: bool,
}

/// How far a feed has come.
#[derive(Debug, Clone)]
pub struct FeedAge {
    pub feed: &'static str,
    /// Since a whole walk last succeeded.
    pub age: Option<Duration>,
    /// How far the cursor lies behind now. Where nothing changes in Keap, it grows.
    pub lag: Duration,
    pub walking: bool,
}

impl Overview {
    pub fn feed(&self, feed: Feed) -> Option<&FeedAge> {
        self.feeds.iter().find(|age| age.feed == feed.as_str())
    }
}

impl Store {
    pub async fn overview(&self) -> Result<Overview> {
        transaction!(self, tx, {
            let row = sqlx::query(
                "select (select holder from sync_lease where name = 'writer' and expires_at >= now()),
                        due.due, due.held, hook.hooks, hook.verified,
                        coalesce((select starts_with(error, $1) from sync_run where feed = 'sweep' and finished_at is not null
                                   order by finished_at desc limit 1), false)
                   from (select count(*) filter (where not held) as due, count(*) filter (where held) as held from contact_due) due,
                        (select count(*) as hooks, count(*) filter (where state = 'verified') as verified from keap_hook) hook",
            )
            .bind(BRAKE)
            .fetch_one(&mut **tx)
            .await?;
            let feeds = sqlx::query(
                "select feed, case when polled_at is not null then greatest(extract(epoch from now() - polled_at), 0) end::float8,
                        greatest(extract(epoch from now() - position), 0)::float8, walking from sync_cursor",
            )
            .fetch_all(&mut **tx)
            .await?;
            let seconds = |seconds: f64| Duration::try_from_secs_f64(seconds).unwrap_or_default();
            let mut overview = Overview {
                holder: row.try_get(0)?,
                due: row.try_get(1)?,
                held: row.try_get(2)?,
                hooks: row.try_get(3)?,
                hooks_verified: row.try_get(4)?,
                sweep_braked: row.try_get(5)?,
                feeds: Vec::new(),
            };
            for row in feeds {
                let feed: String = row.try_get(0)?;
                if let Some(feed) = Feed::parse(&feed) {
                    overview.feeds.push(FeedAge {
                        feed: feed.as_str(),
                        age: row.try_get::<Option<f64>, _>(1)?.map(seconds),
                        lag: seconds(row.try_get(2)?),
                        walking: row.try_get(3)?,
                    });
                }
            }
            Ok(overview)
        })
    }
}
