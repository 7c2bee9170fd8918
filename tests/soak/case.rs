//! What one run of the soak test is, as a word that repeats it.

use std::fmt;
use std::str::FromStr;

use crate::postgres_proxy::Moment;

/// One life of a daemon, with its faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Case {
    /// One fault at an exact place of a run: `changes/intercom/17/kill-after/7`.
    Strike(Strike),
    /// Everything drawn by the seed: `world/7`.
    World(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Strike {
    pub phase: Phase,
    pub place: Place,
    /// The number of the call or commit; the first is 1.
    pub nth: usize,
    pub how: How,
    /// Draws what people change meanwhile.
    pub seed: u64,
}

/// The run in which it strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The very first start, on an empty database.
    First,
    /// Everybody was synced. Now many have changed, some are deleted, and a sweep runs.
    Changes,
    /// Both directions are on, and people edit both sides.
    Both,
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Calls to Keap.
    Keap,
    /// Calls to Intercom.
    Intercom,
    /// COMMITs in Postgres.
    Commit,
}

/// What happens there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// The daemon is killed, and the call or commit is, or is not, carried out.
    Kill(Moment),
    /// The connection is cut and the daemon lives on. `After`: only the answer is lost.
    Cut(Moment),
}

impl How {
    pub(crate) const ALL: [How; 4] = [
        How::Kill(Moment::Before),
        How::Kill(Moment::After),
        How::Cut(Moment::Before),
        How::Cut(Moment::After),
    ];

    pub(crate) fn kills(self) -> bool {
        matches!(self, How::Kill(_))
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Case::Strike(Strike { phase, place, nth, how, seed }) = self else {
            let Case::World(seed) = self else { return Ok(()) };
            return write!(f, "world/{seed}");
        };
        let phase = match phase {
            Phase::First => "first",
            Phase::Changes => "changes",
            Phase::Both => "both",
        };
        let place = match place {
            Place::Keap => "keap",
            Place::Intercom => "intercom",
            Place::Commit => "commit",
        };
        let how = match how {
            How::Kill(Moment::Before) => "kill-before",
            How::Kill(Moment::After) => "kill-after",
            How::Cut(Moment::Before) => "cut-before",
            How::Cut(Moment::After) => "cut-after",
        };
        write!(f, "{phase}/{place}/{nth}/{how}/{seed}")
    }
}

impl FromStr for Case {
    type Err = anyhow::Error;

    fn from_str(word: &str) -> anyhow::Result<Case> {
        let parts: Vec<&str> = word.split('/').collect();
        Ok(match parts.as_slice() {
            ["world", seed] => Case::World(seed.parse()?),
            [phase, place, nth, how, seed] => Case::Strike(Strike {
                phase: match *phase {
                    "first" => Phase::First,
                    "changes" => Phase::Changes,
                    "both" => Phase::Both,
                    _ => anyhow::bail!("{phase} is no phase: first, changes, both"),
                },
                place: match *place {
                    "keap" => Place::Keap,
                    "intercom" => Place::Intercom,
                    "commit" => Place::Commit,
                    _ => anyhow::bail!("{place} is no place: keap, intercom, commit"),
                },
                nth: nth.parse()?,
                how: match *how {
                    "kill-before" => How::Kill(Moment::Before),
                    "kill-after" => How::Kill(Moment::After),
                    "cut-before" => How::Cut(Moment::Before),
                    "cut-after" => How::Cut(Moment::After),
                    _ => anyhow::bail!(
                        "{how} is no fault: kill-before, kill-after, cut-before, cut-after"
                    ),
                },
                seed: seed.parse()?,
            }),
            _ => anyhow::bail!(
                "{word} is no case, such as changes/intercom/17/kill-after/7 or world/7"
            ),
        })
    }
}
