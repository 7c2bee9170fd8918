//! The charts of the overview: what happened in the last 24 hours and in the last 30 days.

use std::time::Duration;

use chrono::{DateTime, DurationRound, TimeDelta, Utc};

use super::chart::Chart;
use crate::http::problem::Problem;
use crate::http::state::{HttpState, RemoteStanding};
use crate::report::words::{number, span};
use crate::store::{Counted, IntentSide, Span, TallyRow};

/// Shares of all changes that have reached the other side within a time.
const HALF: f64 = 0.5;
const NEARLY_ALL: f64 = 0.99;

/// The charts of one span of time, and the table with the same figures.
pub(super) struct Charts {
    pub title: &'static str,
    pub first: String,
    pub last: &'static str,
    pub charts: Vec<Chart>,
    pub head: Vec<String>,
    /// The newest first.
    pub rows: Vec<(String, Vec<String>)>,
}

/// Reads both spans of time.
pub(super) async fn read(state: &HttpState) -> Result<Vec<Charts>, Problem> {
    let mut all = Vec::new();
    for which in [Span::Hours, Span::Days] {
        let (now, rows) = state.store.tallies(which).await?;
        let figures = Figures { span: which, begins: begins(which, now), rows };
        all.push(figures.charts(&(state.remotes)(), state.second.enabled));
    }
    Ok(all)
}

/// The beginnings of all hours or days, the oldest first.
fn begins(which: Span, now: DateTime<Utc>) -> Vec<DateTime<Utc>> {
    let step = step(which);
    let last = now.duration_trunc(step).unwrap_or(now);
    (0..which.count()).rev().map(|back| last - step * back).collect()
}

fn step(which: Span) -> TimeDelta {
    match which {
        Span::Hours => TimeDelta::hours(1),
        Span::Days => TimeDelta::days(1),
    }
}

/// The figures of one span of time.
struct Figures {
    span: Span,
    begins: Vec<DateTime<Utc>>,
    rows: Vec<TallyRow>,
}

/// One row of figures: a chart, and columns of the table.
struct Series {
    name: &'static str,
    title: &'static str,
    kind: Kind,
    note: Option<String>,
}

enum Kind {
    /// How often.
    Counts(Vec<i64>),
    /// The seconds within which half of all, and nearly all, came. `None`: nothing came.
    Times(Vec<Option<(u32, u32)>>),
}

impl Figures {
    fn charts(&self, remotes: &[RemoteStanding], both: bool) -> Charts {
        let both = both
            || self.rows.iter().any(|row| {
                row.side == IntentSide::Keap
                    && matches!(row.counted, Counted::Written | Counted::Fresh)
            });
        let series = self.series(remotes, both);
        let (id, title, first) = match self.span {
            Span::Hours => ("hours", "The last 24 hours", "23 hours ago"),
            Span::Days => ("days", "The last 30 days", "29 days ago"),
        };
        let last = match self.span {
            Span::Hours => "this hour",
            Span::Days => "today",
        };
        Charts {
            title,
            first: first.to_owned(),
            last,
            charts: series.iter().map(|series| self.chart(id, series)).collect(),
            head: series.iter().flat_map(head).collect(),
            rows: self.table(&series),
        }
    }

