//! The places of an Intercom contact: their names, what they take, and the custom attributes of the
//! workspace (`docs/api/intercom.md`, "Custom attributes").

use serde::Deserialize;

use crate::contact::Form;
use crate::mapping::{Holds, TAG, Unfit, nearest};
use crate::remote::lenient;

/// The place of a custom attribute begins with this.
pub(super) const ATTRIBUTE: &str = "attribute:";

/// The most characters of a text.
pub const LONGEST_TEXT: usize = 255;

/// The custom attributes of a workspace that are not archived. More are refused.
pub const MOST_ATTRIBUTES: usize = 250;

const TEXT: &[Form] = &[Form::Text, Form::Email, Form::Phone, Form::List];
const TIME: &[Form] = &[Form::Time, Form::Day];

/// The properties that can be written.
const PROPERTIES: [(&str, &str, &[Form]); 7] = [
    ("email", "an e-mail address", &[Form::Email]),
    ("name", "a text", &[Form::Text]),
    ("phone", "a phone number", &[Form::Phone, Form::Text]),
    ("avatar", "a web address", &[Form::Text]),
    ("owner_id", "a teammate", &[Form::Text]),
    ("signed_up_at", "a time", TIME),
    ("last_seen_at", "a time", TIME),
];

/// Properties that no mapping may name, with the reason.
const FORBIDDEN: [(&str, &str); 4] = [
    ("external_id", "it always holds the Keap id"),
    ("role", "every synced contact is a user"),
    ("unsubscribed_from_emails", "set consent.opt_out instead: only an opt-out may travel"),
    ("id", "Intercom gives it"),
];

/// The attributes and teammates of a workspace, as far as the mapping needs them.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct IntercomModel {
    pub attributes: Vec<Attribute>,
    /// Each teammate's id and e-mail, in lower case.
    pub admins: Vec<(String, String)>,
}

/// A custom attribute of contacts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    pub name: String,
    pub label: String,
    /// Such as `string` or `integer`.
    pub kind: String,
    pub options: Option<Vec<String>>,
    pub is_archived: bool,
    pub is_writable: bool,
}

impl Attribute {
    fn holds(&self) -> Result<Holds, Unfit> {
        let name = &self.name;
        if self.is_archived {
            return Err(Unfit::now(format!(
                "the attribute {name} is archived in Intercom; restore it there, or name another one"
            )));
        }
        if !self.is_writable {
            return Err(Unfit::now(format!(
                "the attribute {name} cannot be written by the API of Intercom; name another one"
            )));
        }
        let forms = match self.kind.as_str() {
            "string" => TEXT,
            "integer" => &[Form::Whole],
            "float" => &[Form::Decimal],
            "boolean" => &[Form::YesNo],
            "date" | "datetime" => TIME,
            kind => {
                return Err(Unfit::now(format!(
                    "the attribute {name} has the type {kind}, which is not synced"
                )));
            }
        };
        Ok(Holds {
            limit: (self.kind == "string").then_some(LONGEST_TEXT),
            options: self.options.clone(),
            ..Holds::of(format!("{ATTRIBUTE}{name}"), format!("a {} attribute", self.kind), forms)
        })
    }
}

/// The name of the attribute that a place means.
pub fn attribute_name(place: &str) -> Option<&str> {
    place.strip_prefix(ATTRIBUTE).map(str::trim)
}

/// The places that every workspace has, for hints and lists.
pub fn standard_places() -> impl Iterator<Item = (&'static str, &'static str)> {
    PROPERTIES.iter().map(|(name, kind, _)| (*name, *kind))
}

