//! A remote with its limits, each as a gauge: a bar that shows how much is left.

use crate::http::state::RemoteStanding;
use crate::report::words::{number, span};

/// Below this percentage the gauge warns.
const LOW_PERCENT: i64 = 20;

/// How a remote stands.
pub(super) struct Remote {
    pub name: &'static str,
    pub state: String,
    pub is_well: bool,
    pub gauges: Vec<Gauge>,
}

/// What is left of one limit.
pub(super) struct Gauge {
    pub label: String,
    pub text: String,
    /// 0 to 100.
    pub percent: i64,
    pub is_low: bool,
}

impl From<RemoteStanding> for Remote {
    fn from(remote: RemoteStanding) -> Self {
        let words = match remote.state {
            "ok" => "takes calls",
            "limited" => "the limit is used up for now",
            "failing" => "is failing; the daemon tries again by itself",
            "refused" => "refuses this program",
            other => other,
        };
        let retry = remote.retry_in.map(|time| format!("; next try in {}", span(time)));
        Self {
            name: remote.name,
            state: format!("{words}{}", retry.unwrap_or_default()),
            is_well: remote.state == "ok",
            gauges: remote.limits.into_iter().map(Gauge::from).collect(),
        }
    }
}

impl From<(String, i64, i64)> for Gauge {
    fn from((label, limit, left): (String, i64, i64)) -> Self {
        let percent = left.saturating_mul(100).checked_div(limit).unwrap_or(0).clamp(0, 100);
        Self {
            label,
            text: format!("{} of {} calls left", number(left), number(limit)),
            percent,
            is_low: percent < LOW_PERCENT,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gauge_stays_inside_its_bar() {
        let percent = |limit, left| Gauge::from((String::new(), limit, left)).percent;
        assert_eq!(percent(240, 189), 78);
        assert_eq!([percent(0, 0), percent(10, -5), percent(10, 50)], [0, 0, 100]);
        assert_eq!(percent(i64::MAX, i64::MAX), 1, "no overflow");
        assert!(Gauge::from(("day".into(), 100, 19)).is_low);
    }
}
