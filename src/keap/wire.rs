//! Keap's JSON in our words: only this file knows the names of its properties (`docs/api/keap.md`,
//! "Fields of a contact").

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::model::Row;
use super::places;
use crate::contact::{AsShown, Contact, FieldName, FieldPlace, Form, KeapId, Reading, Value, tidy};
use crate::mapping::{COMPANY, Filter, TAG};
use crate::remote::lenient::{Objects, Text, instant};

/// The place that says whether the address has opted out. No operator's mapping can name it.
pub const OPT_OUT: &str = "(opt-out)";
/// The place that says whether the filter leaves the contact out.
pub const LEFT: &str = "(left)";

/// The places of the mapped fields in a Keap contact.
pub(super) struct Places {
    fields: Vec<Field>,
    /// The properties with a single value that the fields are read from.
    properties: Vec<String>,
    /// What `fields=` asks for.
    list: String,
    filter: Filter,
    /// A contact may be written, so its own words are kept.
    keeps_words: bool,
}

struct Field {
    place: FieldPlace,
    source: Source,
}

/// Where the text of a field comes from. A number is an index into [`Places::properties`].
enum Source {
    /// The first address that is usable, by slot: EMAIL1 comes before EMAIL2.
    Email,
    /// The first number that is usable, by slot, in E.164 if Keap has that.
    Phone,
    /// Given and family name.
    Name(usize, usize),
    /// A property of this name.
    Property(usize),
    /// The id of the contact.
    Id,
    /// The name of the linked company.
    Company,
    /// The id and the name of the linked company.
    CompanyObject,
    /// A part of the address of this kind.
    Address(String, String),
    /// The custom field with this id.
    Custom(String),
    /// Whether the contact has the tag with this id.
    Tag(String),
    /// Whether the address that [`Source::Email`] takes has opted out.
    OptOut,
    /// Whether the filter leaves the contact out.
    Left,
}

impl Places {
    /// The places as [`super::places::holds`] spells them. Any other place is the name of a
    /// property.
    pub(super) fn new(fields: &[FieldPlace], filter: Filter) -> Self {
        let mut properties: Vec<String> = Vec::new();
        let mut index_of = |name: &str| {
            properties.iter().position(|known| known == name).unwrap_or_else(|| {
                properties.push(name.to_owned());
                properties.len() - 1
            })
        };
        let mut source = |place: &str| match place {
            "email" => Source::Email,
            "phone" => Source::Phone,
            "name" => Source::Name(index_of("given_name"), index_of("family_name")),
            "id" => Source::Id,
            "company" => Source::Company,
            COMPANY => Source::CompanyObject,
            "owner" => Source::Property(index_of("owner_id")),
            OPT_OUT => Source::OptOut,
            LEFT => Source::Left,
            place => match (
                place.strip_prefix("custom:"),
                place.strip_prefix("address."),
                place.strip_prefix(TAG),
            ) {
                (Some(id), ..) => Source::Custom(id.to_owned()),
                (.., Some(id)) => Source::Tag(id.to_owned()),
                (_, Some(part), _) => {
                    let (kind, part) = part.split_once('.').unwrap_or((part, ""));
                    Source::Address(kind.to_owned(), part.to_owned())
                }
                _ => Source::Property(index_of(place)),
            },
        };
        let mut fields: Vec<Field> = fields
            .iter()
            .map(|field| Field { source: source(&field.place), place: field.clone() })
            .collect();
        // A contact sorts its fields by name, which costs nothing if they come so.
        fields.sort_by(|one, other| one.place.field.cmp(&other.place.field));
        let list = list(&properties, &fields, &filter);
        let keeps_words = fields.iter().any(|field| field.place.is_written);
        Self { fields, properties, list, filter, keeps_words }
    }

    /// The place of no field: only the id and the stamp show whether a contact is there, and since
    /// when.
    pub(super) fn none() -> Self {
        Self::new(&[], Filter::default())
    }

