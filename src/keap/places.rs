//! The places of a Keap contact: their names, what they hold, and the custom fields of the account
//! (`docs/api/keap.md`, "Fields of a contact", "Custom fields").

use serde::Deserialize;

use super::model::Applied;
use crate::contact::Form;
use crate::mapping::{Holds, TAG, Unfit, nearest};
use crate::remote::lenient;

/// A custom field is named with this before its name, label or id.
const CUSTOM: &str = "custom:";
/// A part of an address is named `address.<kind>.<part>`.
const ADDRESS: &str = "address.";

/// Properties with a text.
const TEXTS: [&str; 17] = [
    "given_name",
    "middle_name",
    "family_name",
    "preferred_name",
    "prefix",
    "suffix",
    "job_title",
    "website",
    "spouse_name",
    "time_zone",
    "preferred_locale",
    "contact_type",
    "source_type",
    "referral_code",
    "assistant_name",
    "assistant_phone",
    "notes",
];
/// Places that Keap computes, or that hold another form than text.
const OTHERS: [(&str, &str, &[Form]); 11] = [
    ("email", "an e-mail address", &[Form::Email]),
    ("name", "a text", &[Form::Text]),
    ("phone", "a phone number", &[Form::Phone]),
    ("company", "a text", &[Form::Text]),
    ("birth_date", "a date", &[Form::Day]),
    ("anniversary_date", "a date", &[Form::Day]),
    ("create_time", "a time", &[Form::Time]),
    ("score_value", "a number", &[Form::Whole, Form::Decimal, Form::Text]),
    ("leadsource_id", "a number", &[Form::Whole, Form::Text]),
    ("id", "a number", &[Form::Whole, Form::Text]),
    ("owner", "a user", &[Form::Text]),
];
pub(super) const ADDRESS_KINDS: [&str; 3] = ["billing", "shipping", "other"];
pub(super) const ADDRESS_PARTS: [&str; 10] = [
    "line1",
    "line2",
    "locality",
    "region",
    "region_code",
    "postal_code",
    "zip_code",
    "zip_four",
    "country",
    "country_code",
];

/// The most characters that a place takes, by the contract.
const LIMITS: [(&str, usize); 11] = [
    ("given_name", 40),
    ("family_name", 40),
    ("middle_name", 100),
    ("preferred_name", 100),
    ("job_title", 255),
    ("website", 100),
    ("spouse_name", 100),
    ("assistant_name", 20),
    ("assistant_phone", 15),
    ("email", 75),
    ("phone", 40),
];
const CUSTOM_LIMIT: usize = 65_535;

/// The places that nobody can write, or that a write would change beyond the value: a whole name
/// does not say which part is the family name, and Keap spells regions anew.
const READ_ONLY: [&str; 8] = [
    "name",
    "company",
    "owner",
    "create_time",
    "score_value",
    "leadsource_id",
    "id",
    "source_type",
];

/// What one of these places holds, and whether it can be written.
fn known(place: &str, kind: &str, forms: &[Form]) -> Holds {
    let limit = LIMITS.iter().find(|(name, _)| *name == place).map(|(_, limit)| *limit);
    Holds { limit, is_read_only: READ_ONLY.contains(&place), ..Holds::of(place, kind, forms) }
}

/// Whether a place can be understood only with the account's tags.
pub fn needs_tags(place: &str) -> bool {
    place.starts_with(TAG)
}

/// The custom fields and the users of an account, as far as the mapping needs them.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct KeapModel {
    pub fields: Vec<CustomField>,
    pub tags: Vec<Tag>,
    /// Each user's id and e-mail, in lower case.
    pub users: Vec<(String, String)>,
}

/// A tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    pub id: String,
    pub name: String,
}

impl Tag {
    /// Its place, by its id.
    pub(super) fn place(&self) -> String {
        format!("{TAG}{}", self.id)
    }
}

/// A custom field of a contact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomField {
    pub id: String,
    pub label: String,
    /// The name of its column. Early answers do not show it.
    pub name: Option<String>,
    /// Such as `TEXT` or `WHOLE_NUMBER`.
    pub kind: String,
    pub options: Vec<String>,
}

