//! The contacts of the Keap stand-in, by id and by stamp. The order by stamp makes a narrow window
//! cheap, even with a million contacts.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use super::person::{Packed, Person};

/// The place of contacts without a stamp in the stamp order.
const NO_STAMP: i64 = i64::MIN;

/// One state of a contact.
#[derive(Clone)]
pub(super) struct Version {
    pub stamp_ms: Option<i64>,
    pub person: Packed,
}

impl Version {
    /// The place of this version in the stamp order.
    pub(super) fn place(&self) -> i64 {
        self.stamp_ms.unwrap_or(NO_STAMP)
    }
}

pub(super) struct Row {
    pub created_ms: i64,
    /// The version that a read by id shows.
    pub current: Version,
    /// Set while lists show another version.
    late: Option<Box<Late>>,
}

/// A change that lists do not show yet.
struct Late {
    until_ms: i64,
    /// The version that lists show meanwhile, if any.
    shown: Option<Version>,
}

impl Row {
    /// The version that lists show at this time.
    pub(super) fn shown(&self, now_ms: i64) -> Option<&Version> {
        match &self.late {
            Some(late) if now_ms < late.until_ms => late.shown.as_ref(),
            _ => Some(&self.current),
        }
    }

    /// The places that this row may hold in the stamp order.
    fn places(&self) -> impl Iterator<Item = i64> + '_ {
        let shown = self.late.iter().filter_map(|late| late.shown.as_ref());
        std::iter::once(&self.current).chain(shown).map(Version::place)
    }
}

/// The time of a change, its stamp, and when lists show it.
#[derive(Clone, Copy)]
pub(super) struct Moment {
    pub now_ms: i64,
    pub stamp_ms: i64,
    pub visible_ms: i64,
}

#[derive(Default)]
pub(super) struct Rows {
    by_id: BTreeMap<i64, Row>,
    /// Stamp in hidden milliseconds, and id. A place may be outdated, so readers check the row.
    by_stamp: BTreeSet<(i64, i64)>,
    last_id: i64,
}

impl Rows {
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = i64> + '_ {
        self.by_id.keys().copied()
    }

    pub(super) fn get(&self, id: i64) -> Option<&Row> {
        self.by_id.get(&id)
    }

    pub(super) fn next_id(&self) -> i64 {
        self.last_id + 1
    }

    /// Adds a contact, or replaces the one that has this id.
    pub(super) fn put(&mut self, id: i64, person: &Person, moment: Moment) {
        self.remove(id);
        let current = Version { stamp_ms: Some(moment.stamp_ms), person: Packed::new(person) };
        let late = (moment.visible_ms > moment.now_ms)
            .then(|| Box::new(Late { until_ms: moment.visible_ms, shown: None }));
        self.by_stamp.insert((current.place(), id));
        self.by_id.insert(id, Row { created_ms: moment.stamp_ms, current, late });
        self.last_id = self.last_id.max(id);
    }

    /// Edits a contact and gives it a new stamp. `false` if there is no such contact.
    pub(super) fn change(
        &mut self,
        id: i64,
        moment: Moment,
        edit: impl FnOnce(&mut Person),
    ) -> bool {
        let Some(row) = self.by_id.get_mut(&id) else {
            return false;
        };
        for place in row.places() {
            self.by_stamp.remove(&(place, id));
        }
        let mut person = row.current.person.unpack();
        edit(&mut person);
        // A change that lists do not show yet stays hidden: a new change does not reveal it
        // earlier.
        let visible_ms = row
            .late
            .as_ref()
            .map_or(moment.visible_ms, |late| late.until_ms.max(moment.visible_ms));
        let late = (visible_ms > moment.now_ms).then(|| {
            Box::new(Late { until_ms: visible_ms, shown: row.shown(moment.now_ms).cloned() })
        });
        row.late = late;
        row.current = Version { stamp_ms: Some(moment.stamp_ms), person: Packed::new(&person) };
        for place in row.places() {
            self.by_stamp.insert((place, id));
        }
        true
    }

    /// Sets only the stamp, to any value.
    pub(super) fn set_stamp(&mut self, id: i64, stamp_ms: Option<i64>) {
        if let Some(row) = self.by_id.get_mut(&id) {
            self.by_stamp.remove(&(row.current.place(), id));
            row.current.stamp_ms = stamp_ms;
            for place in row.places() {
                self.by_stamp.insert((place, id));
            }
        }
    }

    /// Hides a contact from all lists until that time.
    pub(super) fn hide_until(&mut self, id: i64, until_ms: i64) {
        if let Some(row) = self.by_id.get_mut(&id) {
            for place in row.places() {
                self.by_stamp.remove(&(place, id));
            }
            row.late = Some(Box::new(Late { until_ms, shown: None }));
            self.by_stamp.insert((row.current.place(), id));
        }
    }

    pub(super) fn remove(&mut self, id: i64) -> Option<Row> {
        let row = self.by_id.remove(&id)?;
        for place in row.places() {
            self.by_stamp.remove(&(place, id));
        }
        Some(row)
    }

    pub(super) fn by_id(
        &self,
        ids: RangeInclusive<i64>,
    ) -> impl DoubleEndedIterator<Item = (i64, &Row)> {
        // A range whose start is above its end would make the map panic.
        let ids = if ids.is_empty() { 0..=0 } else { ids };
        self.by_id.range(ids).map(|(id, row)| (*id, row))
    }

    /// The stamps and ids in this part of the stamp order, with their rows. A place may be
    /// outdated.
    pub(super) fn by_stamp(
        &self,
        places: RangeInclusive<(i64, i64)>,
    ) -> impl DoubleEndedIterator<Item = (i64, i64, &Row)> {
        let places = if places.is_empty() { (0, i64::MIN)..=(0, i64::MIN) } else { places };
        self.by_stamp
            .range(places)
            .filter_map(|(place, id)| Some((*place, *id, self.by_id.get(id)?)))
    }
}
