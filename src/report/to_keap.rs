//! The second direction in words: how fresh it is, what waits for Keap, and what is wrong.

use std::time::Duration;

use super::keap_queue::KeapQueue;
use super::status::Status;
use super::troubles::Trouble;
use super::words::{count, number, span, stamp};
use crate::feed::Feed;
use crate::pause::Direction;
use crate::store::TwoWay;

impl Status {
    /// How fresh what is known of Intercom is. Empty while the direction is off.
    pub fn intercom_line(&self) -> Option<String> {
        let two_way = self.two_way.as_ref()?;
        let Some(age) = two_way.read_age else {
            return Some("its list of changes has not been read yet".into());
        };
        let parts = [
            Some(format!("at most {} behind Intercom", span(age))),
            two_way.position.map(|at| format!("newest change seen {} UTC", stamp(at))),
            two_way
                .search_lag
                .map(|lag| format!("its list shows a write after {} at most", span(lag))),
        ];
        Some(parts.into_iter().flatten().collect::<Vec<_>>().join("; "))
    }

    /// The last audit.
    pub fn audit_line(&self) -> Option<String> {
        let two_way = self.two_way.as_ref()?;
        let last = match &two_way.audit {
            None => "none so far".into(),
            Some(audit) => {
                let ago = span(audit.age);
                match (&audit.failure, audit.differed) {
                    (Some(_), _) if audit.is_braked => {
                        format!("stopped by the brake {ago} ago; it has changed nothing")
                    }
                    (Some(_), _) => format!("failed {ago} ago"),
                    (None, 0) => format!("done {ago} ago; all {} agree", number(audit.seen)),
                    (None, differed) => format!(
                        "done {ago} ago; {} of {} differed",
                        number(differed),
                        number(audit.seen)
                    ),
                }
            }
        };
        Some(if two_way.is_auditing { format!("under way; before: {last}") } else { last })
    }

    /// What waits for Keap.
    pub fn keap_queue_line(&self) -> Option<String> {
        let queue = self.keap_queue()?;
        let is_paused = self.pauses.of_due_to_keap(false).is_some();
        Some(if is_paused { queue.paused_line() } else { queue.line() })
    }

    pub fn keap_queue(&self) -> Option<KeapQueue> {
        let two_way = self.two_way.as_ref()?;
        Some(KeapQueue::of(two_way, self.second.rates, self.parts.keap_day))
    }

    /// The users of Intercom that wait for a contact in Keap. Empty if there is none.
    pub fn newcomers_line(&self) -> Option<String> {
        let two_way = self.two_way.as_ref()?;
        let waits = [
            (two_way.newcomers, "next"),
            (two_way.newcomers_braked, "stopped by the brake"),
            (two_way.newcomers_held, "for a person"),
        ];
        let waits = waits.into_iter().filter(|(users, _)| *users > 0);
        let waits: Vec<String> =
            waits.map(|(users, what)| format!("{} {what}", number(users))).collect();
        (!waits.is_empty()).then(|| waits.join(", "))
    }

    /// Contacts of the last day that were edited on both sides.
    pub fn conflicts_line(&self) -> Option<String> {
        let conflicts = self.two_way.as_ref()?.conflicts;
        let edited = count(conflicts, "contact");
        Some(if conflicts == 0 {
            "none in the last day".into()
        } else {
            format!("{edited} edited on both sides in the last day; the log names the fields")
        })
    }

    /// What is wrong with the second direction.
    pub(super) fn two_way_troubles(&self) -> Vec<Trouble> {
        let Some(two_way) = &self.two_way else {
            return Vec::new();
        };
        let is_paused = self.pauses.of_direction(Direction::IntercomToKeap, false).is_some();
        let is_late = |age: &Duration| !is_paused && *age > self.poll_age_limit;
        let late = two_way.read_age.filter(is_late).map(|age| {
            Trouble::new(
                "list_late",
                true,
                format!("Intercom's list of changes was last read {} ago", span(age)),
                "the daemon's log says why: `journalctl -u keap-intercom-sync -p warning`",
            )
        });
        let audit = two_way.audit.as_ref().filter(|_| !self.names_the_audit());
        let audit = audit.and_then(|audit| audit.failure.as_ref()).map(|why| {
            let what = format!("the last audit has failed: {why}");
            Trouble::new(format!("run:{}", Feed::Audit), false, what, why.remedy())
        });
        late.into_iter().chain(audit).chain(self.notification_trouble(two_way)).collect()
    }

    /// Whether the newest runs show the audit, so that its failure is told already.
    fn names_the_audit(&self) -> bool {
        self.runs.iter().any(|run| run.feed == Feed::Audit.as_str() && run.has_ended())
    }

    fn notification_trouble(&self, two_way: &TwoWay) -> Option<Trouble> {
        if !self.second.is_notified || !misses_notifications(two_way) {
            return None;
        }
        let time = span(two_way.missed_for?);
        Some(Trouble::new(
            "notifications",
            false,
            format!(
                "for {time}, polls have found changes in Intercom, and no notification has come"
            ),
            "see in Intercom's developer hub that the app sends its topics to /webhook/intercom, and that INTERCOM_CLIENT_SECRET is its client secret; polls find the changes meanwhile",
        ))
    }
}

/// Polls have found what no notification announced for so long.
const MISSED_FOR: Duration = Duration::from_secs(3600);

/// Whether notifications of Intercom no longer come.
pub fn misses_notifications(two_way: &TwoWay) -> bool {
    two_way.missed_for.is_some_and(|time| time >= MISSED_FOR)
}