impl CustomField {
    /// The forms of its type; empty for a type that is never synced.
    fn forms(&self) -> &'static [Form] {
        match self.kind.as_str() {
            "TEXT" | "TEXT_AREA" | "NAME" | "WEBSITE" | "STATE" | "DROPDOWN" | "RADIO"
            | "MONTH" | "DAY_OF_WEEK" => &[Form::Text],
            "EMAIL" => &[Form::Email],
            "PHONE_NUMBER" => &[Form::Phone],
            "WHOLE_NUMBER" | "YEAR" => &[Form::Whole],
            "DECIMAL_NUMBER" | "CURRENCY" | "PERCENT" => &[Form::Decimal],
            "YES_NO" => &[Form::YesNo],
            "DATE" => &[Form::Day],
            "DATE_TIME" => &[Form::Time],
            "LIST_BOX" => &[Form::List],
            _ => &[],
        }
    }

    /// Whether Keap may show its content masked. A write would send the mask back.
    pub(super) fn is_masked(&self) -> bool {
        self.kind == "SOCIAL_SECURITY_NUMBER"
    }

    /// Its place, by its id.
    pub fn place(&self) -> String {
        format!("{CUSTOM}{}", self.id)
    }

    /// Its place for people: by its label, or by its id if another field has the same label.
    pub fn unique_place(&self, model: Option<&KeapModel>) -> String {
        let place = format!("{CUSTOM}{}", self.label);
        match holds(&place, model) {
            Ok(holds) if holds.place == self.place() => place,
            _ => self.place(),
        }
    }

    fn holds(&self) -> Result<Holds, Unfit> {
        match self.forms() {
            [] => Err(Unfit::now(format!(
                "the custom field {} has the type {}, which is never synced",
                self.label, self.kind
            ))),
            forms => {
                let options = (!self.options.is_empty()).then(|| self.options.clone());
                let kind = format!("a {} field", self.kind);
                let limit = forms.contains(&Form::Text).then_some(CUSTOM_LIMIT);
                let holds = Holds::of(self.place(), kind, forms);
                Ok(Holds { options, limit, may_vanish: true, ..holds })
            }
        }
    }
}

/// Whether a place can be understood only with the account's custom fields.
pub fn needs_fields(place: &str) -> bool {
    place.starts_with(CUSTOM)
}

/// Whether a place can be understood only with the account's users.
pub fn needs_users(place: &str) -> bool {
    place == "owner"
}

/// The places that every account has, for hints and lists.
pub fn standard_places() -> impl Iterator<Item = (&'static str, &'static str)> {
    let texts = TEXTS.iter().map(|name| (*name, "a text"));
    OTHERS.iter().map(|(name, kind, _)| (*name, *kind)).chain(texts)
}

/// What a place holds. `model`: the account's own fields, once they are known.
pub fn holds(place: &str, model: Option<&KeapModel>) -> Result<Holds, Unfit> {
    if let Some(name) = place.strip_prefix(CUSTOM) {
        let model = model.ok_or_else(|| Unfit::now("Keap has not shown its custom fields yet"))?;
        return custom(name.trim(), model)?.holds();
    }
    if let Some(name) = place.strip_prefix(TAG) {
        let model = model.ok_or_else(|| Unfit::now("Keap has not shown its tags yet"))?;
        let tag = tag(name.trim(), model)?;
        let place = format!("{TAG}{}", tag.id);
        return Ok(Holds { may_vanish: true, ..Holds::of(place, "a tag", &[Form::YesNo]) });
    }
    if let Some(part) = place.strip_prefix(ADDRESS) {
        return address(place, part);
    }
    if TEXTS.contains(&place) {
        return Ok(known(place, "a text", &[Form::Text]));
    }
    if let Some((name, kind, forms)) = OTHERS.iter().find(|(name, ..)| *name == place) {
        return Ok(known(name, kind, forms));
    }
    Err(Unfit::by_itself(match nearest(place, standard_places().map(|(name, _)| name)) {
        Some(near) => format!("Keap has no place {place}; did you mean {near}?"),
        None => format!(
            "Keap has no place {place}; a custom field is written {CUSTOM}{place}, and `keap-intercom-sync fields` lists every place"
        ),
    }))
}

