//! The lines of `check` about the fields of the mapping.

use crate::app::{Models, Needs, Parts};
use crate::config::{OptOut, Settings};
use crate::contact::Owner;
use crate::intercom::MOST_ATTRIBUTES;
use crate::keap;
use crate::mapping::{COMPANY, Field};

/// What a check found. An error also says what to do.
pub(super) type Finding = Result<String, String>;

/// A line for each field of the mapping.
pub(super) struct Fields {
    pub lines: Vec<Finding>,
    /// What becomes of opt-outs.
    pub consent: Finding,
    /// The mapping cannot work as it stands.
    pub wrong: bool,
}

impl Fields {
    /// Looks at both accounts.
    pub(super) async fn check(parts: &Parts, settings: &Settings) -> Self {
        let mapping = &parts.fitting.mapping;
        let models =
            Models::learn(Needs::of(mapping, &settings.filter), &parts.keap, &parts.intercom).await;
        let models = match models {
            Ok(models) => models,
            Err(failure) => {
                let lines = vec![Err(failure.to_string())];
                return Self { lines, consent: consent(settings), wrong: false };
            }
        };
        let fitted = models.fit(mapping);
        let mut lines: Vec<Finding> = fitted
            .fields
            .iter()
            .filter(|(rule, _)| ![keap::OPT_OUT, keap::LEFT, COMPANY].contains(&rule.keap.as_str()))
            .map(|(rule, field)| match field {
                Ok(field) => Ok(in_words(field)),
                Err(unfit) => Err(format!("{}: {}", rule.name, unfit.why)),
            })
            .collect();
        let mut wrong = fitted.unfit().next().is_some();
        if let Err(unfit) = models.filter(&settings.filter) {
            lines.push(Err(format!("[filter]: {}", unfit.why)));
            wrong = true;
        }
        let living = models.intercom.iter().flat_map(|model| &model.attributes);
        let living = living.filter(|attribute| !attribute.is_archived).count();
        if living > MOST_ATTRIBUTES {
            lines.push(Err(format!(
                "Intercom has {living} attributes and allows {MOST_ATTRIBUTES}; archive some of them there"
            )));
            wrong = true;
        }
        let consent = consent(settings);
        wrong |= consent.is_err();
        Self { lines, consent, wrong }
    }
}

/// What becomes of opt-outs.
pub(super) fn consent(settings: &Settings) -> Finding {
    match settings.consent.opt_out {
        OptOut::Off => Ok("opt-outs do not travel (consent.opt_out is off): who unsubscribes in Keap still gets mail from Intercom".into()),
        OptOut::ToIntercom | OptOut::Both => {
            Ok("opt-outs travel from Keap to Intercom; an opt-in never does".into())
        }
        OptOut::ToKeap => Err("consent.opt_out = \"to_keap\" needs a release that writes to Keap; set it to \"to_intercom\" or \"off\"".into()),
    }
}

/// Where a field is on both sides, and who owns it.
fn in_words(field: &Field) -> String {
    let Field { rule, keap, intercom, .. } = field;
    let owner = match rule.owner {
        Owner::Keap => "keap",
        Owner::Intercom => "intercom",
        Owner::Newest => "newest",
        Owner::Fill => "fill",
        Owner::Never => "never",
    };
    let limit = intercom.limit.map(|limit| format!(", up to {limit} characters"));
    let found = if keap.place == rule.keap { String::new() } else { format!(" = {}", keap.place) };
    let untaken = field.untaken();
    let untaken = match untaken.as_slice() {
        [] => String::new(),
        options => format!(
            "; Intercom does not know the options {}, so contacts with one of them keep their value there",
            options.join(", ")
        ),
    };
    format!(
        "{}: {}{found} ({}) → {} ({}{}), owner {owner}{untaken}",
        rule.name,
        rule.keap,
        keap.kind,
        rule.intercom,
        intercom.kind,
        limit.unwrap_or_default()
    )
}
