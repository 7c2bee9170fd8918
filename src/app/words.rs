//! The mapping in words, for `check` and for the page.

use super::mapping::mapping;
use crate::config::{CreateInKeap, OptOut, Settings};
use crate::keap;
use crate::mapping::{Fitted, Rule, TAG};
use crate::report::MappedField;

/// Every field of the mapping as people see it.
pub fn fields(fitted: &Fitted) -> Vec<MappedField> {
    let shown = |(rule, field): &(Rule, Result<_, _>)| {
        let named = MappedField {
            name: rule.name.to_string(),
            keap: rule.keap.clone(),
            intercom: rule.intercom.clone(),
            travels: "nowhere",
            decides: rule.decides(),
            remark: None,
            unfit: None,
        };
        match field {
            Ok(field) => {
                let field: &crate::mapping::Field = field;
                MappedField {
                    keap: field.in_keap(),
                    intercom: field.in_intercom(),
                    travels: field.travels(),
                    remark: field.remark(),
                    ..named
                }
            }
            Err(unfit) => {
                let unfit: &crate::mapping::Unfit = unfit;
                MappedField { unfit: Some(unfit.why.clone()), ..named }
            }
        }
    };
    fitted.fields.iter().map(shown).collect()
}

/// What Intercom may change in Keap, or could if the direction were switched on.
pub fn direction(settings: &Settings) -> String {
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
pub fn consent(settings: &Settings) -> String {
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