    /// The ids of the tags that are mapped, or that the filter names.
    pub(super) fn tags(&self) -> Vec<String> {
        let tag = |field: &Field| match &field.source {
            Source::Tag(id) => Some(id.clone()),
            _ => None,
        };
        let mapped = self.fields.iter().filter_map(tag);
        let all = mapped.chain(self.filter.tags().cloned());
        all.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// The places of the relations alone, for walks that compare stamps.
    pub(super) fn relations(fields: &[FieldPlace], filter: Filter) -> Self {
        let relations = fields.iter().filter(|field| field.is_relation);
        Self::new(&relations.cloned().collect::<Vec<_>>(), filter)
    }

    /// The id of the tag that a field is read from, if it may be written.
    pub(super) fn tag_of(&self, field: &FieldName) -> Option<String> {
        let place = self.fields.iter().find(|known| known.place.field == *field)?;
        match &place.source {
            Source::Tag(id) if place.place.is_written => Some(id.clone()),
            _ => None,
        }
    }

    /// The fields that are read from tags, each with the id of the tag.
    pub(super) fn mapped_tags(&self) -> impl Iterator<Item = (&FieldName, &str)> {
        self.fields.iter().filter_map(|field| match &field.source {
            Source::Tag(id) => Some((&field.place.field, id.as_str())),
            _ => None,
        })
    }

    /// The fields that are read from custom fields, each with the id of that one.
    pub(super) fn custom(&self) -> impl Iterator<Item = (&FieldName, &str)> {
        self.fields.iter().filter_map(|field| match &field.source {
            Source::Custom(id) => Some((&field.place.field, id.as_str())),
            _ => None,
        })
    }

    /// The value of `fields=`. Without it Keap shows ids and names only (`docs/api/keap.md`,
    /// "Fields of a contact").
    pub(super) fn list(&self) -> &str {
        &self.list
    }

    /// Reads one contact. Only its id must be there in a known form: any other value that cannot be
    /// read counts as absent. A contact that cannot be read harms no other.
    pub(super) fn row(&self, json: &str) -> Row {
        let unreadable = |why| Row::Unreadable { id: None, updated_at: None, why };
        let mut deserializer = serde_json::Deserializer::from_str(json);
        let read = Reader(&self.properties).deserialize(&mut deserializer).and_then(|wire| {
            deserializer.end()?;
            Ok(wire)
        });
        let wire = match read {
            Ok(wire) => wire,
            // The parser's own text may quote the contact.
            Err(error) => {
                return unreadable(format!(
                    "Keap shows this contact in a form that is not understood (column {})",
                    error.column()
                ));
            }
        };
        let Some(id) = id(&wire.id) else {
            return unreadable("Keap shows a contact whose id is no positive whole number".into());
        };
        let in_scope = wire.is_in_scope(&self.filter);
        let readings = |relations: bool| {
            let own = self.fields.iter().filter(move |field| field.place.is_relation == relations);
            own.map(|field| {
                let reading = match field.source {
                    Source::Left => field.place.form.read((!in_scope).then_some("true")),
                    _ => wire.reading(field),
                };
                (field.place.field.clone(), reading)
            })
            .collect()
        };
        Row::Contact(Contact {
            updated_at: wire.update_time.instant(),
            relations: readings(true),
            in_scope,
            as_shown: if self.keeps_words { AsShown::now(json) } else { AsShown::default() },
            ..Contact::showing(id, readings(false))
        })
    }
}

/// Single properties first, then lists.
type IsRead = fn(&Source) -> bool;

fn list(properties: &[String], fields: &[Field], filter: &Filter) -> String {
    let reads = |source: fn(&Source) -> bool| fields.iter().any(|field| source(&field.source));
    let mut names = vec!["id"];
    names.extend(properties.iter().map(String::as_str));
    let lists: [(&str, IsRead); 6] = [
        ("email_addresses", |source| matches!(source, Source::Email | Source::OptOut)),
        ("phone_numbers", |source| matches!(source, Source::Phone)),
        ("company", |source| matches!(source, Source::Company | Source::CompanyObject)),
        ("addresses", |source| matches!(source, Source::Address(..))),
        ("custom_fields", |source| matches!(source, Source::Custom(_))),
        ("tag_ids", |source| matches!(source, Source::Tag(_))),
    ];
    let is_filtered_by = |name: &str| match name {
        "email_addresses" => !filter.domains.is_empty(),
        "tag_ids" => filter.needs_tags(),
        _ => false,
    };
    let asked = lists.iter().filter(|(name, is_read)| reads(*is_read) || is_filtered_by(name));
    names.extend(asked.map(|(name, _)| *name));
    names.push("update_time");
    names.join(",")
}

/// A page of contacts. `contacts` must be there: an answer without it is not an empty list.
#[derive(Deserialize)]
pub(super) struct List<'a> {
    #[serde(borrow, deserialize_with = "null_or_list")]
    pub contacts: Option<Vec<&'a RawValue>>,
    #[serde(borrow, default)]
    next_page_token: Text<'a>,
}

/// Serde reads a missing `Option` as null, unless a function reads it.
fn null_or_list<'de, D: serde::Deserializer<'de>>(
    input: D,
) -> Result<Option<Vec<&'de RawValue>>, D::Error> {
    Option::deserialize(input)
}

