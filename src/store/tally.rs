//! Tallies: how often something happened in each hour, for charts. The counters are written in the
//! transaction that records what they count, so they cost no commit of their own.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::FromRow;

use super::{Fence, IntentSide, Result, Store, Transaction};
use crate::contact::FieldName;

/// How long tallies are kept. The charts show 30 days.
const KEPT_DAYS: i32 = 32;

/// The times that are told from each other, in seconds: a change took at most so long. What took
/// longer than the last one counts there.
const STEPS: [u32; 17] =
    [1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14_400, 28_800, 86_400];

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Counted {
    /// A contact was written.
    Written,
    /// It was held for a person.
    Held,
    /// An attempt failed.
    Failed,
    /// A call to this side.
    Calls,
    /// A change has reached this side, after some seconds.
    Fresh,
    /// This side got another value of a field.
    FieldWritten,
    /// A field was emptied.
    FieldCleared,
    /// This side does not take the value, and keeps its own.
    FieldRefused,
    /// The field was edited on both sides.
    FieldConflict,
}

impl Counted {
    const ALL: [Self; 9] = [
        Self::Written,
        Self::Held,
        Self::Failed,
        Self::Calls,
        Self::Fresh,
        Self::FieldWritten,
        Self::FieldCleared,
        Self::FieldRefused,
        Self::FieldConflict,
    ];

    /// What is counted for each field.
    pub const OF_FIELDS: [Self; 4] =
        [Self::FieldWritten, Self::FieldCleared, Self::FieldRefused, Self::FieldConflict];

    /// The stored word.
    fn code(self) -> &'static str {
        match self {
            Self::Written => "written",
            Self::Held => "held",
            Self::Failed => "failed",
            Self::Calls => "calls",
            Self::Fresh => "fresh",
            Self::FieldWritten => "field_written",
            Self::FieldCleared => "field_cleared",
            Self::FieldRefused => "field_refused",
            Self::FieldConflict => "field_conflict",
        }
    }

    fn parse(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|counted| counted.code() == code)
    }
}

/// What a counter is about, beside the side.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Detail {
    None,
    Field(FieldName),
    /// A time of at most so many seconds.
    Within(u32),
}

impl Detail {
    fn text(&self) -> String {
        match self {
            Self::None => String::new(),
            Self::Field(name) => name.to_string(),
            Self::Within(seconds) => seconds.to_string(),
        }
    }
}

/// Counters that are on their way into the table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally(Vec<(IntentSide, Counted, Detail, i64)>);

impl Tally {
    /// One more.
    pub fn one(&mut self, side: IntentSide, counted: Counted) {
        self.0.push((side, counted, Detail::None, 1));
    }

    /// One more of this field.
    pub fn field(&mut self, side: IntentSide, counted: Counted, name: FieldName) {
        self.0.push((side, counted, Detail::Field(name), 1));
    }

    /// A change has reached this side after this time.
    pub fn fresh(&mut self, side: IntentSide, took: Duration) {
        let fits = |step: &&u32| took <= Duration::from_secs(u64::from(**step));
        let within = STEPS.iter().find(fits).or(STEPS.last()).copied().unwrap_or_default();
        self.0.push((side, Counted::Fresh, Detail::Within(within), 1));
    }

    /// Calls to both sides.
    pub fn calls(keap: i64, intercom: i64) -> Self {
        let of = |side, calls| (side, Counted::Calls, Detail::None, calls);
        let both = [of(IntentSide::Keap, keap), of(IntentSide::Intercom, intercom)];
        Self(both.into_iter().filter(|(_, _, _, calls)| *calls > 0).collect())
    }

    /// Adds the counters of another one.
    pub fn add(&mut self, other: &Self) {
        self.0.extend_from_slice(&other.0);
    }
}

/// The counters of one side in one hour or day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TallyRow {
    /// The beginning of the hour or day.
    pub since: DateTime<Utc>,
    pub side: IntentSide,
    pub counted: Counted,
    /// For [`Counted::Fresh`]: the changes took at most so many seconds.
    pub within: Option<u32>,
    pub count: i64,
}

/// What has become of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldTally {
    pub field: String,
    pub side: IntentSide,
    pub counted: Counted,
    pub count: i64,
}

#[derive(FromRow)]
struct Row {
    since: DateTime<Utc>,
    side: String,
    what: String,
    detail: String,
    count: i64,
}

impl Row {
    /// `None`: another release counts it.
    fn read(self) -> Option<TallyRow> {
        let Self { since, side, what, detail, count } = self;
        let (side, counted) = (IntentSide::parse(&side)?, Counted::parse(&what)?);
        Some(TallyRow { since, side, counted, within: detail.parse().ok(), count })
    }
}

/// How far back tallies are asked for, and by what they are added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    /// The hour under way, and the 23 before it.
    Hours,
    /// The day under way, and the 29 before it.
    Days,
}

impl Span {
    /// The word for Postgres.
    fn unit(self) -> &'static str {
        match self {
            Self::Hours => "hour",
            Self::Days => "day",
        }
    }

    /// How many there are.
    pub fn count(self) -> i32 {
        match self {
            Self::Hours => 24,
            Self::Days => 30,
        }
    }
}

