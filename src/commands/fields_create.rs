//! `fields create`: makes what the mapping names and an account lacks.

use anyhow::bail;

use super::confirm::confirmed;
use super::missing_tags::{make_tags, missing_tags};
use super::{Ended, NOTHING_DONE, WELL, exit};
use crate::app::{Fitting, Models};
use crate::contact::Form;
use crate::intercom::{self, MOST_ATTRIBUTES, attribute_name};
use crate::keap;
use crate::mapping::Rule;

/// What is missing on both sides, each with the type that fits.
struct Missing<'a> {
    in_keap: Vec<Place<'a>>,
    in_intercom: Vec<Place<'a>>,
}

/// A place that is missing.
struct Place<'a> {
    name: &'a str,
    kind: &'static str,
    /// The place on the other side.
    other: &'a str,
    /// A field that Keap has under a similar name.
    hint: Option<String>,
}

pub(super) async fn create(fitting: &Fitting, models: &Models, yes: bool) -> Ended {
    let Missing { in_keap, in_intercom } = missing(fitting, models)?;
    let tags = missing_tags(&fitting.mapping, models);
    if in_keap.is_empty() && in_intercom.is_empty() && tags.is_empty() {
        outln!(
            "No custom field, no tag and no attribute is missing. Only a [[field]] with create_attribute = true can have an attribute made."
        );
        return exit(WELL);
    }
    let all = models.intercom.iter().flat_map(|model| &model.attributes);
    let living = all.filter(|attribute| !attribute.is_archived).count();
    if living + in_intercom.len() > MOST_ATTRIBUTES {
        bail!(
            "Intercom allows {MOST_ATTRIBUTES} attributes and has {living}, so {} more are too many; archive some of them there, or map fewer fields",
            in_intercom.len()
        );
    }
    show("These custom fields will be made in Keap:", &in_keap);
    show("These attributes will be made in Intercom:", &in_intercom);
    if !tags.is_empty() {
        outln!("These tags will be made in Keap: {}", tags.join(", "));
    }
    if !yes && !confirmed("Make them?")? {
        outln!("Nothing was made.");
        return exit(NOTHING_DONE);
    }
    for Place { name, kind, .. } in &in_keap {
        fitting.keap.create_field(name, kind).await?;
        outln!("✓ Keap: {name}");
    }
    make_tags(&fitting.keap, &tags).await?;
    for Place { name, kind, .. } in &in_intercom {
        fitting.intercom.create_attribute(name, kind, None).await?;
        outln!("✓ {name}");
    }
    exit(WELL)
}

fn show(title: &str, places: &[Place<'_>]) {
    if !places.is_empty() {
        outln!("{title}");
    }
    for Place { name, kind, other, hint } in places {
        let hint = hint.as_ref().map(|near| format!(" (Keap has {near}: did you mean that?)"));
        outln!("  {name}  {kind}  for {other}{}", hint.unwrap_or_default());
    }
}

fn missing<'a>(fitting: &'a Fitting, models: &Models) -> anyhow::Result<Missing<'a>> {
    let mut missing = Missing { in_keap: Vec::new(), in_intercom: Vec::new() };
    for rule in fitting.mapping.rules() {
        let holds = keap::holds(&rule.keap, models.keap.as_ref());
        let new_field = match (&holds, &models.keap) {
            (Err(_), Some(model)) => keap::missing_field(&rule.keap, model),
            _ => None,
        };
        if let Some(field) = &new_field {
            let known = missing.in_keap.iter().any(|place| place.name == field.label);
            if !known {
                missing.in_keap.push(Place {
                    name: field.label,
                    kind: keap_type(rule, models),
                    other: &rule.intercom,
                    hint: field.near.clone(),
                });
            }
        }
        let Some(name) = attribute_name(&rule.intercom).filter(|_| rule.create_attribute) else {
            continue;
        };
        let mut attributes = models.intercom.iter().flat_map(|model| &model.attributes);
        if attributes.any(|attribute| attribute.name == name && !attribute.is_archived) {
            continue;
        }
        let form = match (&holds, new_field) {
            (Ok(holds), _) => holds.forms.first().copied(),
            // Both are missing: a text fits both.
            (Err(_), Some(_)) => Some(Form::Text),
            (Err(unfit), None) => bail!("{}: {}", rule.name, unfit.why),
        };
        let kind = attribute_type(form);
        missing.in_intercom.push(Place { name, kind, other: &rule.keap, hint: None });
    }
    Ok(missing)
}

/// The type of a custom field for the values of its place in Intercom.
fn keap_type(rule: &Rule, models: &Models) -> &'static str {
    let holds = intercom::holds(&rule.intercom, models.intercom.as_ref());
    match holds.ok().and_then(|holds| holds.forms.first().copied()) {
        Some(Form::Whole) => "WHOLE_NUMBER",
        Some(Form::Decimal) => "DECIMAL_NUMBER",
        Some(Form::YesNo) => "YES_NO",
        Some(Form::Day) => "DATE",
        Some(Form::Time) => "DATE_TIME",
        Some(Form::Email) => "EMAIL",
        Some(Form::Phone) => "PHONE_NUMBER",
        Some(Form::Text | Form::List) | None => "TEXT",
    }
}

/// The type of an attribute for values of a form.
fn attribute_type(form: Option<Form>) -> &'static str {
    match form {
        Some(Form::Whole) => "integer",
        Some(Form::Decimal) => "float",
        Some(Form::YesNo) => "boolean",
        Some(Form::Day) => "date",
        Some(Form::Time) => "datetime",
        Some(Form::Text | Form::Email | Form::Phone | Form::List) | None => "string",
    }
}
