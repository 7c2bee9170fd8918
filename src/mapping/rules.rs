//! The rules of a mapping, all together.

use super::rule::Rule;
use crate::contact::FieldName;

/// One rule per field. A new field is a new rule, and nothing else.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mapping(Vec<Rule>);

impl Mapping {
    /// `Err` says everything that is wrong with the rules by themselves.
    pub fn new(rules: Vec<Rule>) -> Result<Self, Vec<String>> {
        let mut wrong = Vec::new();
        for (at, rule) in rules.iter().enumerate() {
            for earlier in &rules[..at] {
                if earlier.name == rule.name {
                    wrong.push(format!(
                        "two fields have the name {}; each needs a name of its own",
                        rule.name
                    ));
                }
                if earlier.intercom == rule.intercom {
                    wrong.push(format!(
                        "the fields {} and {} both go to {} in Intercom; keep one of them",
                        earlier.name, rule.name, rule.intercom
                    ));
                }
            }
        }
        if wrong.is_empty() { Ok(Self(rules)) } else { Err(wrong) }
    }

    pub fn rules(&self) -> &[Rule] {
        &self.0
    }
}

/// The three built-in fields.
impl Default for Mapping {
    fn default() -> Self {
        let names = [FieldName::EMAIL, "name", "phone"];
        Self(names.map(|name| Rule::new(name, name, name)).to_vec())
    }
}