/// What a place takes. `model`: the workspace's attributes, once they are known.
pub fn holds(place: &str, model: Option<&IntercomModel>) -> Result<Holds, Unfit> {
    if let Some(name) = attribute_name(place) {
        if name.is_empty() || name.contains(['.', '$']) {
            return Err(Unfit::by_itself(format!(
                "{place}: the name of an attribute is not empty and has neither . nor $"
            )));
        }
        let model = model.ok_or_else(|| Unfit::now("Intercom has not shown its attributes yet"))?;
        return attribute(name, model)?.holds();
    }
    if let Some(name) = place.strip_prefix(TAG) {
        return if name.trim().is_empty() {
            Err(Unfit::by_itself("the name of a tag is empty"))
        } else {
            Ok(Holds::of(place, "a tag", &[Form::YesNo]))
        };
    }
    if let Some((name, kind, forms)) = PROPERTIES.iter().find(|(name, ..)| *name == place) {
        let is_text = forms.contains(&Form::Text) && *name != "owner_id";
        return Ok(Holds {
            limit: is_text.then_some(LONGEST_TEXT),
            ..Holds::of(*name, *kind, forms)
        });
    }
    if let Some((name, why)) = FORBIDDEN.iter().find(|(name, _)| *name == place) {
        return Err(Unfit::by_itself(format!("no field may go to {name} in Intercom: {why}")));
    }
    Err(Unfit::by_itself(match nearest(place, standard_places().map(|(name, _)| name)) {
        Some(near) => format!("Intercom has no place {place}; did you mean {near}?"),
        None => format!(
            "Intercom has no place {place}; an attribute is written {ATTRIBUTE}{place}, and `keap-intercom-sync fields` lists every place"
        ),
    }))
}

fn attribute<'a>(name: &str, model: &'a IntercomModel) -> Result<&'a Attribute, Unfit> {
    let attributes = &model.attributes;
    let mut same: Vec<_> = attributes.iter().filter(|one| one.name == name).collect();
    // An archived attribute may have a living namesake.
    same.sort_by_key(|one| one.is_archived);
    if let Some(attribute) = same.first() {
        return Ok(attribute);
    }
    let by_label = attributes.iter().find(|one| !one.is_archived && one.label == name);
    let living = attributes.iter().filter(|one| !one.is_archived).map(|one| one.name.as_str());
    let near = by_label.map(|one| one.name.as_str()).or_else(|| nearest(name, living));
    Err(Unfit::now(match near {
        Some(near) => {
            format!("Intercom has no attribute {name}; did you mean {ATTRIBUTE}{near}?")
        }
        None => format!(
            "Intercom has no attribute {name}; make it there, or set create_attribute = true for the field and run `keap-intercom-sync fields create`"
        ),
    }))
}

/// The attributes of contacts.
#[derive(Deserialize)]
pub(super) struct AttributesWire {
    #[serde(deserialize_with = "lenient::filled")]
    data: Vec<AttributeWire>,
}

#[derive(Deserialize)]
struct AttributeWire {
    #[serde(default, deserialize_with = "lenient::text")]
    name: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    label: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    model: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    data_type: Option<String>,
    #[serde(default, deserialize_with = "lenient::readable")]
    options: Option<Vec<OptionWire>>,
    #[serde(default, deserialize_with = "lenient::readable")]
    custom: Option<bool>,
    #[serde(default, deserialize_with = "lenient::readable")]
    archived: Option<bool>,
    #[serde(default, deserialize_with = "lenient::readable")]
    api_writable: Option<bool>,
}

/// An option is an object with a value; the documents also show bare texts.
#[derive(Deserialize)]
#[serde(untagged)]
enum OptionWire {
    Object { value: String },
    Bare(String),
}

impl AttributesWire {
    pub(super) fn attributes(self) -> Vec<Attribute> {
        let is_custom = |one: &AttributeWire| {
            one.custom.unwrap_or(true)
                && one.model.as_deref().is_none_or(|model| model == "contact")
        };
        let custom = self.data.into_iter().filter(is_custom);
        custom
            .filter_map(|one| {
                let name = one.name?;
                let options: Vec<String> = one
                    .options
                    .unwrap_or_default()
                    .into_iter()
                    .map(|option| match option {
                        OptionWire::Object { value } | OptionWire::Bare(value) => value,
                    })
                    .collect();
                Some(Attribute {
                    label: one.label.unwrap_or_else(|| name.clone()),
                    name,
                    // A list reads back as a string with options; when it is made, it is `options`.
                    kind: match one.data_type.as_deref() {
                        Some("options" | "list") | None => "string".to_owned(),
                        Some(kind) => kind.to_owned(),
                    },
                    options: (!options.is_empty()).then_some(options),
                    is_archived: one.archived.unwrap_or(false),
                    is_writable: one.api_writable.unwrap_or(true),
                })
            })
            .collect()
    }
}

