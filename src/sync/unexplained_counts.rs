//! How many writes that no change in Keap explains each run under way has met.

use std::sync::{Mutex, PoisonError};

use uuid::Uuid;

/// Runs whose counts are remembered: a poll and a walk may run side by side.
const RUNS: usize = 4;

/// How many such contacts each run under way has met. After a restart it is counted anew.
#[derive(Default)]
pub struct UnexplainedCounts(Mutex<Vec<(Uuid, i64)>>);

impl UnexplainedCounts {
    /// Counts contacts of a run, and returns how many it has met so far.
    pub(super) fn count(&self, run: Uuid, contacts: i64) -> i64 {
        let mut runs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = runs.iter().position(|(known, _)| *known == run).map(|at| runs.remove(at));
        let met = before.map_or(0, |(_, met)| met) + contacts;
        runs.push((run, met));
        if runs.len() > RUNS {
            runs.remove(0);
        }
        met
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_run_is_counted_by_itself() {
        let (counts, one, two) = (UnexplainedCounts::default(), Uuid::new_v4(), Uuid::new_v4());
        assert_eq!(counts.count(one, 60), 60);
        assert_eq!(counts.count(two, 5), 5);
        assert_eq!(counts.count(one, 60), 120);
    }
}
