//! The lines of `check` about the fields of the mapping.

use crate::app::{Models, Needs, Parts, mapping};
use crate::config::{CreateInKeap, OptOut, Settings};
use crate::contact::Owner;
use crate::intercom::MOST_ATTRIBUTES;
use crate::keap;
use crate::mapping::{COMPANY, Field, Rule, TAG};

/// What a check found. An error also says what to do.
pub(super) type Finding = Result<String, String>;

/// A line for each field of the mapping.
pub(super) struct Fields {
    pub lines: Vec<Finding>,
    /// What becomes of opt-outs.
    pub consent: String,
    /// What may change in Keap.
    pub direction: String,
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
                return Self { lines, ..Self::unseen(settings) };
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
        Self { lines, wrong, ..Self::unseen(settings) }
    }

    /// What the settings alone say.
    pub(super) fn unseen(settings: &Settings) -> Self {
        let (consent, direction) = (consent(settings), direction(settings));
        Self { lines: Vec::new(), consent, direction, wrong: false }
    }
}

/// What Intercom may change in Keap, or could if the direction were switched on.
fn direction(settings: &Settings) -> String {
    let mut on = settings.clone();
    on.intercom_to_keap.enabled = true;
    let rules = mapping(&on).map(|mapping| mapping.rules().to_vec()).unwrap_or_default();
    let writes = |rule: &&Rule| {
        rule.writes_to_keap()
            && !rule.is_relation()
            && !keap::holds(&rule.keap, None).is_ok_and(|holds| holds.is_read_only)
    };
    let names: Vec<&str> = rules.iter().filter(writes).map(|rule| rule.name.as_str()).collect();
    let tags: Vec<&str> =
        rules.iter().filter(|rule| rule.tags_in_keap()).map(tag_in_keap).collect();
    let tags = if tags.is_empty() {
        String::new()
    } else {
        format!(
            ", and apply or remove the tags {}, which can start campaigns there",
            tags.join(", ")
        )
    };
    let fields = if names.is_empty() { "no field".to_owned() } else { names.join(", ") };
    if settings.intercom_to_keap.enabled {
        let made = match settings.intercom_to_keap.create {
            CreateInKeap::Never => "no contact is made or deleted there",
            CreateInKeap::Tagged => {
                "users with create_tag get a contact there, and none is deleted"
            }
            CreateInKeap::Users => "all users get a contact there, and none is deleted",
        };
        format!("both: Intercom may change {fields} in Keap{tags}; {made}")
    } else {
        format!(
            "from Keap to Intercom only; with intercom_to_keap.enabled, Intercom could change {fields} in Keap{tags}; what that would write now: INTERCOM_TO_KEAP__ENABLED=true keap-intercom-sync sync --all --dry-run"
        )
    }
}

/// The name of a tag, as the settings have it.
fn tag_in_keap(rule: &Rule) -> &str {
    rule.keap.strip_prefix(TAG).unwrap_or(&rule.keap)
}

/// What becomes of opt-outs.
fn consent(settings: &Settings) -> String {
    let says = match settings.consent.opt_out {
        OptOut::Off => {
            "opt-outs do not travel (consent.opt_out is off): who unsubscribes in Keap still gets mail from Intercom"
        }
        OptOut::Both if settings.intercom_to_keap.enabled => {
            "opt-outs travel in both directions; an opt-in never does"
        }
        OptOut::ToIntercom | OptOut::Both => {
            "opt-outs travel from Keap to Intercom; an opt-in never does"
        }
        OptOut::ToKeap => "opt-outs travel from Intercom to Keap; an opt-in never does",
    };
    says.to_owned()
}

/// Where a field is on both sides, and who owns it.
fn in_words(field: &Field) -> String {
    let Field { rule, keap, intercom, .. } = field;
    let owner = match rule.owner {
        Owner::Keap => "keap",
        Owner::Intercom => "intercom",
        Owner::Newest => "newest",
        Owner::Fill => "fill",
        Owner::Either => "either",
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
    let arrow = match (field.rule.writes_to_intercom(), field.writes_to_keap()) {
        (true, true) => '↔',
        (false, true) => '←',
        _ => '→',
    };
    format!(
        "{}: {}{found} ({}) {arrow} {} ({}{}), owner {owner}{untaken}",
        rule.name,
        rule.keap,
        keap.kind,
        rule.intercom,
        intercom.kind,
        limit.unwrap_or_default()
    )
}
