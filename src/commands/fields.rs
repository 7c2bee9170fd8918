//! `fields`: shows what both accounts hold, and writes a first mapping.

use clap::Subcommand;
use serde_json::json;

use super::fields_create::create;
use super::{Ended, WELL, exit};
use crate::app::{self, Models, Needs};
use crate::config::{Needed, Settings};
use crate::intercom::{self, Attribute};
use crate::keap::{self, CustomField};

#[derive(Debug, Subcommand)]
pub enum FieldsCommand {
    /// Make the custom fields in Keap that a [[field]] names and Keap lacks, and the attributes in
    /// Intercom that fields with create_attribute = true need. Shows them and asks first.
    Create {
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
}

pub async fn run(
    settings: &Settings,
    command: Option<FieldsCommand>,
    toml: bool,
    json: bool,
) -> Ended {
    settings.require(&[Needed::KeapApiKey, Needed::IntercomAccessToken])?;
    let fitting = app::fitting(settings, app::mapping(settings)?)?;
    let models = Models::learn(Needs::ALL, &fitting.keap, &fitting.intercom).await?;
    match command {
        Some(FieldsCommand::Create { yes }) => create(&fitting, &models, yes).await,
        None if toml => {
            out!("{}", first_mapping(&models));
            exit(WELL)
        }
        None if json => {
            out!("{}\n", document(&models));
            exit(WELL)
        }
        None => {
            out!("{}", side_by_side(&lines_of_keap(&models), &lines_of_intercom(&models)));
            exit(WELL)
        }
    }
}

/// A place and what it holds.
type Line = (String, String);

fn fields(models: &Models) -> impl Iterator<Item = &CustomField> {
    models.keap.iter().flat_map(|model| &model.fields)
}

fn attributes(models: &Models) -> impl Iterator<Item = &Attribute> {
    let all = models.intercom.iter().flat_map(|model| &model.attributes);
    all.filter(|attribute| !attribute.is_archived)
}

fn lines_of_keap(models: &Models) -> Vec<Line> {
    let standard = keap::standard_places().map(|(name, kind)| (name.to_owned(), kind.to_owned()));
    let addresses = [("address.<kind>.<part>".to_owned(), "a text".to_owned())];
    let custom = fields(models).map(|field| {
        let synced = keap::holds(&field.place(), models.keap.as_ref());
        let remark = if synced.is_ok() { "" } else { ", never synced" };
        (format!("custom:{}", field.label), format!("{}{remark}", field.kind))
    });
    standard.chain(addresses).chain(custom).collect()
}

fn lines_of_intercom(models: &Models) -> Vec<Line> {
    let standard =
        intercom::standard_places().map(|(name, kind)| (name.to_owned(), kind.to_owned()));
    let attributes = attributes(models).map(|attribute| {
        let remark = match (&attribute.options, attribute.is_writable) {
            (_, false) => ", not writable".to_owned(),
            (Some(options), true) => format!(", {} options", options.len()),
            (None, true) => String::new(),
        };
        (format!("attribute:{}", attribute.name), format!("{}{remark}", attribute.kind))
    });
    standard.chain(attributes).collect()
}

/// Both lists beside each other.
fn side_by_side(keap: &[Line], intercom: &[Line]) -> String {
    let width = |lines: &[Line], of: fn(&Line) -> &String| {
        lines.iter().map(|line| of(line).chars().count()).max().unwrap_or(0)
    };
    let (place, kind) = (width(keap, |line| &line.0), width(keap, |line| &line.1));
    let place_in_intercom = width(intercom, |line| &line.0);
    let mut out = format!("{:<place$}  {:<kind$}  INTERCOM\n", "KEAP", "");
    for at in 0..keap.len().max(intercom.len()) {
        let empty = (String::new(), String::new());
        let (left, right) = (keap.get(at).unwrap_or(&empty), intercom.get(at).unwrap_or(&empty));
        let line = format!(
            "{:<place$}  {:<kind$}  {:<place_in_intercom$}  {}",
            left.0, left.1, right.0, right.1
        );
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

fn document(models: &Models) -> serde_json::Value {
    let list = |lines: Vec<Line>| -> serde_json::Value {
        lines.into_iter().map(|(place, kind)| json!({ "place": place, "type": kind })).collect()
    };
    json!({ "keap": list(lines_of_keap(models)), "intercom": list(lines_of_intercom(models)) })
}

/// A mapping to begin with: the built-in fields, the pairs of equal names, and every other custom
/// field as a comment.
fn first_mapping(models: &Models) -> String {
    let mut out = String::from(
        "# A first mapping. Copy it into the settings file, and change what you like.\n# docs/fields.md explains every key. Without any [[field]], the first three are synced.\n",
    );
    let mut add = |keap: &str, intercom: &str, more: &str, is_comment: bool| {
        let mark = if is_comment { "#" } else { "" };
        let [keap, intercom] = [keap, intercom].map(toml_text);
        out.extend([format!(
            "\n{mark}[[field]]\n{mark}keap = {keap}\n{mark}intercom = {intercom}\n"
        )]);
        if !more.is_empty() {
            out.extend([mark, more, "\n"]);
        }
    };
    for name in ["email", "name", "phone"] {
        add(name, name, "", false);
    }
    let standard = keap::standard_places().map(|(name, _)| (name.to_owned(), name.to_owned()));
    let standard: Vec<(String, String)> = standard
        .filter(|(name, _)| !["email", "name", "phone", "owner", "id"].contains(&name.as_str()))
        .collect();
    let custom = fields(models).map(|field| (field.place(), attribute_for(&field.label)));
    for (place, name) in standard.into_iter().chain(custom) {
        let Ok(holds) = keap::holds(&place, models.keap.as_ref()) else {
            continue;
        };
        let label = fields(models).find(|field| field.place() == place);
        let shown = label.map_or(place.clone(), |field| field.unique_place(models.keap.as_ref()));
        let twin = attributes(models).find(|attribute| attribute_for(&attribute.name) == name);
        let target = twin.map_or(name, |attribute| attribute.name.clone());
        let target = format!("attribute:{target}");
        let fits = intercom::holds(&target, models.intercom.as_ref())
            .is_ok_and(|takes| holds.forms.iter().any(|form| takes.forms.contains(form)));
        if fits {
            add(&shown, &target, "", false);
        } else if twin.is_none() && label.is_some() {
            add(&shown, &target, "create_attribute = true", true);
        }
    }
    out
}

/// A text in TOML. Its basic strings have the escapes of JSON.
fn toml_text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The name of the attribute that fits a label: Intercom allows letters, digits, - and _.
fn attribute_for(label: &str) -> String {
    let plain: String = label
        .trim()
        .to_lowercase()
        .chars()
        .map(|c| if c.is_alphanumeric() || c == '-' { c } else { '_' })
        .collect();
    plain.trim_matches('_').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_becomes_a_name_that_intercom_allows() {
        for (label, name) in [
            ("Lead Score", "lead_score"),
            (" T-Shirt (size) ", "t-shirt__size"),
            ("Größe", "größe"),
        ] {
            assert_eq!(attribute_for(label), name);
        }
    }

    #[test]
    fn both_lists_stand_beside_each_other() {
        let line = |place: &str, kind: &str| (place.to_owned(), kind.to_owned());
        let keap = [line("email", "an address"), line("custom:Größe", "TEXT")];
        let intercom = [line("email", "an address")];
        assert_eq!(
            side_by_side(&keap, &intercom),
            "KEAP                      INTERCOM\nemail         an address  email  an address\ncustom:Größe  TEXT\n"
        );
    }
}
