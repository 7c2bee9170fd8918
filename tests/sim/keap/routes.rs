//! Keap's routes. Each call passes the checks of key and limits first.

use axum::http::Method;
use serde_json::json;

use super::errors;
use super::knobs::TokenStyle;
use super::limits::{Refused, TENANT, headers_without_key};
use super::list::Query;
use super::render::{self, Fields, Style};
use super::users::KEY_OWNER;
use super::{Keap, State};
use crate::sim::message::{Answer, Described, Request, decoded};

/// What [`Route::kind`] may answer.
pub(super) const KINDS: [&str; 21] = [
    "list",
    "create",
    "read",
    "write",
    "model",
    "create_field",
    "users",
    "tags",
    "create_tag",
    "contact_tags",
    "tag_contacts",
    "apply_tag",
    "companies",
    "opt_statuses",
    "opt_status",
    "set_opt_status",
    "userinfo",
    "list_v1",
    "read_v1",
    "hooks",
    "unknown",
];

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Route {
    List,
    Create,
    Read(String),
    Write(String),
    Model,
    CreateField,
    Users,
    Tags,
    CreateTag,
    ContactTags(String),
    TagContacts(String),
    ApplyTag {
        tag: String,
        applies: bool,
    },
    Companies,
    OptStatuses,
    OptStatus(String),
    SetOptStatus(String),
    UserInfo {
        v1: bool,
    },
    ListV1,
    ReadV1(String),
    /// The path after `hooks`.
    Hooks(Vec<String>),
    Unknown,
}

impl Route {
    fn of(request: &Request) -> Route {
        let path = request.path.trim_start_matches("/crm/rest").trim_matches('/');
        let parts: Vec<_> = path.split('/').collect();
        match (request.method.as_str(), parts.as_slice()) {
            ("GET", ["v2", "contacts"]) => Route::List,
            ("POST", ["v2", "contacts"]) => Route::Create,
            ("GET", ["v2", "contacts", "model"]) => Route::Model,
            ("POST", ["v2", "contacts", "model", "customFields"]) => Route::CreateField,
            ("GET", ["v2", "contacts", id]) => Route::Read((*id).to_owned()),
            ("PATCH", ["v2", "contacts", id]) => Route::Write((*id).to_owned()),
            ("GET", ["v2", "contacts", id, "tags"]) => Route::ContactTags((*id).to_owned()),
            ("GET", ["v2", "users"]) => Route::Users,
            ("GET", ["v2", "companies"]) => Route::Companies,
            ("GET", ["v2", "tags"]) => Route::Tags,
            ("POST", ["v2", "tags"]) => Route::CreateTag,
            ("GET", ["v2", "tags", id, "contacts"]) => Route::TagContacts((*id).to_owned()),
            ("POST", ["v2", "tags", id, "contacts:applyTags"]) => {
                Route::ApplyTag { tag: (*id).to_owned(), applies: true }
            }
            ("POST", ["v2", "tags", id, "contacts:removeTags"]) => {
                Route::ApplyTag { tag: (*id).to_owned(), applies: false }
            }
            ("GET", ["v2", "emailAddresses"]) => Route::OptStatuses,
            ("GET", ["v2", "emailAddresses", email, "status"]) => Route::OptStatus(decoded(email)),
            ("PATCH", ["v2", "emailAddresses", email, "status"]) => {
                Route::SetOptStatus(decoded(email))
            }
            ("GET", [version @ ("v1" | "v2"), "oauth", "connect", "userinfo"]) => {
                Route::UserInfo { v1: *version == "v1" }
            }
            ("GET", ["v1", "contacts"]) => Route::ListV1,
            ("GET", ["v1", "contacts", id]) => Route::ReadV1((*id).to_owned()),
            (_, ["v1", "hooks", rest @ ..]) => {
                Route::Hooks(rest.iter().map(|part| (*part).to_owned()).collect())
            }
            _ => Route::Unknown,
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Route::List => "list",
            Route::Create => "create",
            Route::Read(_) => "read",
            Route::Write(_) => "write",
            Route::Model => "model",
            Route::CreateField => "create_field",
            Route::Users => "users",
            Route::Tags => "tags",
            Route::CreateTag => "create_tag",
            Route::ContactTags(_) => "contact_tags",
            Route::TagContacts(_) => "tag_contacts",
            Route::ApplyTag { .. } => "apply_tag",
            Route::Companies => "companies",
            Route::OptStatuses => "opt_statuses",
            Route::OptStatus(_) => "opt_status",
            Route::SetOptStatus(_) => "set_opt_status",
            Route::UserInfo { .. } => "userinfo",
            Route::ListV1 => "list_v1",
            Route::ReadV1(_) => "read_v1",
            Route::Hooks(_) => "hooks",
            Route::Unknown => "unknown",
        }
    }

