//! The filter: who is in scope.

use crate::contact::Email;

/// Who is in scope, by Keap's ids of tags.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Filter {
    /// One of these is needed; without any, none is.
    pub any: Vec<String>,
    /// None of these is allowed.
    pub none: Vec<String>,
    /// Domains of e-mail addresses that are left out, in lower case.
    pub domains: Vec<String>,
}

impl Filter {
    /// Whether it lets everybody in.
    pub fn is_open(&self) -> bool {
        self.any.is_empty() && self.none.is_empty() && self.domains.is_empty()
    }

    /// Whether it needs to know the tags of a contact.
    pub fn needs_tags(&self) -> bool {
        !(self.any.is_empty() && self.none.is_empty())
    }

    /// The tags that it looks at.
    pub fn tags(&self) -> impl Iterator<Item = &String> {
        self.any.iter().chain(&self.none)
    }

    /// What tells it from another filter, in words.
    pub(super) fn identity(&self) -> String {
        if self.is_open() {
            return "no filter".to_owned();
        }
        let Self { any, none, domains } = self;
        format!("filter: any {any:?}, none {none:?}, without {domains:?}")
    }

    /// Whether a contact with these tags and this address is in scope.
    pub fn lets_in(&self, has_tag: impl Fn(&str) -> bool, email: Option<&Email>) -> bool {
        let has = |tags: &[String]| tags.iter().any(|tag| has_tag(tag));
        let is_excluded =
            email.is_some_and(|email| self.domains.iter().any(|one| one == email.domain()));
        (self.any.is_empty() || has(&self.any)) && !has(&self.none) && !is_excluded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_and_domains_decide_together() {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let filter =
            Filter { any: list(&["1", "2"]), none: list(&["3"]), domains: list(&["shop.example"]) };
        for (tags, email, expected) in [
            (vec!["1"], "ann@example.org", true),
            (vec!["2", "9"], "ann@example.org", true),
            (vec!["9"], "ann@example.org", false),
            (vec![], "ann@example.org", false),
            (vec!["1", "3"], "ann@example.org", false),
            (vec!["1"], "Ann@Shop.example", false),
            (vec!["1"], "ann@myshop.example", true),
        ] {
            let email = Email::new(email);
            let found = filter.lets_in(|tag| tags.contains(&tag), email.as_ref());
            assert_eq!(found, expected, "{tags:?} {email:?}");
        }
        assert!(filter.lets_in(|tag| tag == "1", None));
        assert!(Filter::default().is_open() && Filter::default().lets_in(|_| false, None));
    }
}
