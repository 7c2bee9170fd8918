//! The table at the end, and whether all of it is as it should be.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::Look;
use crate::cast::Cast;
use crate::process::{Log, Process};
use crate::sim::{Intercom, Keap};

/// With the daemon's defaults: calls under way, and outcomes that wait to be recorded together.
const MOST_LOST_RECORDS: i64 = 64 + 2 * 250;
/// Outcomes of one person are told by these words, in this order.
const ACTIONS: [&str; 7] = [
    "created",
    "linked",
    "updated",
    "unchanged",
    "skipped",
    "held",
    "failed",
];

/// Calls of one phase, by what they ask for.
struct Phase {
    name: &'static str,
    keap: usize,
    intercom: BTreeMap<&'static str, usize>,
}

pub struct Report {
    phases: Vec<Phase>,
    keap_before: usize,
    intercom_before: BTreeMap<&'static str, usize>,
    log: Vec<String>,
}

/// One line of the verdict.
struct Check {
    text: String,
    well: bool,
}

impl Report {
    pub fn new(keap: &Keap, intercom: &Intercom) -> Report {
        Report {
            phases: Vec::new(),
            keap_before: keap.calls(),
            intercom_before: intercom.kinds(),
            log: Vec::new(),
        }
    }

    /// Notes the calls since the last phase.
    pub fn phase(&mut self, name: &'static str, keap: &Keap, intercom: &Intercom) {
        let (calls, kinds) = (keap.calls(), intercom.kinds());
        let spent = kinds.iter().map(|(kind, count)| {
            (
                *kind,
                count - self.intercom_before.get(kind).copied().unwrap_or(0),
            )
        });
        self.phases.push(Phase {
            name,
            keap: calls - self.keap_before,
            intercom: spent.collect(),
        });
        self.keap_before = calls;
        self.intercom_before = kinds;
    }

    pub fn keep_log(&mut self, log: &Log) {
        self.log.extend(log.lines());
    }

    /// Stops a daemon in order; gives back how long that took.
    pub async fn stop(&mut self, process: Process) -> anyhow::Result<Duration> {
        let log = Arc::clone(&process.log);
        let (status, took) = process.stop().await?;
        self.keep_log(&log);
        if status.success() {
            Ok(took)
        } else {
            Err(log.blame(&format!("the daemon did not stop well: {status}")))
        }
    }

    /// No line of any daemon's log holds an e-mail or a token.
    pub fn logs_are_clean(&self) -> bool {
        let dirty = self.log.iter().find(|line| {
            ["@example", "canary"]
                .iter()
                .any(|word| line.contains(word))
        });
        match dirty {
            Some(line) => {
                println!("✗ A line of the daemon's log names a person or a secret: {line}")
            }
            None => println!(
                "✓ Logs: none of the {} lines that the daemon logged holds an e-mail or a token.",
                self.log.len()
            ),
        }
        dirty.is_none()
    }

    /// Prints all of it. Whether all is well.
    pub fn show(
        &self,
        look: &Look,
        intercom: &Intercom,
        strangers: (usize, usize),
        office: i64,
    ) -> bool {
        let Look { verdict, recorded } = look;
        println!("What happened\n");
        row("People in Keap", verdict.keap_contacts);
        row("  in Intercom, every field equal", verdict.equal);
        row("  without a usable e-mail: skipped", recorded.skipped.len());
        row("  held for a person, with the reason", recorded.held.len());
        for (id, why) in &recorded.held {
            println!("      {id}: {why}");
        }

        println!("\nRows in Postgres (keap_intercom_sync_logs), by action\n");
        for action in ACTIONS {
            let count =
                |(row, count): (&(String, String), &i64)| (row.1 == action).then_some(*count);
            let count: i64 = recorded.rows.iter().filter_map(count).sum();
            if count > 0 {
                row(&format!("  {action}"), count as usize);
            }
        }

        println!(
            "\n{:<36}{:>8}{:>10}   of these",
            "Calls", "Keap", "Intercom"
        );
        println!();
        for Phase {
            name,
            keap,
            intercom,
        } in &self.phases
        {
            let mut kinds: Vec<_> = intercom.iter().filter(|(_, count)| **count > 0).collect();
            kinds.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
            let kinds: Vec<String> = kinds
                .iter()
                .map(|(kind, count)| format!("{count} {kind}"))
                .collect();
            println!(
                "  {name:<34}{keap:>8}{:>10}   {}",
                intercom.values().sum::<usize>(),
                kinds.join(", ")
            );
        }
        println!();

        let checks = self.checks(look, intercom, strangers, office);
        for Check { text, well } in &checks {
            println!("{} {text}", if *well { "✓" } else { "✗" });
        }
        let unexplained: Vec<&str> = verdict
            .examples
            .iter()
            .filter(|id| !id.parse().is_ok_and(|id| recorded.held.contains_key(&id)))
            .map(String::as_str)
            .collect();
        if !unexplained.is_empty() {
            println!("  Keap ids that are not equal: {}", unexplained.join(", "));
        }
        checks.iter().all(|check| check.well)
    }

