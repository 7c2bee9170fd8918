//! What the settings say of creating contacts in Keap, and the tag that they may name.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::config::CreateInKeap;

/// How long the id of the tag counts. Somebody may delete the tag, and make it again.
const TAG_COUNTS_FOR: Duration = Duration::from_secs(600);

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

/// The id of the tag that a user needs, as far as it is known.
#[derive(Default)]
pub struct CreateTag(Mutex<Option<(Instant, Tag)>>);

/// The tag in Intercom, as its list shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Tag {
    Id(String),
    /// There is no tag of this name.
    Missing,
}

impl CreateTag {
    /// `None`: it has to be asked for.
    pub(super) fn known(&self) -> Option<Tag> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, tag) = known.as_ref()?;
        (at.elapsed() < TAG_COUNTS_FOR).then(|| tag.clone())
    }

    pub(super) fn learn(&self, tag: Tag) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *known = Some((Instant::now(), tag));
    }
}
