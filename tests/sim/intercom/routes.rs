//! Intercom's routes. Each call passes the checks of token, limit and headers first.

use serde_json::{Value, json};

use super::contact::Standing;
use super::drift::drifted;
use super::workspace::{ADMIN_EMAIL, ADMIN_ID};
use super::write::{find, last_of_chain};
use super::{Intercom, State, errors, render};
use crate::sim::message::{Answer, Described, Request, decoded};

/// The version of a call that names none.
const DEFAULT_VERSION: &str = "2.16";
const VERSIONS: [&str; 20] = [
    "2.0", "2.1", "2.2", "2.3", "2.4", "2.5", "2.6", "2.7", "2.8", "2.9", "2.10", "2.11", "2.12",
    "2.13", "2.14", "2.15", "2.16", "2.17", "Preview", "Unstable",
];

/// What [`Route::kind`] may answer.
pub(super) const KINDS: [&str; 25] = [
    "create",
    "update",
    "read",
    "find",
    "search",
    "list",
    "me",
    "archive",
    "unarchive",
    "delete",
    "merge",
    "attributes",
    "create_attribute",
    "update_attribute",
    "admins",
    "tags",
    "write_tag",
    "contact_tags",
    "tag",
    "untag",
    "write_company",
    "contact_companies",
    "attach_company",
    "detach_company",
    "unknown",
];

enum Route {
    Create,
    Update(String),
    Read(String),
    Find(String),
    Search,
    List,
    Me,
    Archive(String),
    Unarchive(String),
    Delete(String),
    Merge,
    Attributes,
    CreateAttribute,
    UpdateAttribute(String),
    Admins,
    Tags,
    WriteTag,
    ContactTags(String),
    Tag(String),
    Untag(String, String),
    WriteCompany,
    ContactCompanies(String),
    AttachCompany(String),
    DetachCompany(String, String),
    Unknown,
}

impl Route {
    fn of(request: &Request) -> Route {
        let parts: Vec<_> = request.path.trim_matches('/').split('/').collect();
        match (request.method.as_str(), parts.as_slice()) {
            ("GET", ["me"]) => Route::Me,
            ("GET", ["contacts"]) => Route::List,
            ("POST", ["contacts"]) => Route::Create,
            ("POST", ["contacts", "search"]) => Route::Search,
            ("POST", ["contacts", "merge"]) => Route::Merge,
            ("GET", ["contacts", "find_by_external_id", id]) => Route::Find(decoded(id)),
            ("GET", ["contacts", id]) => Route::Read(decoded(id)),
            ("PUT", ["contacts", id]) => Route::Update(decoded(id)),
            ("DELETE", ["contacts", id]) => Route::Delete(decoded(id)),
            ("POST", ["contacts", id, "archive"]) => Route::Archive(decoded(id)),
            ("POST", ["contacts", id, "unarchive"]) => Route::Unarchive(decoded(id)),
            ("GET", ["contacts", id, "tags"]) => Route::ContactTags(decoded(id)),
            ("POST", ["contacts", id, "tags"]) => Route::Tag(decoded(id)),
            ("DELETE", ["contacts", id, "tags", tag]) => Route::Untag(decoded(id), decoded(tag)),
            ("GET", ["contacts", id, "companies"]) => Route::ContactCompanies(decoded(id)),
            ("POST", ["contacts", id, "companies"]) => Route::AttachCompany(decoded(id)),
            ("DELETE", ["contacts", id, "companies", company]) => {
                Route::DetachCompany(decoded(id), decoded(company))
            }
            ("GET", ["data_attributes"]) => Route::Attributes,
            ("POST", ["data_attributes"]) => Route::CreateAttribute,
            ("PUT", ["data_attributes", id]) => Route::UpdateAttribute(decoded(id)),
            ("GET", ["admins"]) => Route::Admins,
            ("GET", ["tags"]) => Route::Tags,
            ("POST", ["tags"]) => Route::WriteTag,
            ("POST", ["companies"]) => Route::WriteCompany,
            _ => Route::Unknown,
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Route::Create => "create",
            Route::Update(_) => "update",
            Route::Read(_) => "read",
            Route::Find(_) => "find",
            Route::Search => "search",
            Route::List => "list",
            Route::Me => "me",
            Route::Archive(_) => "archive",
            Route::Unarchive(_) => "unarchive",
            Route::Delete(_) => "delete",
            Route::Merge => "merge",
            Route::Attributes => "attributes",
            Route::CreateAttribute => "create_attribute",
            Route::UpdateAttribute(_) => "update_attribute",
            Route::Admins => "admins",
            Route::Tags => "tags",
            Route::WriteTag => "write_tag",
            Route::ContactTags(_) => "contact_tags",
            Route::Tag(_) => "tag",
            Route::Untag(..) => "untag",
            Route::WriteCompany => "write_company",
            Route::ContactCompanies(_) => "contact_companies",
            Route::AttachCompany(_) => "attach_company",
            Route::DetachCompany(..) => "detach_company",
            Route::Unknown => "unknown",
        }
    }