    fn series(&self, remotes: &[RemoteStanding], both: bool) -> Vec<Series> {
        use Counted::{Calls, Failed, Held, Written};
        use IntentSide::{Intercom, Keap};
        let counts = |name, title, counted, sides: &[IntentSide]| Series {
            name,
            title,
            kind: Kind::Counts(self.counts(counted, sides)),
            note: None,
        };
        let calls = |name, title, side, remote: &str| {
            let series = counts(name, title, Calls, &[side]);
            let limits = remotes.iter().find(|known| known.name == remote);
            let note = limits.and_then(|limits| self.quota(limits, &series.kind));
            Series { note, ..series }
        };
        let times = |name, title, side| {
            Series {
            name,
            title,
            kind: Kind::Times(self.times(side)),
            note: Some("The dark bar: half of the changes; the pale one: 99 of 100. Each doubling of the time is a step of the same height.".to_owned()),
        }
        };
        let mut all =
            vec![counts("intercom", "Contacts written to Intercom", Written, &[Intercom])];
        if both {
            all.push(counts("keap", "Contacts written to Keap", Written, &[Keap]));
        }
        all.push(counts("held", "Contacts held for a person", Held, &[Keap, Intercom]));
        all.push(counts("failed", "Attempts that failed", Failed, &[Keap, Intercom]));
        all.push(calls("keap-calls", "Calls to Keap", Keap, "Keap"));
        all.push(calls("intercom-calls", "Calls to Intercom", Intercom, "Intercom"));
        all.push(times("to-intercom", "Time until a change is in Intercom", Intercom));
        if both {
            all.push(times("to-keap", "Time until a change is in Keap", Keap));
        }
        all
    }

    fn of<'a>(
        &'a self,
        begin: &'a DateTime<Utc>,
        counted: Counted,
    ) -> impl Iterator<Item = &'a TallyRow> {
        self.rows.iter().filter(move |row| row.since == *begin && row.counted == counted)
    }

    fn counts(&self, counted: Counted, sides: &[IntentSide]) -> Vec<i64> {
        let of = |begin: &DateTime<Utc>| {
            let rows = self.of(begin, counted).filter(|row| sides.contains(&row.side));
            rows.map(|row| row.count).sum()
        };
        self.begins.iter().map(of).collect()
    }

    fn times(&self, side: IntentSide) -> Vec<Option<(u32, u32)>> {
        let of = |begin: &DateTime<Utc>| {
            let rows = self.of(begin, Counted::Fresh).filter(|row| row.side == side);
            let mut steps: Vec<_> = rows.filter_map(|row| Some((row.within?, row.count))).collect();
            steps.sort_unstable();
            Some((within(&steps, HALF)?, within(&steps, NEARLY_ALL)?))
        };
        self.begins.iter().map(of).collect()
    }

    /// How much of the quota was used in the busiest hour or day.
    fn quota(&self, remote: &RemoteStanding, calls: &Kind) -> Option<String> {
        let Kind::Counts(calls) = calls else {
            return None;
        };
        let seconds = step(self.span).num_seconds();
        let allowed = remote.limits.iter().filter_map(|(name, limit, _)| {
            Some((limit.saturating_mul((seconds / window(name)?).max(1)), name.as_str()))
        });
        let (most, name) = allowed.min()?;
        let busiest = calls.iter().max().copied().unwrap_or(0);
        let percent = busiest.saturating_mul(100).checked_div(most)?;
        let unit = if self.span == Span::Hours { "hour" } else { "day" };
        let share = match percent {
            0 if busiest > 0 => "less than 1".to_owned(),
            percent => number(percent),
        };
        Some(format!(
            "The busiest {unit} used {share} % of its quota: {} of {} calls (the limit {name}).",
            number(busiest),
            number(most)
        ))
    }

    fn name(&self, begin: DateTime<Utc>) -> String {
        match self.span {
            Span::Hours => begin.format("%Y-%m-%d %H:%M").to_string(),
            Span::Days => begin.format("%Y-%m-%d").to_string(),
        }
    }

    fn chart(&self, span: &str, series: &Series) -> Chart {
        let names = self.begins.iter().map(|begin| self.name(*begin));
        let (figures, desc) = match &series.kind {
            Kind::Counts(counts) => {
                let bars = names
                    .zip(counts)
                    .map(|(name, n)| (format!("{name}: {}", number(*n)), *n, None));
                (bars.collect(), self.sum(counts))
            }
            Kind::Times(times) => {
                let bars = names.zip(times).map(|(name, times)| match times {
                    None => (format!("{name}: no change"), 0, Some(0)),
                    Some((half, nearly_all)) => {
                        let words = format!("{name}: {}", in_time(*half, *nearly_all));
                        (words, doublings(*half), Some(doublings(*nearly_all)))
                    }
                });
                (bars.collect(), self.slowest(times))
            }
        };
        let (width, bars) = Chart::bars(figures);
        let id = format!("{span}-{}", series.name);
        Chart { id, title: series.title, desc, note: series.note.clone(), width, bars }
    }

    fn sum(&self, counts: &[i64]) -> String {
        let most = counts.iter().zip(&self.begins).max_by_key(|(count, _)| **count);
        match most {
            Some((most, begin)) if *most > 0 => format!(
                "{} in all; the most, {}, in {}",
                number(counts.iter().sum()),
                number(*most),
                self.name(*begin)
            ),
            _ => "none".to_owned(),
        }
    }

    fn slowest(&self, times: &[Option<(u32, u32)>]) -> String {
        let slowest =
            times.iter().zip(&self.begins).filter_map(|(times, at)| Some(((*times)?, at)));
        match slowest.max_by_key(|((half, nearly_all), _)| (*nearly_all, *half)) {
            Some(((half, nearly_all), begin)) => {
                format!("the slowest was {}: {}", self.name(*begin), in_time(half, nearly_all))
            }
            None => "no change".to_owned(),
        }
    }

    fn table(&self, series: &[Series]) -> Vec<(String, Vec<String>)> {
        let cells = |at: usize| series.iter().flat_map(move |series| cells(series, at)).collect();
        let rows = self.begins.iter().enumerate().rev();
        rows.map(|(at, begin)| (self.name(*begin), cells(at))).collect()
    }
}

