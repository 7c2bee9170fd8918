//! A field in words, for `check` and for the page.

use super::fitted::Field;
use super::rule::Rule;
use crate::contact::Owner;

impl Rule {
    /// The word of the owner, as the settings spell it.
    pub fn owner_word(&self) -> &'static str {
        match self.owner {
            Owner::Keap => "keap",
            Owner::Intercom => "intercom",
            Owner::Newest => "newest",
            Owner::Fill => "fill",
            Owner::Either => "either",
            Owner::Never => "never",
        }
    }

    /// Who decides what the field holds.
    pub fn decides(&self) -> &'static str {
        match self.owner {
            Owner::Keap => "Keap decides",
            Owner::Intercom => "Intercom decides",
            Owner::Newest => "the later edit counts",
            Owner::Fill => "an empty side is filled",
            Owner::Either => "an opt-out on either side counts",
            Owner::Never => "nothing is written",
        }
    }
}

impl Field {
    /// Where the values travel.
    pub fn travels(&self) -> &'static str {
        match (self.rule.writes_to_intercom(), self.writes_to_keap()) {
            (true, true) => "in both directions",
            (true, false) => "from Keap to Intercom",
            (false, true) => "from Intercom to Keap",
            (false, false) => "nowhere",
        }
    }

    /// What its place in Keap holds.
    pub fn in_keap(&self) -> String {
        let found = if self.keap.place == self.rule.keap {
            String::new()
        } else {
            format!(" = {}", self.keap.place)
        };
        format!("{}{found} ({})", self.rule.keap, self.keap.kind)
    }

    /// What its place in Intercom holds.
    pub fn in_intercom(&self) -> String {
        let limit = self.intercom.limit.map(|limit| format!(", up to {limit} characters"));
        format!("{} ({}{})", self.rule.intercom, self.intercom.kind, limit.unwrap_or_default())
    }

    /// What Intercom does not take of the values that Keap may have.
    pub fn remark(&self) -> Option<String> {
        let untaken = self.untaken();
        (!untaken.is_empty()).then(|| {
            format!(
                "Intercom does not know the options {}, so contacts with one of them keep their value there",
                untaken.join(", ")
            )
        })
    }
}

impl std::fmt::Display for Field {
    /// Where the field is on both sides, and who owns it, in one line.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let arrow = match (self.rule.writes_to_intercom(), self.writes_to_keap()) {
            (true, true) => '↔',
            (false, true) => '←',
            _ => '→',
        };
        let (name, owner) = (&self.rule.name, self.rule.owner_word());
        let (keap, intercom) = (self.in_keap(), self.in_intercom());
        write!(f, "{name}: {keap} {arrow} {intercom}, owner {owner}")?;
        match self.remark() {
            Some(remark) => write!(f, "; {remark}"),
            None => Ok(()),
        }
    }
}