    fn checks(
        &self,
        look: &Look,
        intercom: &Intercom,
        (untouched, strangers): (usize, usize),
        office: i64,
    ) -> Vec<Check> {
        let Look { verdict, recorded } = look;
        let lost = verdict.missing + verdict.different - recorded.held.len().min(verdict.missing);
        let doubled = verdict.doubled + verdict.strangers + Cast::doubled_emails(intercom);
        let linked_wrongly = recorded
            .linked
            .iter()
            .filter(|(keap_id, intercom_id)| {
                let users = intercom.by_external_id(&keap_id.to_string());
                users.len() != 1 || users[0].id != **intercom_id
            })
            .count();
        let unlogged = recorded
            .linked
            .iter()
            .filter(|(keap_id, intercom_id)| {
                !recorded
                    .synced
                    .contains(&(keap_id.to_string(), (*intercom_id).clone()))
            })
            .count();
        let writes = intercom
            .ledger()
            .iter()
            .filter(|call| call.applied && matches!(call.kind, "create" | "update"))
            .count() as i64;
        let repeated = writes - recorded.rows_with("synced");
        let refused = intercom.statuses().get(&429).copied().unwrap_or(0);
        let idle_calls = self
            .phases
            .last()
            .map_or(0, |phase| phase.intercom.values().sum::<usize>());
        let held = recorded.held.keys().copied().collect::<Vec<_>>();
        vec![
            check(
                lost == 0 && recorded.linked.len() == verdict.equal,
                format!("Nothing lost: {lost} people differ or are missing without a reason."),
            ),
            check(
                doubled == 0,
                format!("Nothing doubled: {doubled} people have more than one Intercom user."),
            ),
            check(
                idle_calls == 0,
                format!("Nothing wasted: {idle_calls} Intercom calls for a look at everybody."),
            ),
            check(
                linked_wrongly == 0 && unlogged == 0,
                format!(
                    "Postgres agrees: {} links lead to the right Intercom contact, each with its row in the log.",
                    recorded.linked.len() - linked_wrongly.max(unlogged)
                ),
            ),
            check(
                (0..=MOST_LOST_RECORDS).contains(&repeated),
                format!(
                    "The kill cost {repeated} writes that were made and not yet recorded: they were repeated with equal content."
                ),
            ),
            check(
                held == [office] && recorded.due == 0,
                "Held: only the person whose e-mail two Intercom users share. Nothing else waits."
                    .to_owned(),
            ),
            check(
                untouched == strangers,
                format!("Others in Intercom: {untouched} of {strangers} are as they were."),
            ),
            check(
                refused == 0,
                format!("Limits: Intercom refused {refused} calls for their number (429)."),
            ),
        ]
    }
}

fn check(well: bool, text: String) -> Check {
    Check { text, well }
}

fn row(name: &str, count: usize) {
    println!("  {name:<40}{:>8}", thousands(count));
}

/// 1234567 → 1,234,567
pub fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
