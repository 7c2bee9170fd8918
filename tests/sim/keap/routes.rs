//! Keap's front door: key, limits, then the route.

use axum::http::Method;
use serde_json::{Value, json};

use super::errors;
use super::limits::{Refused, TENANT, headers_for_strangers};
use super::list::Query;
use super::person::Phone;
use super::render::{self, Fields, Style};
use super::{Keap, Person, State};
use crate::sim::message::{Answer, Described, Request};

/// The longest part of a v2 name: 40 characters, by the contract.
const NAME_LIMIT: usize = 40;

#[derive(Clone, Debug, PartialEq)]
pub enum Route {
    List,
    Read(String),
    Write(String),
    UserInfo {
        v1: bool,
    },
    ListV1,
    ReadV1(String),
    /// What follows `hooks` in the path.
    Hooks(Vec<String>),
    Unknown,
}

impl Route {
    fn of(request: &Request) -> Route {
        let path = request
            .path
            .trim_start_matches("/crm/rest")
            .trim_matches('/');
        let parts: Vec<_> = path.split('/').collect();
        match (request.method.as_str(), parts.as_slice()) {
            ("GET", ["v2", "contacts"]) => Route::List,
            ("GET", ["v2", "contacts", id]) => Route::Read((*id).to_owned()),
            ("PATCH", ["v2", "contacts", id]) => Route::Write((*id).to_owned()),
            ("GET", [version @ ("v1" | "v2"), "oauth", "connect", "userinfo"]) => Route::UserInfo {
                v1: *version == "v1",
            },
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
            Route::Read(_) => "read",
            Route::Write(_) => "write",
            Route::UserInfo { .. } => "userinfo",
            Route::ListV1 => "list_v1",
            Route::ReadV1(_) => "read_v1",
            Route::Hooks(_) => "hooks",
            Route::Unknown => "unknown",
        }
    }

    fn key(&self) -> Option<String> {
        match self {
            Route::Read(id) | Route::Write(id) | Route::ReadV1(id) => Some(id.clone()),
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
            authorization_ok: credential(request, &self.state()).is_ok(),
        }
    }

    pub(super) fn answer_call(&self, request: &Request) -> Answer {
        if let Some(refusal) = self.refusal(request) {
            return refusal;
        }
        let answer = match Route::of(request) {
            Route::List => self.list(request),
            Route::Read(id) => self.read(&id, request),
            Route::Write(id) => self.write(&id, request),
            Route::UserInfo { v1 } => self.user_info(v1),
            Route::ListV1 => self.list_v1(request),
            Route::ReadV1(id) => self.read_v1(&id),
            Route::Hooks(path) => self.hook_call(&path, request),
            Route::Unknown => errors::page_not_found(),
        };
        self.with_limit_headers(answer)
    }

    pub(super) fn dictate_answer(&self, request: &Request, status: u16, body: &str) -> Answer {
        self.refusal(request)
            .unwrap_or_else(|| self.with_limit_headers(Answer::dictated(status, body)))
    }

