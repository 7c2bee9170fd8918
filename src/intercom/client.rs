//! The Intercom client: reads and writes contacts (`docs/api/intercom.md`, "Reading by id",
//! "Writing").

use std::sync::atomic::AtomicU8;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::known_tags::KnownTags;
use super::limits::IntercomLimits;
use super::model::{Done, Found, Refused, Unarchived, Workspace, Written};
use super::places::{AdminsWire, Attribute, AttributesWire};
use super::recent::Recent;
use super::written::Made;
use super::{refusals, wire};
use crate::config;
use crate::contact::{Clears, Contact, FieldPlace, IntercomId, KeapId};
use crate::remote::{
    BuildError, Call, Credential, Failure, Guard, Kind, Lane, Proxy, Remote, RemoteOptions, Reply,
    Together, TransportOptions,
};

const VERSION: HeaderName = HeaderName::from_static("intercom-version");

pub struct IntercomClient {
    pub(super) remote: Remote,
    places: RwLock<Arc<wire::Places>>,
    pub(super) emails_per_search: usize,
    /// How many of the search forms Intercom has refused, from the fullest on.
    pub(super) refused_forms: AtomicU8,
    may_write: OnceLock<Box<Guard>>,
    pub(super) recent: Arc<Recent>,
    pub(super) tag_ids: Made,
    pub(super) known_tags: Arc<KnownTags>,
    pub(super) companies: Made,
    /// Tags that are about to be given to contacts.
    pub(super) tagging: Together<(Lane, String), (IntercomId, KeapId), Result<bool, Failure>>,
}

impl IntercomClient {
    /// `fields`: Intercom's half of the mapping.
    pub fn new(
        intercom: &config::Intercom,
        sync: &config::Sync,
        fields: &[FieldPlace],
        credential: Credential,
    ) -> Result<Self, BuildError> {
        Self::through(None, intercom, sync, fields, credential)
    }

    /// The same, with a proxy on the way.
    pub fn through(
        proxy: Option<Proxy>,
        intercom: &config::Intercom,
        sync: &config::Sync,
        fields: &[FieldPlace],
        credential: Credential,
    ) -> Result<Self, BuildError> {
        let known_tags = Arc::<KnownTags>::default();
        let version = HeaderValue::from_str(&intercom.version)
            .map_err(|_| BuildError::Header("INTERCOM_VERSION"))?;
        let remote = Remote::new(RemoteOptions {
            transport: TransportOptions {
                name: "Intercom",
                base_url: intercom.base_url(),
                base_url_setting: "INTERCOM_REGION or INTERCOM_BASE_URL",
                headers: HeaderMap::from_iter([(VERSION, version)]),
                proxy,
                idle_connections: sync.concurrency,
                connect_timeout: intercom.connect_timeout,
                request_timeout: intercom.request_timeout,
            },
            credential,
            probe: &["me"],
            probe_understood: |reply| wire::is_filled_object(&reply.body),
            says: refusals::says,
            limits: Box::new(IntercomLimits::new(
                intercom.calls_per_10_seconds,
                sync.urgent_share_percent,
            )),
            stop_recheck: sync.stop_recheck,
        })?;
        Ok(Self {
            remote,
            places: RwLock::new(Arc::new(wire::Places::new(fields, Arc::clone(&known_tags)))),
            known_tags,
            emails_per_search: intercom.emails_per_search,
            refused_forms: AtomicU8::new(0),
            may_write: OnceLock::new(),
            recent: Arc::default(),
            tag_ids: Made::default(),
            companies: Made::default(),
            tagging: Together::default(),
        })
    }

    pub fn remote(&self) -> &Remote {
        &self.remote
    }

    /// Takes Intercom's half of the mapping, once it fits the workspace.
    pub fn write_these(&self, fields: &[FieldPlace]) {
        let places = wire::Places::new(fields, Arc::clone(&self.known_tags));
        let places = Arc::new(places);
        *self.places.write().unwrap_or_else(PoisonError::into_inner) = places;
    }

