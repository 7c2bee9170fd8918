//! The Intercom client: finds and writes contacts (`api/intercom.md` 1, 3, 4 and 5).

mod limits;
mod wire;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use reqwest::Method;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::Url;

use crate::contact::{Candidate, Contact, Email, IntercomId, KeapId};
use crate::remote::{BuildError, Call, Failure, Guard, Kind, Lane, Remote, RemoteOptions, Reply};
use limits::IntercomLimits;
use wire::Asking;

/// An e-mail that so many contacts share is no way to find one.
const MOST_PAGES: usize = 20;

pub struct IntercomOptions {
    pub base_url: Url,
    pub access_token: SecretString,
    pub version: String,
    pub calls_per_10_seconds: u32,
    pub emails_per_search: usize,
    pub concurrency: usize,
    pub urgent_share_percent: u32,
    pub connect_timeout: Duration,
    pub request_timeout: Duration,
    pub stop_recheck: Duration,
}

/// A contact that is to be found by its e-mail or its Keap id.
#[derive(Clone)]
pub struct Wanted {
    pub keap: KeapId,
    pub email: Email,
}

/// What came of a write.
#[derive(Debug)]
pub enum Written {
    Done(Done),
    Conflict(Conflict),
    /// Merged into this one.
    Merged(IntercomId),
    Missing,
}

#[derive(Debug)]
pub struct Done {
    pub id: IntercomId,
    pub request_id: Option<String>,
}

/// Another contact has these details.
#[derive(Debug)]
pub struct Conflict {
    pub id: Option<IntercomId>,
    pub archived: bool,
}

/// What came of a read.
#[derive(Debug)]
pub enum Found {
    Contact(Candidate),
    Merged(IntercomId),
    Missing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unarchived {
    Live,
    /// Merged away, blocked, or marked for deletion.
    NotRestorable,
    Missing,
}

/// The workspace of the token.
#[derive(Debug)]
pub struct Workspace {
    pub id_code: Option<String>,
    pub region: Option<String>,
}

pub struct IntercomClient {
    remote: Remote,
    emails_per_search: usize,
    /// How many of the ways to ask Intercom has refused.
    asking: AtomicU8,
    may_write: OnceLock<Box<Guard>>,
}

impl IntercomClient {
    pub fn new(options: IntercomOptions) -> Result<Self, BuildError> {
        let mut headers = HeaderMap::new();
        headers.insert(
            AUTHORIZATION,
            Remote::bearer(
                options.access_token.expose_secret(),
                "INTERCOM_ACCESS_TOKEN",
            )?,
        );
        let version = HeaderValue::from_str(&options.version)
            .map_err(|_| BuildError::Credential("INTERCOM_VERSION"))?;
        headers.insert("intercom-version", version);
        let remote = Remote::new(RemoteOptions {
            name: "Intercom",
            base_url: options.base_url,
            base_url_setting: "INTERCOM_REGION or INTERCOM_BASE_URL",
            credential_setting: "INTERCOM_ACCESS_TOKEN",
            headers,
            probe: &["me"],
            probe_understood: |reply| wire::is_filled_object(&reply.body),
            limits: Box::new(IntercomLimits::new(
                options.calls_per_10_seconds,
                options.urgent_share_percent,
            )),
            idle_connections: options.concurrency,
            connect_timeout: options.connect_timeout,
            request_timeout: options.request_timeout,
            stop_recheck: options.stop_recheck,
        })?;
        Ok(Self {
            remote,
            emails_per_search: options.emails_per_search,
            asking: AtomicU8::new(0),
            may_write: OnceLock::new(),
        })
    }

    pub fn remote(&self) -> &Remote {
        &self.remote
    }

    /// Has writes made only while `guard` says so. Counts once.
    pub fn write_only_while(&self, guard: Box<Guard>) {
        let _ = self.may_write.set(guard);
    }