/// The columns of a series.
fn head(series: &Series) -> Vec<String> {
    match series.kind {
        Kind::Counts(_) => vec![series.title.to_owned()],
        Kind::Times(_) => {
            vec![format!("{}: half", series.title), format!("{}: 99 of 100", series.title)]
        }
    }
}

fn cells(series: &Series, at: usize) -> Vec<String> {
    let time = |seconds: u32| format!("≤ {}", span(Duration::from_secs(seconds.into())));
    match &series.kind {
        Kind::Counts(counts) => vec![number(counts[at])],
        Kind::Times(times) => match times[at] {
            Some((half, nearly_all)) => vec![time(half), time(nearly_all)],
            None => vec!["–".to_owned(), "–".to_owned()],
        },
    }
}

fn in_time(half: u32, nearly_all: u32) -> String {
    let time = |seconds: u32| span(Duration::from_secs(seconds.into()));
    format!("half within {}, 99 of 100 within {}", time(half), time(nearly_all))
}

/// The step within which this share of all came. `steps`: each with how many came in it, the
/// shortest first.
#[expect(clippy::cast_precision_loss, reason = "counts of a chart")]
fn within(steps: &[(u32, i64)], share: f64) -> Option<u32> {
    let all: i64 = steps.iter().map(|(_, count)| count).sum();
    let wanted = (all as f64 * share).ceil().max(1.0);
    let mut came = 0;
    let mut reached = steps.iter().filter_map(|(within, count)| {
        came += count;
        (came as f64 >= wanted).then_some(*within)
    });
    reached.next()
}

/// How high a time stands in a chart: each doubling is a step of the same height.
#[expect(clippy::cast_possible_truncation, reason = "a logarithm of 32 bits is small")]
fn doublings(seconds: u32) -> i64 {
    i64::from((f64::from(seconds).log2() * 10.0) as i32) + 10
}