    pub(super) fn places(&self) -> Arc<wire::Places> {
        Arc::clone(&self.places.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The custom attributes of contacts, archived ones too.
    pub async fn attributes(&self) -> Result<Vec<Attribute>, Failure> {
        let query = vec![("model", "contact".to_owned()), ("include_archived", "true".to_owned())];
        let call = Call { query, always_exists: true, ..Call::get(&["data_attributes"]) };
        let reply = refusals::accepted(self.remote.send(Lane::Urgent, &call).await?)?;
        Ok(self.remote.parse::<AttributesWire>(&reply)?.attributes())
    }

    /// Makes a custom attribute of contacts. `options`: the only values that it takes.
    pub async fn create_attribute(
        &self,
        name: &str,
        kind: &str,
        options: Option<&[String]>,
    ) -> Result<(), Failure> {
        let mut body = serde_json::json!({ "name": name, "model": "contact", "data_type": kind });
        if let Some(options) = options {
            body["data_type"] = "options".into();
            body["options"] =
                options.iter().map(|option| serde_json::json!({ "value": option })).collect();
        }
        let path = ["data_attributes"];
        let call = Call { understood: |reply| wire::is_filled_object(&reply.body), ..post(&path) };
        refusals::accepted(self.send(Lane::Urgent, call, &body).await?)?;
        Ok(())
    }

    /// The teammates of the workspace: each id with the e-mail in lower case.
    pub async fn admins(&self) -> Result<Vec<(String, String)>, Failure> {
        let call = Call { always_exists: true, ..Call::get(&["admins"]) };
        let reply = refusals::accepted(self.remote.send(Lane::Urgent, &call).await?)?;
        Ok(self.remote.parse::<AdminsWire>(&reply)?.admins())
    }

    /// Writes are made only while `guard` allows them. Only the first call has an effect.
    pub fn write_only_while(&self, guard: Box<Guard>) {
        let _ = self.may_write.set(guard);
    }

    /// Fails if no write of this contact may be made now: who joins others must not stop them.
    pub(super) fn may_write(&self, whose: KeapId) -> Result<(), Failure> {
        let may_write = self.may_write.get().map_or(Ok(()), |guard| guard(&[whose.get()]));
        may_write.map_err(|closed| self.remote.closed(closed))
    }

    pub async fn create(&self, lane: Lane, contact: &Contact) -> Result<Written, Failure> {
        let (places, clears) = (self.places(), Clears::nothing());
        let body = wire::Write::new(contact, &places, &clears);
        let call = Call { kind: Kind::Create, ..post(&["contacts"]) };
        let reply = self.write(lane, call, contact.id, &body).await?;
        self.written_for(contact.id, reply)
    }

    /// `clears`: the empty fields that are cleared. Intercom keeps its values of the others.
    pub async fn update(
        &self,
        lane: Lane,
        id: &IntercomId,
        contact: &Contact,
        clears: &Clears,
    ) -> Result<Written, Failure> {
        let places = self.places();
        let body = wire::Write::new(contact, &places, clears);
        let path = ["contacts", id.as_str()];
        let reply = self.write(lane, put(&path), contact.id, &body).await?;
        self.written_for(contact.id, reply)
    }

    /// Frees the e-mail of a contact and changes nothing else. No document says that Intercom takes
    /// null here, so an address that nobody can have is the second way.
    pub async fn clear_email(
        &self,
        lane: Lane,
        id: &IntercomId,
        whose: KeapId,
    ) -> Result<(), Failure> {
        let path = ["contacts", id.as_str()];
        let clear = async |body: serde_json::Value| {
            self.written(self.write(lane, put(&path), whose, &body).await?)
        };
        let written = match clear(wire::clear_email()).await? {
            Written::Refused(_) => clear(wire::replace_email(whose)).await?,
            written => written,
        };
        match written {
            Written::Done(_) => Ok(()),
            Written::Refused(Refused { why, .. }) => Err(Failure::Never { why }),
            _ => {
                Err(Failure::again("Intercom does not clear the e-mail of a contact that it shows"))
            }
        }
    }

    /// Reads by id show every change at once; an archived contact looks like a missing one.
    pub async fn read(&self, lane: Lane, id: &IntercomId) -> Result<Found, Failure> {
        self.found(self.read_one(lane, &["contacts", id.as_str()]).await?)
    }

    async fn read_one(&self, lane: Lane, path: &[&str]) -> Result<Reply, Failure> {
        let call =
            Call { understood: |reply| is_own::<wire::ContactWire>(reply), ..Call::get(path) };
        self.remote.send(lane, &call).await
    }

    /// The user that carries this Keap id.
    pub async fn find_by_external_id(&self, lane: Lane, id: KeapId) -> Result<Found, Failure> {
        let path = &["contacts", "find_by_external_id", &id.to_string()];
        self.found(self.read_one(lane, path).await?)
    }

    /// Makes an archived contact live again.
    pub async fn unarchive(
        &self,
        lane: Lane,
        id: &IntercomId,
        whose: KeapId,
    ) -> Result<Unarchived, Failure> {
        let path = ["contacts", id.as_str(), "unarchive"];
        let reply = self.write(lane, post(&path), whose, &serde_json::json!({})).await?;
        match reply.status {
            200..=299 => Ok(Unarchived::Live),
            404 => Ok(Unarchived::Missing),
            // A 403 that is about the token never comes here.
            400 | 403 | 409 | 410 | 422 => Ok(Unarchived::NotRestorable),
            _ => Err(refusals::of_contact(&reply)),
        }
    }

    pub async fn archive(&self, lane: Lane, id: &IntercomId, whose: KeapId) -> Result<(), Failure> {
        let path = ["contacts", id.as_str(), "archive"];
        let reply = self.write(lane, post(&path), whose, &serde_json::json!({})).await?;
        match reply.status {
            // The contact no longer exists.
            200..=299 | 404 | 410 => Ok(()),
            _ => Err(refusals::of_contact(&reply)),
        }
    }

    pub async fn workspace(&self) -> Result<Workspace, Failure> {
        let call = Call { always_exists: true, ..Call::get(&["me"]) };
        let reply = refusals::accepted(self.remote.send(Lane::Urgent, &call).await?)?;
        let me: wire::Me = self.remote.parse(&reply)?;
        let (id_code, region) = me.app.map_or((None, None), |app| (app.id_code, app.region));
        Ok(Workspace { id_code, region })
    }

    pub(super) async fn write(
        &self,
        lane: Lane,
        call: Call<'_>,
        whose: KeapId,
        body: &impl Serialize,
    ) -> Result<Reply, Failure> {
        self.write_about(lane, call, &[whose], body).await
    }

    /// The same for a write that is about these contacts.
    pub(super) async fn write_about(
        &self,
        lane: Lane,
        call: Call<'_>,
        whose: &[KeapId],
        body: &impl Serialize,
    ) -> Result<Reply, Failure> {
        let only_while = self.may_write.get().map(|guard| &**guard);
        let about = whose.iter().map(|id| id.get()).collect();
        self.send(lane, Call { about, only_while, ..call }, body).await
    }

    pub(super) async fn send(
        &self,
        lane: Lane,
        call: Call<'_>,
        body: &impl Serialize,
    ) -> Result<Reply, Failure> {
        let body = serde_json::to_vec(body)
            .map_err(|_| Failure::never("the contact cannot be written as JSON"))?;
        self.remote.send(lane, &Call { body: Some(body), ..call }).await
    }

    fn written_for(&self, whose: KeapId, reply: Reply) -> Result<Written, Failure> {
        let written = self.written(reply)?;
        if let Written::Done(done) = &written {
            self.recent.add(whose, done.id.clone());
        }
        Ok(written)
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
                let places = self.places();
                let shows =
                    places.remembers.then(|| self.remote.parse::<wire::ContactWire>(&reply));
                let shows = shows.transpose()?.and_then(|shown| shown.candidate(&places));
                let request_id = refusals::request_id(&reply);
                Ok(Written::Done(Done { id, request_id, shows: shows.map(Box::new) }))
            }
            409 => Ok(Written::Conflict(wire::Errors::of(&reply.body).conflict())),
            400 | 422 => match refusals::of_contact(&reply) {
                Failure::Never { why } => {
                    let (errors, places) = (wire::Errors::of(&reply.body), self.places());
                    let field = errors.blamed(&places);
                    let is_gone = errors.deny_an_attribute(&places);
                    Ok(Written::Refused(Refused { why, field, is_gone }))
                }
                failure => Err(failure),
            },
            _ => Ok(match gone(&reply)? {
                Some(survivor) => Written::Merged(survivor),
                None => Written::Missing,
            }),
        }
    }