    fn id(&self) -> Option<&str> {
        match self {
            Route::Update(id)
            | Route::Read(id)
            | Route::Find(id)
            | Route::Archive(id)
            | Route::Unarchive(id)
            | Route::Delete(id)
            | Route::UpdateAttribute(id)
            | Route::ContactTags(id)
            | Route::Tag(id)
            | Route::Untag(id, _)
            | Route::ContactCompanies(id)
            | Route::AttachCompany(id)
            | Route::DetachCompany(id, _) => Some(id),
            _ => None,
        }
    }
}

impl Intercom {
    pub(super) fn describe_call(&self, request: &Request) -> Described {
        let route = Route::of(request);
        let named = |name: &str| match &route {
            Route::Create | Route::Update(_) => {
                Some(request.json()?.get(name)?.as_str()?.to_owned())
            }
            _ => None,
        };
        let now_ms = self.moment().now_ms;
        let state = self.state();
        let stored = || {
            let (_, record) = find(&state.store, route.id()?, now_ms)?;
            record.facts.external_id.as_deref().map(str::to_owned)
        };
        let found = if let Route::Find(id) = &route { Some(id.clone()) } else { None };
        let external_id = found.or_else(|| named("external_id")).or_else(stored);
        let key = route
            .id()
            .map(str::to_owned)
            .or_else(|| external_id.clone())
            .or_else(|| named("email"));
        Described {
            kind: route.kind(),
            key,
            external_id,
            authorization_ok: request.bearer() == Some(&state.token),
        }
    }

    pub(super) fn answer_call(&self, request: &Request) -> Answer {
        self.after_checks(request, || match Route::of(request) {
            Route::Create => self.create(request),
            Route::Update(id) => self.update(&id, request),
            Route::Read(id) => self.read(&id),
            Route::Find(id) => self.find(&id),
            Route::Search => self.search(request),
            Route::List => self.list(request),
            Route::Me => self.me(),
            Route::Archive(id) => self.archive_call(&id),
            Route::Unarchive(id) => self.unarchive_call(&id),
            Route::Delete(id) => self.delete_call(&id),
            Route::Merge => self.merge_call(request),
            Route::Attributes => self.attributes_call(request),
            Route::CreateAttribute => self.create_attribute_call(request),
            Route::UpdateAttribute(id) => self.update_attribute_call(&id, request),
            Route::Admins => self.admins_call(),
            Route::Tags => self.tags_call(),
            Route::WriteTag => self.write_tag_call(request),
            Route::ContactTags(id) => self.contact_tags_call(&id),
            Route::Tag(id) => self.tag_call(&id, request),
            Route::Untag(id, tag) => self.untag_call(&id, &tag),
            Route::WriteCompany => self.write_company_call(request),
            Route::ContactCompanies(id) => self.contact_companies_call(&id),
            Route::AttachCompany(id) => self.attach_company_call(&id, request),
            Route::DetachCompany(id, company) => self.detach_company_call(&id, &company),
            Route::Unknown => {
                errors::error(404, "not_found", "The requested resource could not be found")
            }
        })
    }

    pub(super) fn fixed_answer(&self, request: &Request, status: u16, body: &str) -> Answer {
        self.after_checks(request, || Answer::fixed(status, body))
    }

