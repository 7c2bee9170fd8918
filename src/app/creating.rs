//! Whom the settings bring into Keap, and combinations of settings that make no sense.

use crate::config::{CreateInKeap, Settings};
use crate::sync::Creating;

/// What the settings say of creating contacts in Keap.
pub(super) fn creating(settings: &Settings) -> Creating {
    let second = &settings.intercom_to_keap;
    let domains = settings.filter.exclude_domains.iter().map(|domain| excluded(domain));
    Creating {
        whom: if second.enabled { second.create } else { CreateInKeap::Never },
        tag: second.create_tag.clone().unwrap_or_default(),
        most: second.create_brake,
        quiet: second.create_retry,
        excluded: domains.collect(),
    }
}

/// A domain of `exclude_domains` as addresses are compared with it.
pub(super) fn excluded(domain: &str) -> String {
    domain.trim_start_matches('@').to_lowercase()
}

/// What is wrong with the settings of creates, whatever the two accounts hold.
pub(super) fn wrong(settings: &Settings) -> Vec<String> {
    let second = &settings.intercom_to_keap;
    let is_on = second.create != CreateInKeap::Never;
    let is_tagged = second.create == CreateInKeap::Tagged;
    let name = match second.create {
        CreateInKeap::Never => "never",
        CreateInKeap::Tagged => "tagged",
        CreateInKeap::Users => "users",
    };
    let create = format!("intercom_to_keap.create = {name:?}");
    let checks = [
        (
            is_on && !second.enabled,
            format!(
                "{create} needs intercom_to_keap.enabled = true; switch the direction on, or set it to \"never\""
            ),
        ),
        (
            is_tagged && second.create_tag.is_none(),
            format!("{create} needs intercom_to_keap.create_tag: the name of the tag in Intercom"),
        ),
        (
            second.create == CreateInKeap::Users && second.create_tag.is_some(),
            format!(
                "{create} brings every user into Keap, and intercom_to_keap.create_tag would have no effect; set create to \"tagged\", or remove create_tag"
            ),
        ),
        (
            is_on && !settings.filter.keap_tags_any.is_empty(),
            format!(
                "{create} does not go together with filter.keap_tags_any: a new contact in Keap has none of these tags, so it would be out of scope at once; remove one of the two"
            ),
        ),
    ];
    checks.into_iter().filter(|(is_wrong, _)| *is_wrong).map(|(_, why)| why).collect()
}