    pub async fn create(&self, lane: Lane, contact: &Contact) -> Result<Written, Failure> {
        let reply = self
            .write(
                lane,
                Method::POST,
                &["contacts"],
                contact.id,
                &wire::Write::create(contact),
            )
            .await?;
        self.written(reply)
    }

    pub async fn update(
        &self,
        lane: Lane,
        id: &IntercomId,
        contact: &Contact,
    ) -> Result<Written, Failure> {
        let reply = self
            .write(
                lane,
                Method::PUT,
                &["contacts", id.as_str()],
                contact.id,
                &wire::Write::update(contact),
            )
            .await?;
        self.written(reply)
    }

    /// Takes its e-mail from a contact, and changes nothing else of it.
    pub async fn clear_email(
        &self,
        lane: Lane,
        id: &IntercomId,
        whose: KeapId,
    ) -> Result<(), Failure> {
        let reply = self
            .write(
                lane,
                Method::PUT,
                &["contacts", id.as_str()],
                whose,
                &serde_json::json!({ "email": null }),
            )
            .await?;
        match self.written(reply)? {
            Written::Done(_) => Ok(()),
            _ => Err(Failure::again(
                "Intercom does not clear the e-mail of a contact that it shows",
            )),
        }
    }

    /// Reads by id are immediate; an archived contact looks like a missing one.
    pub async fn read(&self, lane: Lane, id: &IntercomId) -> Result<Found, Failure> {
        self.found(self.read_one(lane, &["contacts", id.as_str()]).await?)
    }

    async fn read_one(&self, lane: Lane, path: &[&str]) -> Result<Reply, Failure> {
        let call = Call {
            understood: |reply| is_own::<wire::ContactWire>(reply),
            ..Call::get(path)
        };
        self.remote.send(lane, &call).await
    }

    /// The user that carries this Keap id.
    pub async fn find_by_external_id(&self, lane: Lane, id: KeapId) -> Result<Found, Failure> {
        let path = &["contacts", "find_by_external_id", &id.to_string()];
        self.found(self.read_one(lane, path).await?)
    }

    /// Cuts a list of wanted contacts into parts that one search call can ask for.
    pub fn searches(&self, wanted: Vec<Wanted>) -> Vec<Vec<Wanted>> {
        let mut parts: Vec<Vec<Wanted>> = Vec::new();
        let mut room = 0;
        for one in wanted {
            let values = wire::spellings(&one.email).len();
            if values > room || parts.is_empty() {
                parts.push(Vec::new());
                room = self.emails_per_search;
            }
            room = room.saturating_sub(values);
            if let Some(part) = parts.last_mut() {
                part.push(one);
            }
        }
        parts
    }

    /// Live contacts with these e-mails or external ids, by an index that lags by minutes. Give it a part of [`Self::searches`].
    ///
    /// `Never`: every form of asking for these is refused, so one of the addresses is to blame.
    pub async fn search(&self, lane: Lane, wanted: &[Wanted]) -> Result<Vec<Candidate>, Failure> {
        let known = self.asking.load(Ordering::Relaxed);
        let mut refused = None;
        for (plainness, asking) in (0..).zip(Asking::ALL).skip(usize::from(known)) {
            match self.search_as(lane, wanted, asking).await {
                Err(Failure::Never { why }) => refused = Some(Failure::Never { why }),
                Ok(found) => {
                    // What a plainer form finds, a richer one was refused for its form.
                    if let Some(why) = refused
                        .filter(|_| self.asking.fetch_max(plainness, Ordering::Relaxed) < plainness)
                    {
                        tracing::info!(%why, "Intercom refuses the fuller form of search; a plainer one is used from now on.");
                    }
                    return Ok(found);
                }
                Err(failure) => return Err(failure),
            }
        }
        Err(refused.unwrap_or_else(|| Failure::never("Intercom refuses every form of search")))
    }

