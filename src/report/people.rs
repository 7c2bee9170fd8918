//! The person behind a held contact, and the candidates, as both products show them now. They are
//! shown to the person who asks, and never stored or logged: these types have no debug print.

use crate::contact::IntercomId;

/// How both products answer.
pub struct People {
    pub keap: Shown,
    pub candidates: Vec<(IntercomId, Shown)>,
}

/// What a product shows of somebody.
pub enum Shown {
    /// Each field that tells people apart, with its value; an empty text is an empty field.
    Person(Vec<(String, String)>),
    /// A sentence that says why nobody is shown.
    Nobody(String),
}
