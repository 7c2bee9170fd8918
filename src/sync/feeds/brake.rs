//! The brake of the sweep: stops it before it acts on too many contacts at once.

use crate::config::Sweep;
use crate::outcome::RunFailure;
use crate::store::SweepStanding;

/// Fewer contacts than this are not a mass change, whatever their share, unless all linked contacts
/// are gone.
const FEW: i64 = 5;

/// How many contacts may be gone at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Brake {
    contacts: i64,
    /// Of the linked contacts.
    percent: i64,
}

impl Brake {
    /// The brake that the settings ask for.
    pub(crate) fn of(sweep: &Sweep) -> Self {
        Self { contacts: sweep.brake_contacts, percent: sweep.brake_percent }
    }

    /// The limit that this many contacts exceed, with its setting.
    pub(crate) fn limit(self, contacts: i64, linked: i64) -> Option<(&'static str, String)> {
        let counts = contacts >= FEW || contacts == linked;
        if contacts > self.contacts {
            Some(("sweep.brake_contacts", self.contacts.to_string()))
        } else if counts && contacts > 0 && contacts * 100 > linked * self.percent {
            Some(("sweep.brake_percent", format!("{} %", self.percent)))
        } else {
            None
        }
    }

    /// Why the brake stops the sweep, and what a person can do about it; `None` if it does not.
    pub(crate) fn stops(self, standing: SweepStanding) -> Option<RunFailure> {
        let SweepStanding { unconfirmed, confirmed, linked, forced } = standing;
        let (key, limit) = self.limit(confirmed, linked).filter(|_| !forced)?;
        Some(RunFailure::Brake(format!(
            "brake: Keap answers 404 for {confirmed} of {linked} linked contacts, and {unconfirmed} more that it does not list were not looked at; \
             that is more than {key} = {limit}, so nothing was done to any of them. Look into Keap, and whether KEAP_API_KEY is that of the right \
             account. If they are meant to be gone: see them with keap-intercom-sync plan show and carry it out with keap-intercom-sync plan approve, lift the brake with keap-intercom-sync sync --sweep --force, or raise {key}"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_brake_stops_many_and_a_large_share_and_not_a_few() {
        let brake = Brake { contacts: 100, percent: 5 };
        let stops = |confirmed, linked, forced| {
            brake.stops(SweepStanding { unconfirmed: 0, confirmed, linked, forced })
        };

        for (confirmed, linked, stopped) in [
            (0, 0, false),
            (0, 10, false),
            (4, 10, false),
            (5, 10, true),
            (3, 3, true),
            (5, 100, false),
            (6, 100, true),
            (100, 100_000, false),
            (101, 100_000, true),
        ] {
            assert_eq!(
                stops(confirmed, linked, false).is_some(),
                stopped,
                "{confirmed} of {linked}"
            );
            assert_eq!(stops(confirmed, linked, true), None);
        }

        assert!(stops(101, 100_000, false).unwrap().to_string().contains("--force"));
    }
}