impl List<'_> {
    /// The token alone. Keap sometimes sends a whole URL; its host is never called
    /// (`docs/api/keap.md`, "Pages and tokens").
    pub(super) fn next_token(&self) -> Option<String> {
        let token = self.next_page_token.get().map(str::trim)?;
        // A token that counts or names rows is 0 when there is none.
        if matches!(token, "" | "0") {
            return None;
        }
        let Ok(url) = url::Url::parse(token) else {
            return Some(token.to_owned());
        };
        if !matches!(url.scheme(), "http" | "https") {
            return Some(token.to_owned());
        }
        url.query_pairs()
            .find(|(name, _)| name == "page_token")
            .map(|(_, value)| value.into_owned())
            .filter(|value| !value.is_empty())
    }
}

/// The id, which comes as a number in one call and as a text in the next.
fn id(text: &Text<'_>) -> Option<KeapId> {
    text.get()?.trim().parse().ok()
}

/// One contact as Keap shows it, as far as the places need it.
struct ContactWire<'de> {
    id: Text<'de>,
    update_time: Text<'de>,
    /// In the order of [`Places::properties`].
    properties: Vec<Text<'de>>,
    /// Both in the order of their slots.
    emails: Objects<EmailWire<'de>>,
    phones: Objects<PhoneWire<'de>>,
    company: Option<&'de RawValue>,
    addresses: Objects<HashMap<Cow<'de, str>, Text<'de>>>,
    customs: Objects<CustomWire<'de>>,
    tags: Option<&'de RawValue>,
}

impl ContactWire<'_> {
    fn reading(&self, field: &Field) -> Reading {
        let form = field.place.form;
        let reading = match &field.source {
            Source::Email => self.email(form),
            Source::Phone => self.phone(form),
            Source::Name(given, family) => self.name(*given, *family, form),
            Source::Property(index) => read(self.property(*index), form),
            Source::Id => read(&self.id, form),
            Source::Company => self.company(form),
            Source::CompanyObject => self.company_object(form),
            Source::Address(kind, part) => self.address(kind, part, form),
            Source::Custom(id) => self.custom(id, form),
            Source::Tag(id) => self.tag(id, form),
            Source::OptOut => self.opt_out(form),
            Source::Left => Reading::Empty,
        };
        field.place.fit(reading)
    }

    fn company(&self, form: Form) -> Reading {
        let Some(company) = self.company else {
            return Reading::Empty;
        };
        match serde_json::from_str::<CompanyWire<'_>>(company.get()) {
            Ok(company) => read(&company.company_name, form),
            Err(_) => Reading::Invalid,
        }
    }

    /// The id, a blank and the name. A company without a name has its id for one.
    fn company_object(&self, form: Form) -> Reading {
        let Some(company) = self.company else {
            return Reading::Empty;
        };
        let Ok(company) = serde_json::from_str::<CompanyWire<'_>>(company.get()) else {
            return Reading::Invalid;
        };
        let id = company.id.get().map(str::trim).filter(|id| !matches!(*id, "" | "0"));
        let name = company.company_name.get().and_then(tidy);
        let object = id.map(|id| format!("{id} {}", name.as_deref().unwrap_or(id)));
        form.read(object.as_deref())
    }

    fn address(&self, kind: &str, part: &str, form: Form) -> Reading {
        let is_kind = |address: &&HashMap<Cow<'_, str>, Text<'_>>| {
            let shown = address.get("field").and_then(Text::get);
            shown.is_some_and(|shown| shown.trim().eq_ignore_ascii_case(kind))
        };
        match self.addresses.readable.iter().find(is_kind) {
            Some(address) => read(address.get(part).unwrap_or(&Text::Absent), form),
            None if self.addresses.others => Reading::Invalid,
            None => Reading::Empty,
        }
    }

    fn custom(&self, id: &str, form: Form) -> Reading {
        let is_it = |custom: &&CustomWire<'_>| custom.id.get().map(str::trim) == Some(id);
        match self.customs.readable.iter().find(is_it) {
            Some(custom) => content(custom.content, form),
            None if self.customs.others => Reading::Invalid,
            None => Reading::Empty,
        }
    }

    /// Whether the filter lets the contact in. One whose tags cannot be read stays where it is.
    fn is_in_scope(&self, filter: &Filter) -> bool {
        if filter.is_open() {
            return true;
        }
        let tags = self.tags.map_or(Some(Vec::new()), |tags| {
            serde_json::from_str::<Vec<Text<'_>>>(tags.get()).ok()
        });
        let Some(tags) = tags else {
            return true;
        };
        let has = |id: &str| tags.iter().any(|tag| tag.get().map(str::trim) == Some(id));
        let email = match self.email(Form::Email) {
            Reading::Is(Value::Email(email)) => Some(email),
            _ => None,
        };
        filter.lets_in(has, email.as_ref())
    }

    /// Whether the contact has the tag. A tag that it does not have is an empty field.
    fn tag(&self, id: &str, form: Form) -> Reading {
        let Some(tags) = self.tags else {
            return Reading::Empty;
        };
        match serde_json::from_str::<Vec<Text<'_>>>(tags.get()) {
            Ok(tags) => {
                let has = tags.iter().any(|tag| tag.get().map(str::trim) == Some(id));
                form.read(has.then_some("true"))
            }
            Err(_) => Reading::Invalid,
        }
    }

    /// Whether the address has opted out. Everything else is empty: only an opt-out travels.
    fn opt_out(&self, form: Form) -> Reading {
        let is_usable =
            |email: &&EmailWire<'_>| matches!(read(&email.email, Form::Email), Reading::Is(_));
        let ours = self.emails.readable.iter().find(is_usable);
        let status = ours.and_then(|email| email.email_opt_status.get()).unwrap_or_default();
        let status = places::upper_case(status.trim());
        form.read(OPTED_OUT.contains(&status.as_str()).then_some("true"))
    }

    fn property(&self, index: usize) -> &Text<'_> {
        self.properties.get(index).unwrap_or(&Text::Absent)
    }

    /// The order of the list means nothing, so a new order is no change.
    fn email(&self, form: Form) -> Reading {
        let readings = self.emails.readable.iter().map(|email| read(&email.email, form));
        first(readings, self.emails.others, |_| true)
    }

    fn phone(&self, form: Form) -> Reading {
        let numbers =
            self.phones.readable.iter().flat_map(|phone| [&phone.number_e164, &phone.number]);
        let readings = numbers.map(|number| read(number, form));
        // "Ask her" is no number.
        first(readings, self.phones.others, |number| number.chars().any(char::is_numeric))
    }

    fn name(&self, given: usize, family: usize, form: Form) -> Reading {
        let parts = [self.property(given), self.property(family)];
        let mut filled = parts.iter().filter_map(|part| part.get().and_then(tidy));
        match (filled.next(), filled.next()) {
            (Some(given), Some(family)) => form.read(Some(&format!("{given} {family}"))),
            (Some(part), None) => form.read(Some(&part)),
            _ if parts.contains(&&Text::Unreadable) => Reading::Invalid,
            _ => Reading::Empty,
        }
    }
}