/// The teammates of the workspace.
#[derive(Deserialize)]
pub(super) struct AdminsWire {
    #[serde(deserialize_with = "lenient::filled")]
    admins: Vec<AdminWire>,
}

#[derive(Deserialize)]
struct AdminWire {
    #[serde(deserialize_with = "lenient::needed_text")]
    id: String,
    #[serde(default, deserialize_with = "lenient::text")]
    email: Option<String>,
}

impl AdminsWire {
    /// The id and the e-mail of each teammate, in lower case.
    pub(super) fn admins(self) -> Vec<(String, String)> {
        let known = self.admins.into_iter();
        known.filter_map(|admin| Some((admin.id, admin.email?.trim().to_lowercase()))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn model() -> IntercomModel {
        let wire: AttributesWire = serde_json::from_value(json!({ "type": "list", "data": [
            { "name": "plan", "label": "Plan", "model": "contact", "data_type": "string", "custom": true,
              "options": [{ "value": "Gold" }, "Silver"], "archived": false, "api_writable": true },
            { "name": "score", "data_type": "integer" },
            { "name": "old", "data_type": "string", "archived": true },
            { "name": "old2", "data_type": "string", "archived": true },
            { "name": "old2", "data_type": "float", "archived": false },
            { "name": "locked", "data_type": "string", "api_writable": false },
            { "name": "boat", "data_type": "object" },
            { "name": "email", "data_type": "string", "custom": false },
            { "name": "size", "data_type": "string", "model": "company" },
            null,
        ] }))
        .unwrap();
        IntercomModel { attributes: wire.attributes(), admins: Vec::new() }
    }

    fn why(place: &str) -> String {
        holds(place, Some(&model())).unwrap_err().why
    }

    #[test]
    fn an_attribute_takes_what_its_type_says() {
        let holds = |place: &str| holds(place, Some(&model())).unwrap();
        let plan = holds("attribute:plan");
        assert_eq!(plan.options, Some(vec!["Gold".to_owned(), "Silver".to_owned()]));
        assert_eq!((plan.limit, plan.forms.first()), (Some(255), Some(&Form::Text)));
        assert_eq!(
            (holds("attribute:score").forms, holds("attribute:score").limit),
            (vec![Form::Whole], None)
        );
        assert_eq!(holds("attribute:old2").forms, [Form::Decimal]);
        assert_eq!(holds("signed_up_at").forms, [Form::Time, Form::Day]);
    }

    #[test]
    fn a_place_that_cannot_be_used_says_why_and_names_the_nearest() {
        for (place, expected) in [
            ("attribute:plam", "Intercom has no attribute plam; did you mean attribute:plan?"),
            ("attribute:Plan", "Intercom has no attribute Plan; did you mean attribute:plan?"),
            (
                "attribute:old",
                "the attribute old is archived in Intercom; restore it there, or name another one",
            ),
            (
                "attribute:locked",
                "the attribute locked cannot be written by the API of Intercom; name another one",
            ),
            ("attribute:boat", "the attribute boat has the type object, which is not synced"),
            (
                "attribute:size",
                "Intercom has no attribute size; make it there, or set create_attribute = true for the field and run `keap-intercom-sync fields create`",
            ),
            (
                "attribute:a.b",
                "attribute:a.b: the name of an attribute is not empty and has neither . nor $",
            ),
            ("e-mail", "Intercom has no place e-mail; did you mean email?"),
            (
                "plan_of_customer",
                "Intercom has no place plan_of_customer; an attribute is written attribute:plan_of_customer, and `keap-intercom-sync fields` lists every place",
            ),
            (
                "unsubscribed_from_emails",
                "no field may go to unsubscribed_from_emails in Intercom: set consent.opt_out instead: only an opt-out may travel",
            ),
            (
                "external_id",
                "no field may go to external_id in Intercom: it always holds the Keap id",
            ),
        ] {
            assert_eq!(why(place), expected);
        }
        assert!(!holds("attribute:plan", None).unwrap_err().by_itself);
        assert!(holds("attribute:", None).unwrap_err().by_itself);
    }
}