fn address(place: &str, part: &str) -> Result<Holds, Unfit> {
    match part.split_once('.') {
        Some((kind, part)) if ADDRESS_KINDS.contains(&kind) && ADDRESS_PARTS.contains(&part) => {
            Ok(Holds { is_read_only: true, ..Holds::of(place, "a text", &[Form::Text]) })
        }
        _ => Err(Unfit::by_itself(format!(
            "Keap has no place {place}; an address is written {ADDRESS}<kind>.<part>, with the kinds {} and the parts {}",
            ADDRESS_KINDS.join(", "),
            ADDRESS_PARTS.join(", ")
        ))),
    }
}

/// Finds a tag by its name or its id.
pub fn tag<'a>(name: &str, model: &'a KeapModel) -> Result<&'a Tag, Unfit> {
    let ways: [&dyn Fn(&&Tag) -> bool; 3] =
        [&|tag| tag.name == name, &|tag| tag.id == name, &|tag| {
            tag.name.trim().to_lowercase() == name.to_lowercase()
        }];
    for way in ways {
        let mut found = model.tags.iter().filter(way);
        match (found.next(), found.next()) {
            (Some(tag), None) => return Ok(tag),
            (Some(one), Some(other)) => {
                return Err(Unfit::now(format!(
                    "Keap has several tags {name}; name one by its id, such as \"{}\" or \"{}\"",
                    one.id, other.id
                )));
            }
            (None, _) => {}
        }
    }
    Err(Unfit::now(match nearest(name, model.tags.iter().map(|tag| tag.name.as_str())) {
        Some(near) => format!("Keap has no tag {name}; did you mean {near}?"),
        None => format!("Keap has no tag {name}; make it there, or name another one"),
    }))
}

/// Finds a custom field by its column, its label or its id.
fn custom<'a>(name: &str, model: &'a KeapModel) -> Result<&'a CustomField, Unfit> {
    let fields = &model.fields;
    let same = |one: &str| one == name;
    let alike = |one: &str| one.trim().to_lowercase() == name.to_lowercase();
    let ways: [&dyn Fn(&&CustomField) -> bool; 5] = [
        &|field| field.name.as_deref().is_some_and(same),
        &|field| same(&field.label),
        &|field| same(&field.id),
        &|field| field.name.as_deref().is_some_and(alike),
        &|field| alike(&field.label),
    ];
    for way in ways {
        let mut found = fields.iter().filter(way);
        match (found.next(), found.next()) {
            (Some(field), None) => return Ok(field),
            (Some(one), Some(other)) => {
                return Err(Unfit::now(format!(
                    "Keap has several custom fields {name}; write {CUSTOM}{} or {CUSTOM}{}",
                    one.id, other.id
                )));
            }
            (None, _) => {}
        }
    }
    let names = fields.iter().flat_map(|field| [Some(field.label.as_str()), field.name.as_deref()]);
    Err(Unfit::now(match nearest(name, names.flatten()) {
        Some(near) => format!("Keap has no custom field {name}; did you mean {CUSTOM}{near}?"),
        None => format!(
            "Keap has no custom field {name}; `keap-intercom-sync fields` lists those it has"
        ),
    }))
}

/// A custom field that a place names and the account lacks.
pub struct NewField<'a> {
    pub label: &'a str,
    /// A field with a similar name.
    pub near: Option<String>,
}

/// The custom field that this place names, if the account has none of that name. An id and the name
/// of a column are given by Keap.
pub fn missing_field<'a>(place: &'a str, model: &KeapModel) -> Option<NewField<'a>> {
    let label = place.strip_prefix(CUSTOM)?.trim();
    let is_given = label.starts_with('_') || label.bytes().all(|byte| byte.is_ascii_digit());
    let alike = |known: &str| known.trim().to_lowercase() == label.to_lowercase();
    let is_there = model
        .fields
        .iter()
        .any(|field| alike(&field.label) || field.name.as_deref().is_some_and(alike));
    if is_given || is_there {
        return None;
    }
    let labels = model.fields.iter().map(|field| field.label.as_str());
    Some(NewField { label, near: nearest(label, labels).map(str::to_owned) })
}

/// Keap's description of its contacts.
#[derive(Deserialize)]
pub(super) struct ModelWire {
    #[serde(deserialize_with = "lenient::filled")]
    custom_fields: Vec<FieldWire>,
}