/// The statuses by which a person has opted out (`docs/api/keap.md`, "Consent"). An address that
/// bounces, or that may not be mailed yet, has not opted out.
pub(super) const OPTED_OUT: [&str; 6] =
    ["MANUAL", "ADMIN", "SYSTEM", "LIST_UNSUBSCRIBE", "FEEDBACK", "SPAM"];

/// The status of an address.
#[derive(Deserialize)]
pub(super) struct OptStatus<'a> {
    #[serde(borrow, default)]
    status: Text<'a>,
    #[serde(default)]
    opted_in: Option<bool>,
}

impl OptStatus<'_> {
    /// Whether the address has opted out, or may not be mailed for another reason.
    pub(super) fn is_out(&self) -> bool {
        let status = places::upper_case(self.status.get().unwrap_or_default().trim());
        self.opted_in == Some(false) || OPTED_OUT.contains(&status.as_str())
    }
}

/// Reads a single value. One that cannot be read says nothing of the person, so the other side
/// keeps its value.
fn read(text: &Text<'_>, form: Form) -> Reading {
    match (text, form) {
        (Text::Absent, _) => Reading::Empty,
        (Text::Unreadable, _) => Reading::Invalid,
        (Text::Is(text), Form::Time) if tidy(text).is_some() => {
            let seconds = instant(text).map(|at| at.timestamp().to_string());
            seconds.map_or(Reading::Invalid, |seconds| form.read(Some(&seconds)))
        }
        (Text::Is(text), form) => form.read(Some(text)),
    }
}

/// Reads the content of a custom field, which may be any JSON.
fn content(content: Option<&RawValue>, form: Form) -> Reading {
    let json = content.map_or("null", RawValue::get);
    match json.as_bytes() {
        b"true" | b"false" => form.read(Some(json)),
        [b'[', ..] => match (serde_json::from_str::<Vec<Text<'_>>>(json), form) {
            (Ok(items), _) if items.iter().all(|item| *item == Text::Absent) => Reading::Empty,
            (Ok(items), Form::List) if !items.contains(&Text::Unreadable) => {
                Form::read_list(items.iter().filter_map(|item| item.get()).map(Cow::Borrowed))
            }
            (Ok(items), form) if items.len() == 1 => read(&items[0], form),
            _ => Reading::Invalid,
        },
        _ => serde_json::from_str::<Text<'_>>(json)
            .map_or(Reading::Invalid, |text| read(&text, form)),
    }
}

