//! The checker: what must be true once the faults stop and the daemon is quiet. It reads both
//! stand-ins, the tables and all that was printed, and names each claim that does not hold.
//!
//! `tests.rs` damages a world once for each claim, and expects the checker to name it.
#![allow(dead_code)] // Each test or example uses only a part.

mod history;
mod holds;
mod idle;
mod owners;
mod remotes;
pub(crate) mod tables;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;

use sqlx::PgPool;

use crate::sim::{Intercom, Keap, StoredContact};
pub(crate) use history::History;
pub(crate) use idle::Mark;
pub(crate) use owners::Owners;

/// What must be true. The words stand in the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Claim {
    /// Every contact that can be synced shows in Intercom what it shows in Keap.
    Agree,
    /// Each Keap contact has at most one live Intercom contact, and no two share an e-mail.
    NoDouble,
    /// No live Intercom contact and no link belongs to a contact that Keap does not have.
    NoOrphan,
    /// No older version of a contact was written over a newer one.
    NoOlder,
    /// Both sides show what the owner of a field keeps of all that people have typed.
    OwnersDecide,
    /// No run is open, and no walk is under way.
    NoRunOpen,
    /// No contact waits to be looked at.
    NoneDue,
    /// No write has an unknown outcome, except of contacts that wait for a person.
    NoIntent,
    /// A contact is held only for a reason that is true.
    HoldsAreTrue,
    /// Each link leads to the Intercom contact that carries its Keap id.
    LinksAreRight,
    /// Each linked contact has a row in the log that says so.
    Logged,
    /// Contacts of others are as they were.
    StrangersKept,
    /// No output and no table shows a person or a secret.
    NoCanary,
    /// A poll that finds nothing writes nothing and calls no Intercom.
    IdleIsFree,
}

/// A claim that does not hold, and what shows it. It names contacts by their ids only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub claim: Claim,
    pub what: String,
}

impl Finding {
    fn new(claim: Claim, what: impl Into<String>) -> Finding {
        Finding { claim, what: what.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.claim, self.what)
    }
}

/// What the checker looks at.
pub(crate) struct Evidence {
    pub keap: Keap,
    pub intercom: Intercom,
    pub pool: PgPool,
    /// Every version that each contact has had in Keap.
    pub history: History,
    /// The Intercom contacts of the start.
    pub at_start: Vec<StoredContact>,
    /// The ids of those that are none of the daemon's business.
    pub strangers: Vec<String>,
    /// What people have typed into fields that both sides may change.
    pub owners: Owners,
    /// Addresses, in small letters, that several Intercom contacts have from the start.
    pub shared: BTreeSet<String>,
}

impl Evidence {
    /// Whether nobody has written this Intercom contact since the start. The daemon may have had no
    /// reason to: its Keap contact was gone, or had no address, before they were matched.
    fn is_as_at_start(&self, now: &StoredContact) -> bool {
        let then = self.at_start.iter().find(|then| then.id == now.id);
        // To look at an archived contact, the daemon unarchives and archives it.
        then.is_some_and(|then| {
            StoredContact { updated_at: then.updated_at, ..now.clone() } == *then
        })
    }

    /// Every claim about the two remotes and the tables that does not hold now.
    pub(crate) async fn check(&self) -> sqlx::Result<Vec<Finding>> {
        let holds = holds::read(self).await?;
        let mut findings = remotes::check(self, &holds);
        findings.extend(holds::check(&holds));
        findings.extend(self.owners.check(self, &holds));
        findings.extend(tables::check(self, &holds).await?);
        for what in self.history.older_over_newer(&self.intercom.ledger()) {
            findings.push(Finding::new(Claim::NoOlder, what));
        }
        Ok(findings)
    }

    /// Each table that shows a person or a secret, and each of `outputs`: a name and all its text.
    pub(crate) async fn canaries(
        &self,
        outputs: &[(String, String)],
    ) -> sqlx::Result<Vec<Finding>> {
        let mut findings = tables::canaries(self).await?;
        for (name, text) in outputs {
            let lines = text.lines().filter_map(|line| {
                let canary = crate::canary::canary_in(line)?;
                Some(format!("{name} shows {canary:?}: {line}"))
            });
            findings.extend(lines.take(3).map(|what| Finding::new(Claim::NoCanary, what)));
        }
        Ok(findings)
    }
}