    fn key(&self) -> Option<String> {
        match self {
            Route::Read(key)
            | Route::Write(key)
            | Route::ReadV1(key)
            | Route::ContactTags(key)
            | Route::TagContacts(key)
            | Route::ApplyTag { tag: key, .. }
            | Route::OptStatus(key)
            | Route::SetOptStatus(key) => Some(key.clone()),
            Route::Hooks(path) => path.first().cloned(),
            _ => None,
        }
    }
}

impl Keap {
    pub(super) fn describe_call(&self, request: &Request) -> Described {
        let route = Route::of(request);
        Described {
            kind: route.kind(),
            key: route.key(),
            external_id: None,
            authorization_ok: check_key(request, &self.state()).is_ok(),
        }
    }

    pub(super) fn answer_call(&self, request: &Request) -> Answer {
        if let Some(refusal) = self.refusal(request) {
            return refusal;
        }
        let answer = match Route::of(request) {
            Route::List => self.list(request),
            Route::Create => self.create(request),
            Route::Read(id) => self.read(&id, request),
            Route::Write(id) => self.write(&id, request),
            Route::Model => self.model_call(),
            Route::CreateField => self.create_field_call(request),
            Route::Users => self.users_call(request),
            Route::Tags => self.tags_call(request),
            Route::CreateTag => self.create_tag_call(request),
            Route::ContactTags(id) => self.contact_tags_call(&id, request),
            Route::TagContacts(id) => self.tag_contacts_call(&id, request),
            Route::ApplyTag { tag, applies } => self.apply_call(&tag, applies, request),
            Route::Companies => self.companies_call(request),
            Route::OptStatuses => self.opt_statuses_call(request),
            Route::OptStatus(email) => self.opt_status_call(&email),
            Route::SetOptStatus(email) => self.set_opt_status_call(&email, request),
            Route::UserInfo { v1 } => self.user_info(v1),
            Route::ListV1 => self.list_v1(request),
            Route::ReadV1(id) => self.read_v1(&id),
            Route::Hooks(path) => self.hook_call(&path, request),
            Route::Unknown => errors::page_not_found(),
        };
        self.with_limit_headers(answer)
    }

    pub(super) fn fixed_answer(&self, request: &Request, status: u16, body: &str) -> Answer {
        self.refusal(request)
            .unwrap_or_else(|| self.with_limit_headers(Answer::fixed(status, body)))
    }

    /// The checks before every route: no body on GET, the key, the limits. Counts the call.
    fn refusal(&self, request: &Request) -> Option<Answer> {
        if request.method == Method::GET && !request.body.is_empty() {
            return Some(errors::front_end_refusal());
        }
        let mut state = self.state();
        if let Err(errorcode) = check_key(request, &state) {
            let mut answer = errors::unauthorized(errorcode);
            answer.headers = headers_without_key(&state.knobs);
            return Some(answer);
        }
        let State { limits, knobs, .. } = &mut *state;
        let refused = limits.take(knobs, self.shared.clock.now_ms()).err()?;
        let answer = errors::too_many(knobs, refused == Refused::Spike);
        drop(state);
        Some(self.with_limit_headers(answer))
    }

    fn with_limit_headers(&self, mut answer: Answer) -> Answer {
        let State { limits, knobs, .. } = &mut *self.state();
        answer.headers.extend(limits.headers(knobs, self.shared.clock.now_ms()));
        answer
    }