#[derive(Deserialize)]
struct FieldWire {
    #[serde(deserialize_with = "lenient::needed_text")]
    id: String,
    #[serde(default, deserialize_with = "lenient::text")]
    label: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    field_name: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    field_type: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    record_type: Option<String>,
    #[serde(default, deserialize_with = "lenient::readable")]
    options: Option<Vec<OptionWire>>,
}

/// An option is an object with a label; a bare text is taken too.
#[derive(Deserialize)]
#[serde(untagged)]
enum OptionWire {
    Labelled { label: String },
    Bare(String),
}

impl ModelWire {
    pub(super) fn fields(self) -> Vec<CustomField> {
        let is_of_contact = |field: &FieldWire| {
            field.record_type.as_deref().is_none_or(|kind| kind.eq_ignore_ascii_case("CONTACT"))
        };
        let own = self.custom_fields.into_iter().filter(is_of_contact);
        own.map(|field| CustomField {
            label: field.label.unwrap_or_else(|| field.id.clone()),
            id: field.id,
            name: field.field_name,
            kind: upper_case(&field.field_type.unwrap_or_default()),
            options: field
                .options
                .unwrap_or_default()
                .into_iter()
                .map(|option| match option {
                    OptionWire::Labelled { label } | OptionWire::Bare(label) => label,
                })
                .collect(),
        })
        .collect()
    }
}

/// The one spelling of a word that Keap writes `WHOLE_NUMBER` in one version of its API and
/// `WholeNumber` in another.
pub(super) fn upper_case(word: &str) -> String {
    if word.chars().all(|c| !c.is_ascii_lowercase()) {
        return word.to_owned();
    }
    let mut upper = String::with_capacity(word.len() + 4);
    for (at, c) in word.char_indices() {
        if at > 0 && c.is_ascii_uppercase() && !upper.ends_with('_') {
            upper.push('_');
        }
        upper.push(c.to_ascii_uppercase());
    }
    upper
}

