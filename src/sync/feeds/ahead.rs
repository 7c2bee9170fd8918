//! Update stamps ahead of Keap's own clock. They are mistakes in Keap, and no poll may wait until
//! that time has come.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;

use crate::contact::KeapId;
use crate::feed::Ahead;
use crate::keap::Row;

/// The position of the polls stays this far behind Keap's `Date`: the current second may not be
/// over, and Keap rounds stamps.
const MARGIN: TimeDelta = TimeDelta::seconds(1);

/// A stamp that is more than this ahead of Keap's `Date` is a mistake. Less comes from rounding,
/// and from servers of Keap whose clocks differ.
const TOLERANCE: TimeDelta = TimeDelta::seconds(10);

/// Contacts that are remembered by name. Further ones are neither counted nor looked for.
const MAX_REMEMBERED: usize = 10_000;

/// If the contacts with such stamps fill a page, they are read this often, and not at every poll.
const LOOK_AGAIN: Duration = Duration::from_secs(600);

/// The newest of these stamps that the position of the polls may take.
pub(super) fn newest(
    stamps: impl IntoIterator<Item = DateTime<Utc>>,
    date: Option<DateTime<Utc>>,
) -> Option<DateTime<Utc>> {
    let last = date.map(position);
    stamps.into_iter().filter(|stamp| last.is_none_or(|last| *stamp <= last)).max()
}

/// The furthest position that the polls may take at this time of Keap.
pub(super) fn position(date: DateTime<Utc>) -> DateTime<Utc> {
    date - MARGIN
}

/// Whether a stamp is ahead of Keap's clock. Without a `Date`, nobody knows.
pub(super) fn is_ahead(stamp: DateTime<Utc>, date: Option<DateTime<Utc>>) -> bool {
    date.is_some_and(|date| stamp > date + TOLERANCE)
}

/// The contacts with stamps ahead of Keap's clock, as one poll after the other shows them.
#[derive(Default)]
pub(super) struct Watch {
    /// What the poll under way has shown so far.
    shown: BTreeMap<KeapId, DateTime<Utc>>,
    /// What was logged last.
    logged: Option<Ahead>,
    crowd: Option<Crowd>,
}

/// So many contacts with such stamps that a poll does not read them every time.
struct Crowd {
    /// The first of their stamps.
    from: DateTime<Utc>,
    read_at: Instant,
}

impl Watch {
    /// A poll begins. Returns the stamp up to which it reads, if it leaves a crowd out.
    pub(super) fn begin(&mut self) -> Option<DateTime<Utc>> {
        self.shown.clear();
        self.crowd
            .as_ref()
            .filter(|crowd| crowd.read_at.elapsed() < LOOK_AGAIN)
            .map(|crowd| crowd.from - MARGIN)
    }

    /// Whether a poll up to this stamp may have left out contacts with true stamps. Then the crowd
    /// is read again.
    pub(super) fn is_reached(&mut self, until: DateTime<Utc>, date: Option<DateTime<Utc>>) -> bool {
        let reached = date.is_none_or(|date| date + TOLERANCE >= until);
        if reached {
            self.crowd = None;
        }
        reached
    }

    /// Takes in contacts that Keap showed at this time. Repeats count once.
    pub(super) fn take(&mut self, rows: &[Row], date: Option<DateTime<Utc>>) {
        let ahead = rows.iter().filter_map(|row| Some((row.id()?, row.updated_at()?)));
        for (id, stamp) in ahead.filter(|(_, stamp)| is_ahead(*stamp, date)) {
            if self.shown.len() < MAX_REMEMBERED || self.shown.contains_key(&id) {
                self.shown.insert(id, stamp);
            }
        }
    }

    /// A whole poll has ended: what it showed. Says so in the log if it is news.
    pub(super) fn end(&mut self, page_size: usize) -> Option<Ahead> {
        let first = self.shown.values().min().copied();
        let crowd = first.filter(|_| self.shown.len() >= page_size);
        self.crowd = crowd.map(|from| Crowd { from, read_at: Instant::now() });
        let ahead = self.shown.first_key_value().and_then(|(example, _)| {
            Some(Ahead {
                contacts: i64::try_from(self.shown.len()).unwrap_or(i64::MAX),
                example: *example,
                until: self.shown.values().max().copied()?,
            })
        });
        self.shown.clear();
        if ahead != self.logged {
            log(ahead.as_ref());
            self.logged.clone_from(&ahead);
        }
        ahead
    }
}

fn log(ahead: Option<&Ahead>) {
    match ahead {
        Some(ahead) => tracing::warn!(
            contacts = ahead.contacts,
            keap.contact_id = ahead.example.get(),
            until = %ahead.until,
            "Contacts in Keap carry update stamps ahead of Keap's own clock. They are synced and looked at again; the cursor does not follow them."
        ),
        None => {
            tracing::info!("No contact in Keap carries an update stamp ahead of its clock now.");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + second, 0).unwrap()
    }

    fn row(id: i64, second: i64) -> Row {
        Row::Unreadable {
            id: KeapId::new(id),
            updated_at: Some(at(second)),
            why: "for this test".into(),
        }
    }

    #[test]
    fn the_position_stays_behind_keaps_clock() {
        let stamps = [at(-60), at(-1), at(0), at(1), at(21_600)];
        assert_eq!(newest(stamps, Some(at(0))), Some(at(-1)));
        assert_eq!(newest([at(21_600)], Some(at(0))), None);
        assert_eq!(newest([at(-60), at(5)], None), Some(at(5)), "without a Date nobody knows");
    }

    #[test]
    fn a_stamp_within_the_tolerance_is_no_mistake() {
        assert!(!is_ahead(at(10), Some(at(0))));
        assert!(is_ahead(at(11), Some(at(0))));
        assert!(!is_ahead(at(11), None));
    }

    #[test]
    fn a_page_that_is_read_again_counts_its_contacts_once() {
        let mut watch = Watch::default();
        let rows = [row(1, 0), row(2, 3_600), row(3, 7_200)];
        watch.take(&rows, Some(at(0)));
        watch.take(&rows, Some(at(0)));

        let ahead = watch.end(1000).unwrap();
        assert_eq!((ahead.contacts, ahead.example.get(), ahead.until), (2, 2, at(7_200)));
        assert_eq!(watch.end(1000), None, "each poll counts anew");
    }

    #[test]
    fn a_crowd_is_left_out_of_polls_until_keaps_clock_comes_near() {
        let mut watch = Watch::default();
        watch.take(&[row(1, 3_600), row(2, 3_700)], Some(at(0)));
        watch.end(2);

        let until = watch.begin().unwrap();
        assert_eq!(until, at(3_599));
        assert!(!watch.is_reached(until, Some(at(60))));
        assert!(watch.is_reached(until, Some(at(3_590))));
        assert_eq!(watch.begin(), None);
    }
}
