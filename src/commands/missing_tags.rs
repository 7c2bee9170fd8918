//! Tags that the mapping applies in Keap, and that Keap lacks.

use crate::app::Models;
use crate::keap::{self, KeapClient};
use crate::mapping::{Mapping, TAG};
use crate::remote::Failure;

/// The names of the missing tags, as the settings have them. A number is an id, and no name.
pub(super) fn missing_tags(mapping: &Mapping, models: &Models) -> Vec<String> {
    let Some(model) = &models.keap else {
        return Vec::new();
    };
    let applied = mapping.rules().iter().filter(|rule| rule.tags_in_keap());
    let names = applied.filter_map(|rule| rule.keap.strip_prefix(TAG)).map(str::trim);
    let is_there = |name: &str| {
        model.tags.iter().any(|tag| tag.name.trim().eq_ignore_ascii_case(name))
            || keap::tag(name, model).is_ok()
    };
    let mut names: Vec<String> = names
        .filter(|name| !is_there(name) && !name.bytes().all(|byte| byte.is_ascii_digit()))
        .map(str::to_owned)
        .collect();
    names.sort();
    names.dedup();
    names
}

/// Makes them.
pub(super) async fn make_tags(keap: &KeapClient, names: &[String]) -> Result<(), Failure> {
    for name in names {
        keap.create_tag(name).await?;
        outln!("✓ tag {name}");
    }
    Ok(())
}
