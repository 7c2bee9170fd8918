//! A contact as its side showed it, word for word: a write that replaces a list sends the rest of
//! the list back.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a side showed of one contact, and when. Only the client of that side understands the text.
///
/// It is no part of the contact: two contacts with the same fields are equal.
#[derive(Clone, Default)]
pub struct AsShown(Option<(Arc<str>, Instant)>);

impl AsShown {
    /// Shown just now.
    pub fn now(text: &str) -> Self {
        Self(Some((text.into(), Instant::now())))
    }

    /// The text, if it is no older than this.
    pub fn younger_than(&self, age: Duration) -> Option<&str> {
        let (text, at) = self.0.as_ref()?;
        (at.elapsed() <= age).then_some(&**text)
    }
}

impl PartialEq for AsShown {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for AsShown {}

/// It holds a person.
impl fmt::Debug for AsShown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AsShown")
    }
}