    async fn search_as(
        &self,
        lane: Lane,
        wanted: &[Wanted],
        asking: Asking,
    ) -> Result<Vec<Candidate>, Failure> {
        let (mut found, mut cursor) = (Vec::new(), None);
        for _ in 0..MOST_PAGES {
            let body = wire::search(wanted, asking, cursor.as_deref());
            let call = Call {
                method: Method::POST,
                kind: Kind::Search,
                about: wanted.iter().map(|one| one.keap.get()).collect(),
                understood: |reply| is_own::<wire::Found>(reply),
                ..Call::get(&["contacts", "search"])
            };
            let reply = self.accepted(self.send(lane, call, &body).await?)?;
            let mut page: wire::Found = self.remote.parse(&reply)?;
            let next = page.cursor();
            found.extend(
                page.data
                    .into_iter()
                    .filter_map(wire::ContactWire::candidate),
            );
            if next.is_none() || next == cursor {
                break;
            }
            cursor = next;
        }
        Ok(found)
    }

    /// Brings an archived contact back.
    pub async fn unarchive(
        &self,
        lane: Lane,
        id: &IntercomId,
        whose: KeapId,
    ) -> Result<Unarchived, Failure> {
        let reply = self
            .write(
                lane,
                Method::POST,
                &["contacts", id.as_str(), "unarchive"],
                whose,
                &serde_json::json!({}),
            )
            .await?;
        match reply.status {
            200..=299 => Ok(Unarchived::Live),
            404 if !reply.is_html() => Ok(Unarchived::Missing),
            400 | 403 | 409 | 410 | 422 => {
                let errors = wire::Errors::of(&reply.body);
                // A 403 of its own code is about the contact; any other one is about the token.
                let about_contact = reply.status != 403 || errors.has_code("not_restorable");
                if about_contact && !errors.has_code("intercom_version_invalid") {
                    Ok(Unarchived::NotRestorable)
                } else {
                    Err(self.refusal(&reply))
                }
            }
            _ => Err(self.refusal(&reply)),
        }
    }

    pub async fn archive(&self, lane: Lane, id: &IntercomId, whose: KeapId) -> Result<(), Failure> {
        let reply = self
            .write(
                lane,
                Method::POST,
                &["contacts", id.as_str(), "archive"],
                whose,
                &serde_json::json!({}),
            )
            .await?;
        match reply.status {
            // Gone already.
            200..=299 | 404 | 410 => Ok(()),
            _ => Err(self.refusal(&reply)),
        }
    }

    pub async fn workspace(&self) -> Result<Workspace, Failure> {
        let reply = self.accepted(self.remote.send(Lane::Urgent, &Call::get(&["me"])).await?)?;
        let me: wire::Me = self.remote.parse(&reply)?;
        let (id_code, region) = me.app.map_or((None, None), |app| (app.id_code, app.region));
        Ok(Workspace { id_code, region })
    }

    async fn write(
        &self,
        lane: Lane,
        method: Method,
        path: &[&str],
        whose: KeapId,
        body: &impl Serialize,
    ) -> Result<Reply, Failure> {
        let only_while = self.may_write.get().map(|guard| &**guard);
        self.send(
            lane,
            Call {
                method,
                only_while,
                kind: Kind::Write,
                about: vec![whose.get()],
                // Every write is answered with the contact, or at least with its id.
                understood: |reply| is_own::<wire::WrittenWire>(reply),
                ..Call::get(path)
            },
            body,
        )
        .await
    }

    async fn send(
        &self,
        lane: Lane,
        call: Call<'_>,
        body: &impl Serialize,
    ) -> Result<Reply, Failure> {
        let body = serde_json::to_vec(body)
            .map_err(|_| Failure::never("the contact cannot be written as JSON"))?;
        self.remote
            .send(
                lane,
                &Call {
                    body: Some(body),
                    ..call
                },
            )
            .await
    }