    fn found(&self, reply: Reply) -> Result<Found, Failure> {
        if (200..300).contains(&reply.status) {
            let contact: wire::ContactWire = self.remote.parse(&reply)?;
            return Ok(contact.candidate(&self.places()).map_or(Found::Missing, Found::Contact));
        }
        Ok(gone(&reply)?.map_or(Found::Missing, Found::Merged))
    }
}

/// Reads the answer for a contact that does not exist: archived or deleted (`None`), or merged
/// into the one that is returned. Every other answer is a refusal.
fn gone(reply: &Reply) -> Result<Option<IntercomId>, Failure> {
    match reply.status {
        404 => Ok(None),
        410 => Ok(reply.header("link").and_then(wire::survivor)),
        _ => Err(refusals::of_contact(reply)),
    }
}

pub(super) fn post<'a>(path: &'a [&'a str]) -> Call<'a> {
    Call { method: Method::POST, ..put(path) }
}

fn put<'a>(path: &'a [&'a str]) -> Call<'a> {
    Call {
        method: Method::PUT,
        kind: Kind::Write,
        // Intercom answers every write with the contact, or at least with its id.
        understood: |reply| is_own::<wire::WrittenWire>(reply),
        ..Call::get(path)
    }
}

/// Whether Intercom itself has answered, with what was asked for or with a list of errors. A page,
/// half an answer or another program's object comes from a proxy, and says nothing about the
/// contact.
pub(super) fn is_own<T: DeserializeOwned>(reply: &Reply) -> bool {
    match reply.status {
        200..=299 => serde_json::from_slice::<T>(&reply.body).is_ok(),
        _ => !wire::Errors::of(&reply.body).errors.is_empty(),
    }
}
