//! What stands around every page: its title, the way to the other pages, and the sign-out.

use askama::Template;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use super::sessions::Session;
use crate::http::code::Code;
use crate::http::problem::Problem;
use crate::http::state::HttpState;

/// The type of all pages.
pub(super) const HTML: &str = "text/html; charset=utf-8";

/// The pages that the navigation names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Overview,
    Held,
    Contacts,
    Runs,
    Log,
    Fields,
    Settings,
}

/// An entry of the navigation.
pub(super) struct NavItem {
    pub href: &'static str,
    pub label: &'static str,
    pub is_current: bool,
}

/// The frame of one page.
pub(super) struct Frame {
    pub title: &'static str,
    pub environment: String,
    pub version: &'static str,
    /// The token that each form carries.
    pub token: String,
    place: Place,
}

impl Frame {
    pub(super) fn new(
        state: &HttpState,
        session: Session,
        place: Place,
        title: &'static str,
    ) -> Self {
        Self {
            title,
            environment: state.environment.clone(),
            version: env!("CARGO_PKG_VERSION"),
            token: state.entrance.sessions.token(session),
            place,
        }
    }

    pub(super) fn nav(&self) -> [NavItem; 7] {
        [
            (Place::Overview, "/ui", "Overview"),
            (Place::Held, "/ui/held", "Needs a person"),
            (Place::Contacts, "/ui/contacts", "One contact"),
            (Place::Runs, "/ui/runs", "Runs"),
            (Place::Log, "/ui/log", "Activity"),
            (Place::Fields, "/ui/fields", "Fields"),
            (Place::Settings, "/ui/settings", "Settings"),
        ]
        .map(|(place, href, label)| NavItem {
            href,
            label,
            is_current: place == self.place,
        })
    }
}

/// A page as an answer.
pub(super) fn page(template: &impl Template) -> Result<Response, Problem> {
    match template.render() {
        Ok(html) => Ok(([(CONTENT_TYPE, HTML)], html).into_response()),
        Err(error) => {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "A page could not be made from its template."
            );
            Err(Problem::new(Code::Bug, "a bug in keap-intercom-sync; its log says where"))
        }
    }
}

/// A part of a text: words, or what stands between backticks, such as a command.
pub(super) struct Piece {
    pub text: String,
    pub is_code: bool,
}

/// The parts of a text in which backticks mark commands.
pub(super) fn pieces(text: &str) -> Vec<Piece> {
    let parts = text.split('`').enumerate();
    let pieces = parts.map(|(at, part)| Piece { text: part.to_owned(), is_code: at % 2 == 1 });
    pieces.filter(|piece| !piece.text.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_told_from_words() {
        let parts = pieces("start one: `run`, or wait");
        let parts: Vec<_> = parts.iter().map(|part| (part.text.as_str(), part.is_code)).collect();
        assert_eq!(parts, [("start one: ", false), ("run", true), (", or wait", false)]);
        assert!(pieces("").is_empty());
    }
}
