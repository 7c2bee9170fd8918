//! The contacts of the Keap stand-in: by id, and by stamp so that a narrow window of a million costs little.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use super::person::{Packed, Person};

/// Contacts without a stamp stand at this place of the stamp order.
const NO_STAMP: i64 = i64::MIN;

/// One state of a contact.
#[derive(Clone)]
pub struct Version {
    pub stamp_ms: Option<i64>,
    pub person: Packed,
}

impl Version {
    /// The place in the stamp order.
    pub fn place(&self) -> i64 {
        self.stamp_ms.unwrap_or(NO_STAMP)
    }
}

pub struct Row {
    pub created_ms: i64,
    /// What a read by id shows.
    pub current: Version,
    /// Set while lists show something else.
    late: Option<Box<Late>>,
}

/// A change that lists do not show yet.
struct Late {
    until_ms: i64,
    /// What they show meanwhile: the version before, or nothing.
    shown: Option<Version>,
}

impl Row {
    /// What lists show at this time.
    pub fn shown(&self, now_ms: i64) -> Option<&Version> {
        match &self.late {
            Some(late) if now_ms < late.until_ms => late.shown.as_ref(),
            _ => Some(&self.current),
        }
    }

    /// The places that this row may hold in the stamp order.
    fn places(&self) -> impl Iterator<Item = i64> + '_ {
        let shown = self.late.iter().filter_map(|late| late.shown.as_ref());
        std::iter::once(&self.current)
            .chain(shown)
            .map(Version::place)
    }
}

/// When a change is made and when lists show it.
#[derive(Clone, Copy)]
pub struct Moment {
    pub now_ms: i64,
    pub stamp_ms: i64,
    pub visible_ms: i64,
}

#[derive(Default)]
pub struct Rows {
    by_id: BTreeMap<i64, Row>,
    /// (stamp, id), hidden milliseconds. May hold a place that its row no longer shows: readers check.
    by_stamp: BTreeSet<(i64, i64)>,
    last_id: i64,
}

impl Rows {
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    pub fn ids(&self) -> impl Iterator<Item = i64> + '_ {
        self.by_id.keys().copied()
    }

    pub fn get(&self, id: i64) -> Option<&Row> {
        self.by_id.get(&id)
    }

    pub fn next_id(&self) -> i64 {
        self.last_id + 1
    }

    /// Adds a contact, or replaces the one with that id.
    pub fn put(&mut self, id: i64, person: &Person, moment: Moment) {
        self.remove(id);
        let current = Version {
            stamp_ms: Some(moment.stamp_ms),
            person: Packed::new(person),
        };
        let late = (moment.visible_ms > moment.now_ms).then(|| {
            Box::new(Late {
                until_ms: moment.visible_ms,
                shown: None,
            })
        });
        self.by_stamp.insert((current.place(), id));
        self.by_id.insert(
            id,
            Row {
                created_ms: moment.stamp_ms,
                current,
                late,
            },
        );
        self.last_id = self.last_id.max(id);
    }

    /// Gives a contact a new stamp and what `edit` makes of it. `false` if there is no such contact.
    pub fn change(&mut self, id: i64, moment: Moment, edit: impl FnOnce(&mut Person)) -> bool {
        let Some(row) = self.by_id.get_mut(&id) else {
            return false;
        };
        for place in row.places() {
            self.by_stamp.remove(&(place, id));
        }
        let mut person = row.current.person.unpack();
        edit(&mut person);
        // What is late already stays late: a change does not bring an earlier one forward.
        let visible_ms = row.late.as_ref().map_or(moment.visible_ms, |late| {
            late.until_ms.max(moment.visible_ms)
        });
        let late = (visible_ms > moment.now_ms).then(|| {
            Box::new(Late {
                until_ms: visible_ms,
                shown: row.shown(moment.now_ms).cloned(),
            })
        });
        row.late = late;
        row.current = Version {
            stamp_ms: Some(moment.stamp_ms),
            person: Packed::new(&person),
        };
        for place in row.places() {
            self.by_stamp.insert((place, id));
        }
        true
    }

    /// Sets the stamp alone, to any value.
    pub fn set_stamp(&mut self, id: i64, stamp_ms: Option<i64>) {
        if let Some(row) = self.by_id.get_mut(&id) {
            self.by_stamp.remove(&(row.current.place(), id));
            row.current.stamp_ms = stamp_ms;
            for place in row.places() {
                self.by_stamp.insert((place, id));
            }
        }
    }

    /// Keeps a contact out of all lists until that time.
    pub fn hide_until(&mut self, id: i64, until_ms: i64) {
        if let Some(row) = self.by_id.get_mut(&id) {
            for place in row.places() {
                self.by_stamp.remove(&(place, id));
            }
            row.late = Some(Box::new(Late {
                until_ms,
                shown: None,
            }));
            self.by_stamp.insert((row.current.place(), id));
        }
    }

    pub fn remove(&mut self, id: i64) -> Option<Row> {
        let row = self.by_id.remove(&id)?;
        for place in row.places() {
            self.by_stamp.remove(&(place, id));
        }
        Some(row)
    }

    pub fn by_id(&self, ids: RangeInclusive<i64>) -> impl DoubleEndedIterator<Item = (i64, &Row)> {
        // An empty range given the wrong way round would make the map panic.
        let ids = if ids.is_empty() { 0..=0 } else { ids };
        self.by_id.range(ids).map(|(id, row)| (*id, row))
    }

    /// Places in the stamp order, with the row that holds or held each.
    pub fn by_stamp(
        &self,
        places: RangeInclusive<(i64, i64)>,
    ) -> impl DoubleEndedIterator<Item = (i64, i64, &Row)> {
        let places = if places.is_empty() {
            (0, i64::MIN)..=(0, i64::MIN)
        } else {
            places
        };
        self.by_stamp
            .range(places)
            .filter_map(|(place, id)| Some((*place, *id, self.by_id.get(id)?)))
    }
}
