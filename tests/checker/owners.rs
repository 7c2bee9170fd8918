//! What people have typed into fields that both sides may change, and what each side must show of
//! them in the end, by the owner of the field.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::holds::Holds;
use super::{Claim, Evidence, Finding};
use crate::sim::{Intercom, Keap};

const OWNERS: [&str; 5] = ["keap", "intercom", "newest", "fill", "never"];

/// Later than any write whose answer is lost, so that nobody takes the edit for that write.
const LATER_MS: i64 = 130_000;

/// A write to Keap sends all custom fields back as the daemon has read them, at most this long ago.
/// Keap knows no condition, so a word that is typed in between is lost.
const READ_BEFORE_WRITE: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Side {
    Keap,
    Intercom,
}

/// A field of a contact, by its owner.
type Field = (i64, &'static str);

/// The values of a field since both sides were quiet: what Keap showed then and what its people
/// have typed; the same of Intercom.
#[derive(Clone, Debug, Default)]
struct Values {
    was: [Option<String>; 2],
    typed: [Vec<String>; 2],
    /// When each word was typed.
    typed_at: BTreeMap<String, Instant>,
    /// Both sides were looked at together.
    is_settled: bool,
}

impl Values {
    fn last(&self, side: usize) -> Option<&String> {
        self.typed[side].last().or(self.was[side].as_ref())
    }

    /// The same without the words that a write had to overwrite unseen.
    fn without_unseen(&self, keap: &Keap, id: i64) -> Values {
        let mut values = self.clone();
        values.typed[0].retain(|word| {
            let times = self.typed_at.get(word).zip(keap.overwritten_at(id, word));
            times.is_none_or(|(typed, lost)| lost.duration_since(*typed) >= READ_BEFORE_WRITE)
        });
        values
    }

    /// Whether both sides may show these values in the end.
    fn allow(&self, owner: &str, now: [Option<&String>; 2]) -> bool {
        let last = [self.last(0), self.last(1)];
        let both = |value: Option<&String>| now == [value, value];
        let is_typed = [0, 1].map(|side| !self.typed[side].is_empty());
        match owner {
            "never" => now == last,
            "keap" if last[0].is_some() => both(last[0]),
            "intercom" if last[1].is_some() => both(last[1]),
            "newest" => match is_typed {
                [true, false] => both(last[0]),
                [false, true] if self.is_settled || last[0].is_none() => both(last[1]),
                _ => both(last[0]) || both(last[1]),
            },
            // A side that was empty has got what the other one had then.
            "fill" => [0, 1].iter().all(|side| {
                let other = 1 - side;
                let had = |value: &String| {
                    self.typed[other].contains(value) || self.was[other].as_ref() == Some(value)
                };
                now[*side] == last[*side] || last[*side].is_none() && now[*side].is_some_and(had)
            }),
            // The owner has never had a value.
            _ => now == last,
        }
    }
}

#[derive(Default)]
struct State {
    /// The custom fields in Keap, by their owner.
    fields: BTreeMap<&'static str, i64>,
    values: BTreeMap<Field, Values>,
    words: usize,
}

/// Changes fields on both sides and remembers what was typed. Empty where only Keap's people edit.
#[derive(Clone, Default)]
pub(crate) struct Owners(Arc<Mutex<State>>);

impl Owners {
    /// A field for each owner, in both accounts. Some people have a value in Keap already.
    pub(crate) fn add_to(keap: &Keap, intercom: &Intercom) -> Owners {
        let owners = Owners::default();
        let ids = keap.ids();
        {
            let mut state = owners.locked();
            for (at, owner) in OWNERS.into_iter().enumerate() {
                let field = keap.add_custom_field(owner, "TEXT", &[]);
                intercom.add_attribute(owner, "string", &[]);
                state.fields.insert(owner, field);
                for id in ids.iter().filter(|id| !(**id as usize + at).is_multiple_of(3)) {
                    let text = format!("Canary first {owner} {id}");
                    keap.set_custom(*id, field, text.as_str());
                    let values = Values { was: [Some(text), None], ..Values::default() };
                    state.values.insert((*id, owner), values);
                }
            }
        }
        owners
    }

    pub(crate) fn is_two_way(&self) -> bool {
        !self.locked().fields.is_empty()
    }

    /// The settings file with these fields.
    pub(crate) fn settings_file(&self) -> String {
        let mut file = String::new();
        for name in ["email", "name", "phone"] {
            let _ = writeln!(file, "[[field]]\nkeap = {name:?}\nintercom = {name:?}");
        }
        for owner in self.locked().fields.keys() {
            let _ = writeln!(
                file,
                "[[field]]\nkeap = \"custom:{owner}\"\nintercom = \"attribute:{owner}\"\nowner = {owner:?}"
            );
        }
        file
    }

    /// A person types a new word, on the side and in the field that the number says. Returns what
    /// was done; `None` if Intercom does not have the contact.
    pub(crate) fn type_word(&self, scene: &Evidence, id: i64, number: usize) -> Option<String> {
        let owner = OWNERS[number % OWNERS.len()];
        let side =
            if (number / OWNERS.len()).is_multiple_of(2) { Side::Keap } else { Side::Intercom };
        for clock in [scene.keap.clock(), scene.intercom.clock()] {
            clock.advance_ms(LATER_MS);
        }
        let mut state = self.locked();
        state.words += 1;
        let text = format!("Canary word {}", state.words);
        let field = *state.fields.get(owner)?;
        let is_done = match side {
            Side::Keap => scene.history.edit(&scene.keap, id, |person| {
                person.details.custom_fields.insert(field, text.as_str().into());
            }),
            Side::Intercom => {
                let users = scene.intercom.by_external_id(&id.to_string());
                let user = users.iter().find(|user| user.is_live())?;
                scene.intercom.edit(&user.id, |user| {
                    user.custom_attributes.insert(owner.into(), text.as_str().into());
                })
            }
        };
        if is_done {
            let values = state.values.entry((id, owner)).or_default();
            values.typed[side as usize].push(text.clone());
            values.typed_at.insert(text.clone(), Instant::now());
        }
        is_done.then(|| format!("{owner} in {side:?} is {text}"))
    }

    /// Both sides are quiet: from now on it counts what is typed from now on.
    pub(crate) fn settle(&self, scene: &Evidence) {
        let mut state = self.locked();
        for (owner, field) in state.fields.clone() {
            for id in scene.keap.ids() {
                if let Some(was) = shown(scene, id, owner, field) {
                    let values = Values { was, is_settled: true, ..Values::default() };
                    state.values.insert((id, owner), values);
                }
            }
        }
    }

    /// The fields that do not show what their owner's rule keeps.
    pub(super) fn check(&self, scene: &Evidence, holds: &Holds) -> Vec<Finding> {
        let state = self.locked();
        let mut findings = Vec::new();
        for ((id, owner), values) in &state.values {
            let Some(field) = state.fields.get(owner).filter(|_| !holds.contains_key(id)) else {
                continue;
            };
            let Some(now) = shown(scene, *id, owner, *field) else {
                continue;
            };
            let shown = [now[0].as_ref(), now[1].as_ref()];
            let may_be = values.allow(owner, shown)
                || values.without_unseen(&scene.keap, *id).allow(owner, shown);
            if !may_be {
                let what = format!("contact {id} shows {now:?} of {owner} after {values:?}");
                findings.push(Finding::new(Claim::OwnersDecide, what));
            }
        }
        findings
    }

    /// The id in Keap of the field of this owner.
    #[cfg(test)]
    pub(super) fn field(&self, owner: &str) -> i64 {
        self.locked().fields[owner]
    }

    #[cfg(test)]
    pub(super) fn typed_earlier(&self, by: Duration) {
        for values in self.locked().values.values_mut() {
            values.typed_at.values_mut().for_each(|at| *at = at.checked_sub(by).unwrap_or(*at));
        }
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What both sides show of a field; `None` if the contact is not in both.
fn shown(scene: &Evidence, id: i64, owner: &str, field: i64) -> Option<[Option<String>; 2]> {
    let text =
        |value: Option<&serde_json::Value>| value.and_then(|it| it.as_str()).map(str::to_owned);
    let person = scene.keap.person(id)?;
    let users = scene.intercom.by_external_id(&id.to_string());
    let user = users.iter().find(|user| user.is_live())?;
    let in_intercom = text(user.custom_attributes.get(owner)).filter(|text| !text.is_empty());
    Some([text(person.details.custom_fields.get(&field)), in_intercom])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(was: [Option<&str>; 2], typed: [&[&str]; 2], is_settled: bool) -> Values {
        Values {
            was: was.map(|text| text.map(str::to_owned)),
            typed: typed.map(|all| all.iter().map(|text| (*text).to_owned()).collect()),
            typed_at: BTreeMap::new(),
            is_settled,
        }
    }

    #[test]
    fn each_rule_allows_what_it_keeps_and_nothing_else() {
        let both_typed = values([Some("a"), Some("a")], [&["k"], &["i", "j"]], true);
        let agent_typed = values([Some("a"), Some("a")], [&[], &["i"]], true);
        let empty_in_keap = values([None, None], [&[], &["i", "j"]], true);
        for (owner, values, now, expected) in [
            ("keap", &both_typed, ["k", "k"], true),
            ("keap", &both_typed, ["j", "j"], false),
            ("keap", &agent_typed, ["a", "a"], true),
            ("keap", &agent_typed, ["a", "i"], false),
            ("intercom", &both_typed, ["j", "j"], true),
            ("intercom", &both_typed, ["i", "i"], false),
            ("newest", &both_typed, ["k", "k"], true),
            ("newest", &both_typed, ["j", "j"], true),
            ("newest", &both_typed, ["k", "j"], false),
            ("newest", &both_typed, ["i", "i"], false),
            ("newest", &agent_typed, ["a", "a"], false),
            ("fill", &both_typed, ["k", "j"], true),
            ("fill", &both_typed, ["k", "k"], false),
            ("fill", &empty_in_keap, ["i", "j"], true),
            ("fill", &empty_in_keap, ["x", "j"], false),
            ("never", &both_typed, ["k", "j"], true),
            ("never", &both_typed, ["j", "j"], false),
        ] {
            let [keap, intercom] = now.map(str::to_owned);
            let allowed = values.allow(owner, [Some(&keap), Some(&intercom)]);
            assert_eq!(allowed, expected, "{owner} {now:?} {values:?}");
        }
    }
}