    fn list(&self, request: &Request) -> Answer {
        let (number, between_pages) = {
            let mut state = self.state();
            state.lists += 1;
            (state.lists, state.knobs.between_pages.clone())
        };
        if let Some(hook) = between_pages {
            hook(self, number);
        }
        let mut state = self.state();
        state.answers += 1;
        let now_ms = self.shared.clock.now_ms();
        let query = match Query::parse(request, &state.knobs, &state.rows) {
            Ok(query) => query,
            Err(message) => return errors::bad_request(&message),
        };
        if count_down(&mut state.knobs.glitch_empty) {
            return Answer::json(200, r#"{"contacts":[],"next_page_token":""}"#);
        }
        if count_down(&mut state.knobs.empty_page_with_token) {
            let body = json!({"contacts": [], "next_page_token": query.token_again()});
            return Answer::json(200, body.to_string());
        }
        let is_cut = query.filter.ids.is_some() && count_down(&mut state.knobs.short_id_lists);
        let (mut page, more) = query.page(&state.rows, &state.knobs, now_ms);
        let shows_poison = state.knobs.poison_shows_stamps && query.fields.are_stamps();
        if !shows_poison && page.iter().any(|(id, ..)| state.knobs.poison.contains(id)) {
            return errors::broken(&state.knobs);
        }
        if page.iter().any(|(id, ..)| state.knobs.forbidden.contains(id)) {
            return errors::forbidden(&state.knobs);
        }
        if is_cut {
            page.truncate(page.len() / 2);
        }
        let next = page.last().filter(|_| more);
        let next = next.map(|last| query.token_after(last, &state.knobs, &state.rows));
        let next = match &query.token {
            Some(token) if state.knobs.repeat_token => Some(token.clone()),
            _ => next,
        };

        let style = Style::new(&state);
        let mut out = Vec::with_capacity(64 + page.len() * 400);
        out.extend_from_slice(b"{\"contacts\":");
        render::list(&mut out, page, |out, (id, row, version)| {
            render::contact(out, id, row, version, &query.fields, &style);
        });
        out.extend_from_slice(b",\"next_page_token\":");
        match (next, state.knobs.token_style) {
            (Some(token), TokenStyle::Number) => out.extend_from_slice(token.as_bytes()),
            (Some(token), _) => render::text(&mut out, &token),
            (None, TokenStyle::Number) => out.extend_from_slice(b"0"),
            (None, TokenStyle::Null) => out.extend_from_slice(b"null"),
            (None, _) => out.extend_from_slice(b"\"\""),
        }
        if state.knobs.unknown_extra_fields {
            out.extend_from_slice(b",\"brand_new_field\":7");
        }
        out.push(b'}');
        Answer::json(200, out)
    }

    fn read(&self, id: &str, request: &Request) -> Answer {
        let mut state = self.state();
        let fields = match Fields::parse(request.param("fields").as_deref()) {
            Ok(fields) => fields,
            Err(message) => return errors::bad_request(&message),
        };
        let Ok(id) = id.parse::<i64>() else {
            return errors::bad_request("Invalid contact_id");
        };
        state.answers += 1;
        one(&state, id, &fields)
    }

    fn user_info(&self, v1: bool) -> Answer {
        let (id, keap_id) =
            if v1 { ("global_user_id", "infusionsoft_id") } else { ("id", "keap_id") };
        let body = json!({
            "email": "owner@example.org", "sub": "owner@example.org", id: KEY_OWNER.to_string(), keap_id: "owner@example.org",
            "given_name": "Olive", "family_name": "Owner", "is_admin": true, "tenant_id": TENANT,
        });
        Answer::json(200, body.to_string())
    }
}

pub(super) fn one(state: &State, id: i64, fields: &Fields) -> Answer {
    let Some(row) = state.rows.get(id) else {
        return errors::not_found(&id.to_string());
    };
    if state.knobs.poison_by_id && state.knobs.poison.contains(&id) {
        return errors::broken(&state.knobs);
    }
    if state.knobs.forbidden.contains(&id) {
        return errors::forbidden(&state.knobs);
    }
    let style = Style::new(state);
    let mut out = Vec::with_capacity(512);
    render::contact(&mut out, id, row, &row.current, fields, &style);
    Answer::json(200, out)
}

/// Checks the key of a request. The error is the gateway's error code.
fn check_key(request: &Request, state: &State) -> Result<(), &'static str> {
    let by_header =
        state.knobs.accept_api_key_header && request.header("x-keap-api-key") == Some(&state.token);
    match request.bearer() {
        _ if by_header => Ok(()),
        Some(token) if token == state.token => Ok(()),
        Some(_) => Err("keymanagement.service.invalid_access_token"),
        None => Err("oauth.v2.InvalidAccessToken"),
    }
}

/// Counts down a knob that holds for the next n answers. `true` if it holds for this one.
fn count_down(left: &mut u32) -> bool {
    let any = *left > 0;
    *left -= u32::from(any);
    any
}