/// The first value that is usable, else the first value. Without a value: invalid if there was
/// anything, else empty.
fn first(
    readings: impl Iterator<Item = Reading>,
    mut others: bool,
    is_usable: impl Fn(&str) -> bool,
) -> Reading {
    let mut unusable = None;
    for reading in readings {
        match &reading {
            Reading::Is(value) if is_usable(value.as_str()) => return reading,
            Reading::Is(_) => drop(unusable.get_or_insert(reading)),
            Reading::Invalid => others = true,
            Reading::Empty => {}
        }
    }
    unusable.unwrap_or(if others { Reading::Invalid } else { Reading::Empty })
}

/// Reads a contact with these properties.
struct Reader<'a>(&'a [String]);

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = ContactWire<'de>;

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<Self::Value, D::Error> {
        input.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = ContactWire<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a contact")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut properties: Vec<_> = self.0.iter().map(|_| Text::Absent).collect();
        let (mut id, mut update_time) = (None, Text::Absent);
        let (mut emails, mut phones) =
            (Objects::<EmailWire<'_>>::default(), Objects::<PhoneWire<'_>>::default());
        let (mut company, mut addresses, mut customs, mut tags) =
            (None, Objects::default(), Objects::default(), None);
        while let Some(Key(key)) = map.next_key()? {
            match &*key {
                "id" => id = Some(map.next_value()?),
                "update_time" => update_time = map.next_value()?,
                "email_addresses" => emails = map.next_value()?,
                "phone_numbers" => phones = map.next_value()?,
                "company" => company = map.next_value()?,
                "addresses" => addresses = map.next_value()?,
                "custom_fields" => customs = map.next_value()?,
                "tag_ids" => tags = map.next_value()?,
                name => match self.0.iter().position(|known| known == name) {
                    Some(index) => properties[index] = map.next_value()?,
                    None => drop(map.next_value::<IgnoredAny>()?),
                },
            }
        }
        emails.readable.sort_by_key(|email| slot(&email.field));
        phones.readable.sort_by_key(|phone| slot(&phone.field));
        let id = id.ok_or_else(|| A::Error::missing_field("id"))?;
        Ok(ContactWire {
            id,
            update_time,
            properties,
            emails,
            phones,
            company,
            addresses,
            customs,
            tags,
        })
    }
}

#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Deserialize)]
struct EmailWire<'a> {
    #[serde(borrow, default)]
    email: Text<'a>,
    #[serde(borrow, default)]
    field: Text<'a>,
    #[serde(borrow, default)]
    email_opt_status: Text<'a>,
}

#[derive(Deserialize)]
struct CompanyWire<'a> {
    #[serde(borrow, default)]
    id: Text<'a>,
    #[serde(borrow, default)]
    company_name: Text<'a>,
}

#[derive(Deserialize)]
struct CustomWire<'a> {
    #[serde(borrow, default)]
    id: Text<'a>,
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct PhoneWire<'a> {
    #[serde(borrow, default)]
    number: Text<'a>,
    #[serde(borrow, default)]
    number_e164: Text<'a>,
    #[serde(borrow, default)]
    field: Text<'a>,
}

/// The number of a slot: 2 for `EMAIL2`. A value without one comes after all slots.
fn slot(field: &Text<'_>) -> u32 {
    let name = field.get().unwrap_or_default().trim();
    let number = name.trim_start_matches(|c: char| !c.is_ascii_digit());
    number.parse().unwrap_or(u32::MAX)
}

/// The tenant of the key. The answer also holds a person, which is not read.
#[derive(Deserialize)]
pub(super) struct UserInfo<'a> {
    #[serde(borrow, default)]
    tenant_id: Text<'a>,
}

impl UserInfo<'_> {
    pub(super) fn tenant(self) -> Option<String> {
        self.tenant_id.get().filter(|tenant| !tenant.is_empty()).map(str::to_owned)
    }
}

/// A refusal, without its message, which may quote a contact.
#[derive(Deserialize)]
pub(super) struct Refusal {
    #[serde(default)]
    pub status: Option<String>,
}

mod new;
#[cfg(test)]
mod tests;
mod write;

pub use write::Change;
