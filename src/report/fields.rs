//! The fields of the mapping, as people see them.

/// A field of the mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappedField {
    pub name: String,
    /// Its place in Keap, and what it holds.
    pub keap: String,
    /// The same in Intercom.
    pub intercom: String,
    /// Where its values travel.
    pub travels: &'static str,
    /// Who decides what it holds.
    pub decides: &'static str,
    /// What is to be known of it.
    pub remark: Option<String>,
    /// Why it is held for every contact.
    pub unfit: Option<String>,
}

/// The mapping, once both accounts have shown their fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappedFields {
    pub fields: Vec<MappedField>,
    /// What may change in Keap.
    pub direction: String,
    /// What becomes of opt-outs.
    pub consent: String,
}