    /// Runs the checks before every route, counts the call and adds the headers of the answer.
    fn after_checks(&self, request: &Request, route: impl FnOnce() -> Answer) -> Answer {
        let (request_id, token_fits) = {
            let mut state = self.state();
            state.requests += 1;
            (format!("{:024x}", state.requests), request.bearer() == Some(&state.token))
        };
        if !token_fits {
            // An answer to a call without a valid token shows no limits.
            return identified(errors::unauthorized(), &request_id);
        }
        let (refusal, rate_headers) = self.refusal(request);
        let mut answer = drifted(refusal.unwrap_or_else(route), &self.state().knobs);
        answer.headers.extend(rate_headers);
        let version = request.header("intercom-version").unwrap_or(DEFAULT_VERSION).to_owned();
        identified(answer.header("intercom-version", version), &request_id)
    }

    fn refusal(&self, request: &Request) -> (Option<Answer>, Vec<(&'static str, String)>) {
        let State { limits, knobs, .. } = &mut *self.state();
        // The clock is read under the lock, so that calls reach the windows in order.
        let verdict = limits.take(knobs, self.shared.clock.now_ms());
        let version = request.header("intercom-version").unwrap_or(DEFAULT_VERSION);
        let known = VERSIONS.contains(&version);
        let accepted = request.header("accept").is_none_or(|accept| {
            ["application/json", "application/*", "*/*"].iter().any(|media| accept.contains(media))
        });
        let refusal = if !verdict.allowed {
            let limit = knobs.limit.unwrap_or_default();
            let message =
                format!("Exceeded rate limit of {limit} in {}_seconds", knobs.window_secs);
            let answer = errors::error(429, "rate_limit_exceeded", &message);
            Some(match knobs.retry_after {
                Some(seconds) => answer.header("retry-after", seconds.to_string()),
                None => answer,
            })
        } else if knobs.version_unknown || !known {
            let message = "The requested version could not be found";
            Some(errors::error(400, "intercom_version_invalid", message))
        } else if !accepted {
            let message = "The Accept header should send a media type of application/json";
            Some(errors::error(406, "media_type_not_acceptable", message))
        } else if knobs.plan_restricted {
            Some(errors::error(403, "api_plan_restricted", "Active subscription needed."))
        } else {
            None
        };
        (refusal, verdict.headers)
    }

    fn read(&self, id: &str) -> Answer {
        let now_ms = self.moment().now_ms;
        let store = &self.state().store;
        match find(store, id, now_ms) {
            Some((slot, record)) => match record.standing {
                Standing::Live => Answer::json(200, render::contact(slot, &record.facts)),
                Standing::Merged { into } => errors::merged(last_of_chain(store, into, now_ms)),
                _ => errors::user_not_found(),
            },
            None => errors::user_not_found(),
        }
    }

    /// Finds a user by external id. A live user comes before a merged one.
    fn find(&self, external_id: &str) -> Answer {
        let now_ms = self.moment().now_ms;
        let store = &self.state().store;
        let mut merged = None;
        for (slot, record) in store.holding_external_id(external_id, now_ms) {
            match record.standing {
                _ if record.facts.role == super::contact::Role::Lead => {}
                Standing::Live => return Answer::json(200, render::contact(slot, &record.facts)),
                Standing::Merged { into } => merged = Some(into),
                _ => {}
            }
        }
        match merged {
            Some(into) => errors::merged(last_of_chain(store, into, now_ms)),
            None => errors::user_not_found(),
        }
    }

    fn me(&self) -> Answer {
        let (timezone, region) = {
            let knobs = &self.state().knobs;
            (knobs.timezone.clone(), knobs.region.clone())
        };
        let body = json!({
            "type": "admin", "id": ADMIN_ID, "name": "Sim Admin", "email": ADMIN_EMAIL,
            "email_verified": true, "has_inbox_seat": true,
            "avatar": {"type": "avatar", "image_url": null},
            "app": {
                "type": "app", "id_code": render::WORKSPACE, "name": "Sim Workspace", "region": region,
                "timezone": timezone, "created_at": 1671465577, "secure": false,
                "identity_verification": false,
            },
        });
        Answer::json(200, body.to_string())
    }
}

/// Puts the same request id into the header and into the body of an error.
fn identified(mut answer: Answer, request_id: &str) -> Answer {
    if answer.status >= 400 {
        let body = String::from_utf8_lossy(&answer.body);
        answer.body = body.replace(errors::REQUEST_ID, request_id).into_bytes();
    }
    answer.header("x-request-id", request_id)
}