/// A page of the account's tags.
#[derive(Deserialize)]
pub(super) struct TagsWire {
    #[serde(deserialize_with = "lenient::filled")]
    tags: Vec<TagWire>,
    #[serde(default, deserialize_with = "lenient::text")]
    pub next_page_token: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct TagWire {
    #[serde(deserialize_with = "lenient::needed_text")]
    pub id: String,
    #[serde(default, deserialize_with = "lenient::text")]
    pub name: Option<String>,
}

impl TagsWire {
    pub(super) fn tags(self) -> impl Iterator<Item = Tag> {
        self.tags.into_iter().filter_map(|tag| Some(Tag { id: tag.id, name: tag.name? }))
    }
}

/// A page of the contacts with a tag.
#[derive(Deserialize)]
pub(super) struct TaggedWire {
    #[serde(deserialize_with = "lenient::filled")]
    contacts: Vec<TaggedContact>,
    #[serde(default, deserialize_with = "lenient::text")]
    pub next_page_token: Option<String>,
}

#[derive(Deserialize)]
struct TaggedContact {
    #[serde(default, deserialize_with = "lenient::text")]
    id: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    applied_time: Option<String>,
}

impl TaggedWire {
    /// The contacts, each with the time of the tag. One that cannot be read is left to the sweep.
    pub(super) fn applied(self) -> Vec<Applied> {
        let read = |one: TaggedContact| {
            let contact = one.id?.trim().parse().ok()?;
            Some(Applied { contact, at: lenient::instant(&one.applied_time?)? })
        };
        self.contacts.into_iter().filter_map(read).collect()
    }
}

/// A page of the account's users.
#[derive(Deserialize)]
pub(super) struct UsersWire {
    #[serde(deserialize_with = "lenient::filled")]
    users: Vec<UserWire>,
    #[serde(default, deserialize_with = "lenient::text")]
    pub next_page_token: Option<String>,
}

#[derive(Deserialize)]
struct UserWire {
    #[serde(deserialize_with = "lenient::needed_text")]
    id: String,
    #[serde(default, deserialize_with = "lenient::text")]
    email: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    email_address: Option<String>,
    #[serde(default, deserialize_with = "lenient::readable")]
    email_addresses: Option<Vec<EmailWire>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum EmailWire {
    Object { email: Option<String> },
    Bare(String),
}

impl UsersWire {
    /// The id of each user, with each of its e-mails in lower case.
    pub(super) fn users(self) -> impl Iterator<Item = (String, String)> {
        self.users.into_iter().flat_map(|user| {
            let listed = user.email_addresses.unwrap_or_default().into_iter();
            let listed = listed.filter_map(|email| match email {
                EmailWire::Object { email } => email,
                EmailWire::Bare(email) => Some(email),
            });
            let emails: Vec<String> =
                user.email.into_iter().chain(user.email_address).chain(listed).collect();
            let id = user.id;
            emails.into_iter().map(move |email| (id.clone(), email.trim().to_lowercase()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn model() -> KeapModel {
        let wire: ModelWire = serde_json::from_value(json!({ "custom_fields": [
            { "id": 12, "label": "Plan", "field_name": "Plan0", "field_type": "DROPDOWN", "record_type": "CONTACT",
              "options": [{ "id": "1", "label": "Gold" }, "Silver"] },
            { "id": "13", "label": "Lead score", "field_type": "WholeNumber", "record_type": null, "options": null },
            { "id": "14", "label": "Twin", "field_type": "TEXT" },
            { "id": "15", "label": "Twin", "field_type": "TEXT" },
            { "id": "16", "label": "SSN", "field_type": "SOCIAL_SECURITY_NUMBER" },
            { "id": "17", "label": "Size", "field_type": "TEXT", "record_type": "COMPANY" },
            null,
        ] }))
        .unwrap();
        KeapModel { fields: wire.fields(), ..KeapModel::default() }
    }

    fn place(name: &str) -> Result<String, String> {
        holds(name, Some(&model())).map(|holds| holds.place).map_err(|unfit| unfit.why)
    }

    #[test]
    fn a_custom_field_is_found_by_column_label_and_id() {
        for name in ["Plan0", "Plan", "12", "plan", "PLAN0", " Plan "] {
            assert_eq!(place(&format!("custom:{name}")).as_deref(), Ok("custom:12"), "{name}");
        }
        assert_eq!(model().fields[0].options, ["Gold", "Silver"]);
        assert_eq!(model().fields[1].kind, "WHOLE_NUMBER");
    }

    #[test]
    fn a_place_that_cannot_be_used_says_why_and_names_the_nearest() {
        for (name, why) in [
            ("custom:Plam", "Keap has no custom field Plam; did you mean custom:Plan?"),
            (
                "custom:Size",
                "Keap has no custom field Size; `keap-intercom-sync fields` lists those it has",
            ),
            ("custom:Twin", "Keap has several custom fields Twin; write custom:14 or custom:15"),
            (
                "custom:SSN",
                "the custom field SSN has the type SOCIAL_SECURITY_NUMBER, which is never synced",
            ),
            ("job_titel", "Keap has no place job_titel; did you mean job_title?"),
            (
                "addresses.billing",
                "Keap has no place addresses.billing; a custom field is written custom:addresses.billing, and `keap-intercom-sync fields` lists every place",
            ),
            (
                "address.home.line1",
                "Keap has no place address.home.line1; an address is written address.<kind>.<part>, with the kinds billing, shipping, other and the parts line1, line2, locality, region, region_code, postal_code, zip_code, zip_four, country, country_code",
            ),
        ] {
            assert_eq!(place(name).unwrap_err(), why);
        }
        assert!(holds("job_titel", None).unwrap_err().by_itself);
        assert!(!holds("custom:Plan", None).unwrap_err().by_itself);
    }

    #[test]
    fn every_standard_place_holds_something() {
        for (name, _) in standard_places() {
            assert!(!holds(name, None).unwrap().forms.is_empty(), "{name}");
        }
        assert_eq!(place("address.billing.locality").as_deref(), Ok("address.billing.locality"));
    }

    #[test]
    fn users_are_known_by_every_address() {
        let wire: UsersWire = serde_json::from_value(json!({ "users": [
            { "id": 3, "email": " Ann@Shop.example " },
            { "id": "4", "email_addresses": [{ "email": "bob@shop.example" }, "b@shop.example"] },
        ] }))
        .unwrap();
        let users: Vec<_> = wire.users().collect();
        let user = |id: &str, email: &str| (id.to_owned(), email.to_owned());
        assert_eq!(
            users,
            [
                user("3", "ann@shop.example"),
                user("4", "bob@shop.example"),
                user("4", "b@shop.example")
            ]
        );
    }
}
