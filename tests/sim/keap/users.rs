//! The users of the Keap account, who own contacts (`GET /v2/users`).

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::filter::Pattern;
use super::pager::{self, Pager};
use super::{Keap, State, errors, stamps};
use crate::sim::message::{Answer, Request};

/// The most users of a page.
const MOST_USERS: usize = 100;

/// The user who made the key of the stand-in.
pub(crate) const KEY_OWNER: i64 = 1001;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    pub email: String,
    pub given_name: String,
    pub family_name: String,
    /// `ACTIVE`, `INVITED`, `INACTIVE` or `NOT_A_USER`.
    pub status: String,
    pub admin: bool,
    pub partner: bool,
}

pub(super) struct Users {
    by_id: BTreeMap<i64, User>,
}

impl Default for Users {
    fn default() -> Users {
        let owner = User { admin: true, ..User::new("owner@example.org", "Olive", "Owner") };
        Users { by_id: BTreeMap::from([(KEY_OWNER, owner)]) }
    }
}

impl User {
    fn new(email: &str, given_name: &str, family_name: &str) -> User {
        User {
            email: email.to_owned(),
            given_name: given_name.to_owned(),
            family_name: family_name.to_owned(),
            status: "ACTIVE".to_owned(),
            admin: false,
            partner: false,
        }
    }

    fn json(&self, id: i64, state: &State) -> Value {
        let created = stamps::v2(0, state.knobs.rounding);
        json!({
            "id": id.to_string(), "keap_id": self.email, "global_user_id": id.to_string(),
            "given_name": self.given_name, "family_name": self.family_name,
            "email_addresses": [{"email": self.email, "field": "EMAIL1"}],
            "status": self.status, "admin": self.admin, "partner": self.partner,
            "phone_numbers": [], "create_time": created, "update_time": created,
        })
    }
}

impl Keap {
    /// Adds an active user and returns the id. The name comes from the address.
    pub(crate) fn add_user(&self, email: &str) -> i64 {
        let name = email.split('@').next().unwrap_or_default();
        let (given, family) = name.split_once('.').unwrap_or((name, "User"));
        let users = &mut self.state().users.by_id;
        let id = users.keys().next_back().map_or(KEY_OWNER, |last| last + 1);
        users.insert(id, User::new(email, given, family));
        id
    }

    /// `false` if there is no such user.
    pub(crate) fn edit_user(&self, id: i64, edit: impl FnOnce(&mut User)) -> bool {
        self.state().users.by_id.get_mut(&id).map(edit).is_some()
    }

    /// `GET /v2/users`
    pub(super) fn users_call(&self, request: &Request) -> Answer {
        list(&self.state(), request).unwrap_or_else(|message| errors::bad_request(&message))
    }
}

const FILTERS: [&str; 5] =
    ["email", "given_name", "include_inactive", "include_partners", "user_ids"];

fn list(state: &State, request: &Request) -> Result<Answer, String> {
    let text = request.param("filter").unwrap_or_default();
    let clauses = pager::clauses(&text, &FILTERS)?;
    let includes =
        |what| clauses.iter().any(|(field, _, value)| *field == what && *value == "true");
    let fits = |id: i64, user: &User| {
        (user.status != "INACTIVE" || includes("include_inactive"))
            && (!user.partner || includes("include_partners"))
            && clauses.iter().all(|(field, _, value)| match *field {
                "email" => Pattern::new(value).fits(&user.email),
                "given_name" => Pattern::new(value).fits(&user.given_name),
                "user_ids" => value.split(',').any(|wanted| wanted.trim() == id.to_string()),
                _ => true,
            })
    };
    let mut rows: Vec<_> = state
        .users
        .by_id
        .iter()
        .filter(|(id, user)| fits(**id, user))
        .map(|(id, user)| (*id, (*id, user)))
        .collect();
    let order = pager::order(request, &["create_time", "email", "name"])?;
    match order.field {
        Some("email") => rows.sort_by_key(|(_, (_, user))| user.email.to_lowercase()),
        Some("name") => rows.sort_by_key(|(_, (_, user))| user.family_name.to_lowercase()),
        // Later users have higher ids.
        _ => {}
    }
    order.direct(&mut rows);
    let pager = Pager::parse(request, &state.knobs, MOST_USERS)?;
    let (page, next) = pager.page(rows, order.is_by_id());
    let page = page.into_iter().map(|(id, user)| user.json(id, state)).collect();
    Ok(pager::answer("users", page, next, &state.knobs))
}