impl Store {
    /// What happened lately, without the fields. The time is that of Postgres, whose hours are
    /// counted.
    pub async fn tallies(&self, span: Span) -> Result<(DateTime<Utc>, Vec<TallyRow>)> {
        let (now, rows): (DateTime<Utc>, Vec<Row>) = transaction!(self, tx, {
            let now = sqlx::query_scalar("select now()").fetch_one(&mut **tx).await?;
            let rows = sqlx::query_as(
                "select date_trunc($1, since at time zone 'UTC') at time zone 'UTC' as since, side, what, detail, sum(count)::bigint as count
                   from sync_tally
                  where since >= (date_trunc($1, now() at time zone 'UTC') - ($2 - 1) * ('1 ' || $1)::interval) at time zone 'UTC'
                    and what <> all($3)
                  group by 1, 2, 3, 4",
            )
            .bind(span.unit())
            .bind(span.count())
            .bind(Counted::OF_FIELDS.map(Counted::code).to_vec())
            .fetch_all(&mut **tx)
            .await?;
            Ok((now, rows))
        })?;
        Ok((now, rows.into_iter().filter_map(Row::read).collect()))
    }

    /// What has become of each field in the last days. Of the first day, only the hours that the
    /// days reach back to, as long as they are not added up.
    pub async fn field_tallies(&self, days: i32) -> Result<Vec<FieldTally>> {
        let rows: Vec<(String, String, String, i64)> = transaction!(self, tx, {
            Ok(sqlx::query_as(
                "select detail, side, what, sum(count)::bigint from sync_tally
                  where since > now() - make_interval(days => $1) and what = any($2)
                  group by 1, 2, 3 order by 1, 2, 3",
            )
            .bind(days)
            .bind(Counted::OF_FIELDS.map(Counted::code).to_vec())
            .fetch_all(&mut **tx)
            .await?)
        })?;
        let tally = |(field, side, what, count): (String, String, String, i64)| {
            let (side, counted) = (IntentSide::parse(&side)?, Counted::parse(&what)?);
            Some(FieldTally { field, side, counted, count })
        };
        Ok(rows.into_iter().filter_map(tally).collect())
    }

    /// Adds up the hours of days that no chart shows by hours any more, and deletes what is too
    /// old. A day is added up once, and a transaction holds all of it.
    pub async fn tidy_tallies(&self, fence: &Fence) -> Result<()> {
        transaction!(self, tx, {
            fence.check(tx).await?;
            sqlx::query(
                "with hours as (
                     delete from sync_tally
                      where since < (date_trunc('day', now() at time zone 'UTC') - interval '1 day') at time zone 'UTC'
                        and since <> date_trunc('day', since at time zone 'UTC') at time zone 'UTC'
                     returning since, side, what, detail, count)
                 insert into sync_tally as day (since, side, what, detail, count)
                 select date_trunc('day', since at time zone 'UTC') at time zone 'UTC', side, what, detail, sum(count)
                   from hours group by 1, 2, 3, 4
                 on conflict (since, side, what, detail) do update set count = day.count + excluded.count",
            )
            .execute(&mut **tx)
            .await?;
            sqlx::query("delete from sync_tally where since < now() - make_interval(days => $1)")
                .bind(KEPT_DAYS)
                .execute(&mut **tx)
                .await?;
            Ok(())
        })
    }
}

/// Adds counters to this hour. It comes last in its transaction: both lanes count into the same
/// rows, and neither waits for the other with more than these locked. They are sorted for the same
/// reason.
pub(super) async fn put<'a>(
    tx: &mut Transaction,
    tallies: impl Iterator<Item = &'a Tally>,
) -> Result<()> {
    let mut sums: BTreeMap<(IntentSide, Counted, &Detail), i64> = BTreeMap::new();
    for (side, counted, detail, count) in tallies.flat_map(|tally| &tally.0) {
        *sums.entry((*side, *counted, detail)).or_default() += count;
    }
    if sums.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into sync_tally as old (since, side, what, detail, count)
         select date_trunc('hour', now() at time zone 'UTC') at time zone 'UTC', side, what, detail, n
           from unnest($1::text[], $2::text[], $3::text[], $4::bigint[]) as new (side, what, detail, n)
         on conflict (since, side, what, detail) do update set count = old.count + excluded.count",
    )
    .bind(sums.keys().map(|(side, _, _)| side.code()).collect::<Vec<_>>())
    .bind(sums.keys().map(|(_, counted, _)| counted.code()).collect::<Vec<_>>())
    .bind(sums.keys().map(|(_, _, detail)| detail.text()).collect::<Vec<_>>())
    .bind(sums.values().copied().collect::<Vec<_>>())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_words_are_read_back() {
        for counted in Counted::ALL {
            assert_eq!(Counted::parse(counted.code()), Some(counted));
        }
        assert_eq!(Counted::parse("of another release"), None);
    }

    #[test]
    fn a_time_is_counted_in_steps() {
        let step = |time: Duration| {
            let mut tally = Tally::default();
            tally.fresh(IntentSide::Keap, time);
            tally.0[0].2.text()
        };
        let steps = [0, 1000, 1001, 4000, 61_000].map(|ms| step(Duration::from_millis(ms)));
        assert_eq!(steps, ["1", "1", "2", "5", "120"]);
        assert_eq!(step(Duration::MAX), "86400");
        assert!(STEPS.is_sorted());
    }

    #[test]
    fn sides_without_calls_are_not_counted() {
        assert_eq!(Tally::calls(0, 0), Tally::default());
        assert_eq!(Tally::calls(1, 0).0.len(), 1);
    }
}
