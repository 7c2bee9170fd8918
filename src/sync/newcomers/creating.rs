//! What the settings say of creating contacts in Keap.

use std::time::Duration;

use crate::config::CreateInKeap;

/// Whom the settings bring into Keap.
#[derive(Debug, Clone)]
pub struct Creating {
    pub whom: CreateInKeap,
    /// The name of the tag that a user needs, if only tagged ones are brought.
    pub tag: String,
    /// The creates of an hour.
    pub most: i64,
    /// How long a create without an answer is left alone.
    pub quiet: Duration,
    /// Addresses of these domains, in lower case, are left out.
    pub excluded: Vec<String>,
}

impl Creating {
    /// Whether anybody is.
    pub fn is_on(&self) -> bool {
        self.whom != CreateInKeap::Never
    }
}