    fn written(&self, reply: Reply) -> Result<Written, Failure> {
        match reply.status {
            200..=299 => {
                let written: wire::WrittenWire = self.remote.parse(&reply)?;
                let id = IntercomId::new(written.id).ok_or_else(|| {
                    Failure::again(
                        "Intercom wrote the contact and answered with an id that cannot be used",
                    )
                })?;
                Ok(Written::Done(Done {
                    id,
                    request_id: request_id(&reply),
                }))
            }
            409 => Ok(Written::Conflict(wire::Errors::of(&reply.body).conflict())),
            _ => Ok(match self.gone(&reply)? {
                Some(survivor) => Written::Merged(survivor),
                None => Written::Missing,
            }),
        }
    }

    fn found(&self, reply: Reply) -> Result<Found, Failure> {
        if (200..300).contains(&reply.status) {
            let contact: wire::ContactWire = self.remote.parse(&reply)?;
            return Ok(contact.candidate().map_or(Found::Missing, Found::Contact));
        }
        Ok(self.gone(&reply)?.map_or(Found::Missing, Found::Merged))
    }

    /// A contact that is not there: archived, deleted, or merged into the one that is returned. Everything else is a refusal.
    fn gone(&self, reply: &Reply) -> Result<Option<IntercomId>, Failure> {
        match reply.status {
            404 if reply.is_html() => Err(self.remote.wrong_address(404)),
            404 => Ok(None),
            410 => Ok(reply.header("link").and_then(wire::survivor)),
            _ => Err(self.refusal(reply)),
        }
    }

    fn accepted(&self, reply: Reply) -> Result<Reply, Failure> {
        match reply.status {
            200..=299 => Ok(reply),
            404 => Err(self.remote.wrong_address(404)),
            _ => Err(self.refusal(&reply)),
        }
    }

    /// Classes what is left of the statuses and codes (`api/intercom.md` 10).
    fn refusal(&self, reply: &Reply) -> Failure {
        let errors = wire::Errors::of(&reply.body);
        let status = reply.status;
        let (words, request) = (
            errors.in_words(),
            request_id(reply)
                .map(|id| format!(", request {id}"))
                .unwrap_or_default(),
        );
        let told = if words.is_empty() {
            format!("({status}{request})")
        } else {
            format!("({status} {words}{request})")
        };
        if errors.has_code("intercom_version_invalid") {
            return self.remote.stop(format!(
                "does not know the version asked for {told}; check INTERCOM_VERSION"
            ));
        }
        if [
            "too_many_requests",
            "service_unavailable",
            "request_timeout",
            "server_error",
        ]
        .iter()
        .any(|code| errors.has_code(code))
        {
            return Failure::again(format!("Intercom failed {told}"));
        }
        match status {
            402 => self.remote.stop(format!("does not offer this in the workspace's plan {told}")),
            403 if errors.has_code("api_plan_restricted") => self.remote.stop(format!("does not offer this in the workspace's plan {told}")),
            403 => self.remote.stop(format!("does not allow this token to do that {told}; check the permissions of INTERCOM_ACCESS_TOKEN's app")),
            406 | 415 => self.remote.stop(format!("refuses the form of our calls {told}; check INTERCOM_VERSION and INTERCOM_BASE_URL")),
            _ => Failure::never(format!("Intercom refuses the contact {told}")),
        }
    }
}

/// Whether Intercom itself has answered: what was asked for, or a list of errors. A page, half an answer or an object of
/// another program's comes from what stands before Intercom, and says nothing of the contact.
fn is_own<T: DeserializeOwned>(reply: &Reply) -> bool {
    match reply.status {
        200..=299 => serde_json::from_slice::<T>(&reply.body).is_ok(),
        // About the token, or the address: a person is told.
        402 | 403 | 406 | 415 => true,
        404 if reply.is_html() => true,
        _ => !wire::Errors::of(&reply.body).errors.is_empty(),
    }
}

/// Intercom's own name for a call, for its support; kept only where it is plainly an id.
fn request_id(reply: &Reply) -> Option<String> {
    let id = reply.header("x-request-id")?;
    (id.len() <= 100
        && id
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_'))
    .then(|| id.to_owned())
}