/// The seconds of a limit, by its name.
fn window(name: &str) -> Option<i64> {
    let windows =
        [("per second", 1), ("per 10 seconds", 10), ("per minute", 60), ("per day", 86_400)];
    windows.iter().find(|(words, _)| name.ends_with(words)).map(|(_, seconds)| *seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(span: Span, rows: Vec<TallyRow>) -> Figures {
        let now = "2026-11-30T21:54:00Z".parse().unwrap();
        Figures { span, begins: begins(span, now), rows }
    }

    fn row(
        since: &str,
        side: IntentSide,
        counted: Counted,
        within: Option<u32>,
        count: i64,
    ) -> TallyRow {
        TallyRow { since: since.parse().unwrap(), side, counted, within, count }
    }

    #[test]
    fn hours_and_days_end_with_the_one_under_way() {
        let hours = figures(Span::Hours, Vec::new());
        assert_eq!(
            (hours.begins.len(), hours.name(hours.begins[23])),
            (24, "2026-11-30 21:00".into())
        );
        assert_eq!(hours.name(hours.begins[0]), "2026-11-29 22:00");
        let days = figures(Span::Days, Vec::new());
        assert_eq!((days.begins.len(), days.name(days.begins[29])), (30, "2026-11-30".into()));
        assert_eq!(days.name(days.begins[0]), "2026-11-01");
    }

    #[test]
    fn a_chart_and_its_table_show_the_same_figures_in_both_directions() {
        let at = "2026-11-30T20:00:00Z";
        let rows = vec![
            row(at, IntentSide::Intercom, Counted::Written, None, 1200),
            row(at, IntentSide::Keap, Counted::Written, None, 7),
            row(at, IntentSide::Intercom, Counted::Fresh, Some(5), 98),
            row(at, IntentSide::Intercom, Counted::Fresh, Some(60), 2),
        ];
        let charts = figures(Span::Hours, rows).charts(&[], false);
        let titles: Vec<_> = charts.charts.iter().map(|chart| chart.title).collect();
        assert!(titles.contains(&"Contacts written to Keap"), "{titles:?}");
        assert_eq!(charts.charts[0].desc, "1,200 in all; the most, 1,200, in 2026-11-30 20:00");
        assert_eq!(charts.charts[0].bars[22].front.height, 60);
        let fresh = charts.charts.iter().find(|chart| chart.id == "hours-to-intercom").unwrap();
        assert_eq!(
            fresh.desc,
            "the slowest was 2026-11-30 20:00: half within 5 s, 99 of 100 within 60 s"
        );
        let (name, cells) = &charts.rows[1];
        assert_eq!((name.as_str(), cells.len()), ("2026-11-30 20:00", charts.head.len()));
        assert_eq!((cells[0].as_str(), cells[1].as_str()), ("1,200", "7"));
        assert!(cells.contains(&"≤ 60 s".to_owned()), "{cells:?}");
        let one_way = figures(Span::Hours, Vec::new()).charts(&[], false);
        assert!(one_way.charts.iter().all(|chart| !chart.title.contains("written to Keap")));
    }

    #[test]
    fn calls_are_compared_with_the_limit_that_is_met_first() {
        let at = "2026-11-30T00:00:00Z";
        let rows = vec![row(at, IntentSide::Keap, Counted::Calls, None, 3_000)];
        let limits =
            vec![("key per minute".to_owned(), 240, 1), ("key per day".to_owned(), 30_000, 1)];
        let keap = RemoteStanding { name: "Keap", state: "ok", retry_in: None, limits };
        let note = |span| {
            let charts = figures(span, rows.clone()).charts(std::slice::from_ref(&keap), false);
            let calls = charts.charts.into_iter().find(|chart| chart.title == "Calls to Keap");
            calls.unwrap().note.unwrap()
        };
        let day = "The busiest day used 10 % of its quota: 3,000 of 30,000 calls (the limit key per day).";
        assert_eq!(note(Span::Days), day);
        let hour = "The busiest hour used 20 % of its quota: 3,000 of 14,400 calls (the limit key per minute).";
        assert_eq!(note(Span::Hours), hour);
    }

    #[test]
    fn a_share_is_reached_in_the_first_step_that_holds_it() {
        assert_eq!(within(&[], HALF), None);
        assert_eq!(within(&[(5, 1)], NEARLY_ALL), Some(5));
        let steps = [(1, 50), (60, 49), (600, 1)];
        assert_eq!((within(&steps, HALF), within(&steps, NEARLY_ALL)), (Some(1), Some(60)));
        assert_eq!(within(&[(1, 98), (600, 2)], NEARLY_ALL), Some(600));
    }
}
