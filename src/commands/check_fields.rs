//! The lines of `check` about the fields of the mapping.

use crate::app::{Models, Needs, Parts, words};
use crate::config::Settings;
use crate::intercom::MOST_ATTRIBUTES;
use crate::keap;
use crate::mapping::COMPANY;

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
                Ok(field) => Ok(field.to_string()),
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
        let (consent, direction) = (words::consent(settings), words::direction(settings));
        Self { lines: Vec::new(), consent, direction, wrong: false }
    }
}