    /// What stands before every route: a body on GET, the key, the limits. Counts the call.
    fn refusal(&self, request: &Request) -> Option<Answer> {
        if request.method == Method::GET && !request.body.is_empty() {
            return Some(errors::front_end_refusal());
        }
        let mut state = self.state();
        if let Err(errorcode) = credential(request, &state) {
            let mut answer = errors::unauthorized(errorcode);
            answer.headers = headers_for_strangers(&state.knobs);
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
        answer
            .headers
            .extend(limits.headers(knobs, self.shared.clock.now_ms()));
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
        if take_one(&mut state.knobs.glitch_empty) {
            return Answer::json(200, r#"{"contacts":[],"next_page_token":""}"#);
        }
        if take_one(&mut state.knobs.empty_page_with_token) {
            let body = json!({"contacts": [], "next_page_token": query.token_again()});
            return Answer::json(200, body.to_string());
        }
        let (page, more) = query.page(&state.rows, &state.knobs, now_ms);
        if page.iter().any(|(id, ..)| state.knobs.poison.contains(id)) {
            return errors::broken(&state.knobs);
        }
        let next = page
            .last()
            .filter(|_| more)
            .map(|last| query.token_after(last, &state.knobs));
        let next = match &query.token {
            Some(token) if state.knobs.repeat_token => Some(token.clone()),
            _ => next,
        };

        let style = Style::new(&state.knobs, state.answers);
        let mut out = Vec::with_capacity(64 + page.len() * 400);
        out.extend_from_slice(b"{\"contacts\":");
        render::list(&mut out, page, |out, (id, row, version)| {
            render::contact(out, id, row, version, &query.fields, &style);
        });
        out.extend_from_slice(b",\"next_page_token\":");
        match next {
            Some(token) => render::text(&mut out, &token),
            None if state.knobs.token_style == super::knobs::TokenStyle::Null => {
                out.extend_from_slice(b"null");
            }
            None => out.extend_from_slice(b"\"\""),
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

    /// `PATCH /v2/contacts/{id}`: with a mask only what it names; lists are replaced whole.
    fn write(&self, id: &str, request: &Request) -> Answer {
        let Ok(id) = id.parse::<i64>() else {
            return errors::bad_request("Invalid contact_id");
        };
        let Some(Value::Object(body)) = request.json() else {
            return errors::bad_request("Input could not be converted to a valid request");
        };
        let fields = match Fields::parse(request.param("fields").as_deref()) {
            Ok(fields) => fields,
            Err(message) => return errors::bad_request(&message),
        };
        let mask: Vec<_> = request
            .params()
            .into_iter()
            .filter(|(key, _)| key == "update_mask")
            .map(|(_, name)| name)
            .collect();
        let Some(mut person) = self.person(id) else {
            return errors::not_found(&id.to_string());
        };
        // Without a mask, what is absent is left alone: undocumented, and the milder reading.
        let named: Vec<&str> = if mask.is_empty() {
            body.keys().map(String::as_str).collect()
        } else {
            mask.iter().map(String::as_str).collect()
        };
        for name in named {
            if let Err(message) = set(&mut person, name, body.get(name).unwrap_or(&Value::Null)) {
                return errors::bad_request(&message);
            }
        }
        self.edit(id, |old| *old = person);
        one(&self.state(), id, &fields).applied()
    }

    fn user_info(&self, v1: bool) -> Answer {
        let (id, keap_id) = if v1 {
            ("global_user_id", "infusionsoft_id")
        } else {
            ("id", "keap_id")
        };
        let body = json!({
            "email": "owner@example.org", "sub": "owner@example.org", id: "1001", keap_id: "owner@example.org",
            "given_name": "Olive", "family_name": "Owner", "is_admin": true, "tenant_id": TENANT,
        });
        Answer::json(200, body.to_string())
    }
}

fn one(state: &State, id: i64, fields: &Fields) -> Answer {
    let Some(row) = state.rows.get(id) else {
        return errors::not_found(&id.to_string());
    };
    if state.knobs.poison_by_id && state.knobs.poison.contains(&id) {
        return errors::broken(&state.knobs);
    }
    let style = Style::new(&state.knobs, state.answers);
    let mut out = Vec::with_capacity(512);
    render::contact(&mut out, id, row, &row.current, fields, &style);
    Answer::json(200, out)
}

/// The key in the request, or the gateway's word for what is wrong with it.
fn credential(request: &Request, state: &State) -> Result<(), &'static str> {
    let by_header =
        state.knobs.accept_api_key_header && request.header("x-keap-api-key") == Some(&state.token);
    match request.bearer() {
        _ if by_header => Ok(()),
        Some(token) if token == state.token => Ok(()),
        Some(_) => Err("keymanagement.service.invalid_access_token"),
        None => Err("oauth.v2.InvalidAccessToken"),
    }
}

/// Counts a "the next n" knob down.
fn take_one(left: &mut u32) -> bool {
    let any = *left > 0;
    *left -= u32::from(any);
    any
}

fn set(person: &mut Person, name: &str, value: &Value) -> Result<(), String> {
    let text = || match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text.clone())),
        _ => Err(format!("Invalid value for {name}")),
    };
    let short = || match text()? {
        Some(text) if text.chars().count() > NAME_LIMIT => Err(format!("{name} is too long")),
        text => Ok(text),
    };
    match name {
        "given_name" => person.given_name = short()?,
        "family_name" => person.family_name = short()?,
        "middle_name" => person.middle_name = text()?,
        "preferred_name" => person.preferred_name = text()?,
        "job_title" => person.job_title = text()?,
        "email_addresses" => {
            person.emails = items(value)
                .filter_map(|item| Some((string(item, "field")?, string(item, "email")?)))
                .collect();
        }
        "phone_numbers" => {
            person.phones = items(value)
                .filter_map(|item| {
                    Some(Phone {
                        slot: string(item, "field")?,
                        number: string(item, "number"),
                        e164: string(item, "number_e164"),
                    })
                })
                .collect();
        }
        // Known to the contract and kept by no contact here.
        "addresses" | "custom_fields" | "website" | "time_zone" | "preferred_locale"
        | "owner_id" => {}
        _ => return Err(format!("Unknown field {name}")),
    }
    Ok(())
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn string(item: &Value, name: &str) -> Option<String> {
    item.get(name)?.as_str().map(str::to_owned)
}
