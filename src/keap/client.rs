//! The Keap client: reads contacts by pages and by ids (`docs/api/keap.md`, "Pages and tokens",
//! "Filters and bounds", "Contacts by id").

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use chrono::{DateTime, SecondsFormat, Utc};
use reqwest::header::HeaderMap;
use serde::de::DeserializeOwned;

use super::limits::{KeapLimits, KeapQuota};
use super::model::{Account, Newest, Page, PageQuery, Place, Row, Show, TaggedPage};
use super::places::{CustomField, ModelWire, Tag, TaggedWire, TagsWire, UsersWire};
use super::tagged::TaggedAll;
use super::wire;
use crate::config;
use crate::contact::{Email, FieldName, FieldPlace, KeapId};
use crate::mapping::{Filter, TAG};
use crate::remote::{
    BuildError, Call, Credential, Failure, Guard, Lane, Proxy, Remote, RemoteOptions, Reply, Says,
    Together, TransportOptions,
};

const CONTACTS: &[&str] = &["v2", "contacts"];
const MODEL: &[&str] = &["v2", "contacts", "model"];
const USERS: &[&str] = &["v2", "users"];
/// Keap allows no more (`docs/api/keap.md`, "Custom fields").
const USERS_PER_PAGE: usize = 100;
const TAGS: &[&str] = &["v2", "tags"];
const TAGS_PER_PAGE: usize = 1000;
const TAGGED_PER_PAGE: usize = 1000;
/// No account has more; an answer that repeats its token must end.
const MOST_PAGES: usize = 50;
/// Contacts read to see who has an address.
const FEW_CONTACTS: usize = 3;
const USER_INFO: &[&str] = &["v2", "oauth", "connect", "userinfo"];
/// Contacts read to see whether Keap really sorts by the update stamp.
const NEWEST_CONTACTS: usize = 10;

pub struct KeapClient {
    pub(super) remote: Remote,
    places: RwLock<Arc<wire::Places>>,
    /// For reads that want ids, stamps and relations alone.
    few_places: RwLock<Arc<wire::Places>>,
    /// Before May 2026 Keap knew the filter `ids` only as `contact_ids` (`docs/api/keap.md`,
    /// "Filters and bounds").
    old_ids_filter: AtomicBool,
    pub(super) may_write: OnceLock<Box<Guard>>,
    /// Writes of tags that are about to be made.
    pub(super) tagging: Together<(Lane, String, bool), KeapId, Result<TaggedAll, Failure>>,
    /// The custom fields that Keap may show masked.
    pub(super) masked: RwLock<Vec<String>>,
}

impl KeapClient {
    /// `fields`: Keap's half of the mapping.
    pub fn new(
        keap: &config::Keap,
        sync: &config::Sync,
        fields: &[FieldPlace],
        credential: Credential,
    ) -> Result<Self, BuildError> {
        Self::through(None, keap, sync, fields, credential)
    }

    /// The same, with a proxy on the way.
    pub fn through(
        proxy: Option<Proxy>,
        keap: &config::Keap,
        sync: &config::Sync,
        fields: &[FieldPlace],
        credential: Credential,
    ) -> Result<Self, BuildError> {
        let quota = KeapQuota {
            calls_per_second: keap.calls_per_second,
            calls_per_minute: keap.calls_per_minute,
            daily_reserve_percent: keap.daily_reserve_percent,
            urgent_share_percent: sync.urgent_share_percent,
        };
        let remote = Remote::new(RemoteOptions {
            transport: TransportOptions {
                name: "Keap",
                base_url: keap.base_url.clone(),
                base_url_setting: "KEAP_BASE_URL",
                headers: HeaderMap::new(),
                proxy,
                idle_connections: 2,
                connect_timeout: keap.connect_timeout,
                request_timeout: keap.request_timeout,
            },
            credential,
            probe: USER_INFO,
            probe_understood: |reply| !reply.is_html(),
            says,
            limits: Box::new(KeapLimits::new(quota)),
            stop_recheck: sync.stop_recheck,
        })?;
        Ok(Self {
            remote,
            places: RwLock::new(Arc::new(wire::Places::new(fields, Filter::default()))),
            few_places: RwLock::new(Arc::new(wire::Places::relations(fields, Filter::default()))),
            old_ids_filter: AtomicBool::new(false),
            may_write: OnceLock::new(),
            tagging: Together::default(),
            masked: RwLock::default(),
        })
    }

    pub fn remote(&self) -> &Remote {
        &self.remote
    }

    /// Takes Keap's half of the mapping, once it fits the account.
    pub fn read_these(&self, fields: &[FieldPlace], filter: &Filter) {
        let places = wire::Places::new(fields, filter.clone());
        let few = wire::Places::relations(fields, filter.clone());
        let [places, few] = [places, few].map(Arc::new);
        *self.places.write().unwrap_or_else(PoisonError::into_inner) = places;
        *self.few_places.write().unwrap_or_else(PoisonError::into_inner) = few;
    }

    /// The ids of the tags that are read.
    pub fn tags_read(&self) -> Vec<String> {
        self.few_places().tags()
    }

    fn few_places(&self) -> Arc<wire::Places> {
        Arc::clone(&self.few_places.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn places(&self) -> Arc<wire::Places> {
        Arc::clone(&self.places.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The custom fields of contacts.
    pub async fn custom_fields(&self) -> Result<Vec<CustomField>, Failure> {
        let call = Call { always_exists: true, ..Call::get(MODEL) };
        let reply = accepted(self.remote.send(Lane::Urgent, &call).await?)?;
        let fields = self.remote.parse::<ModelWire>(&reply)?.fields();
        let masked = fields.iter().filter(|field| field.is_masked()).map(|field| field.id.clone());
        *self.masked.write().unwrap_or_else(PoisonError::into_inner) = masked.collect();
        Ok(fields)
    }

    /// The tags of the account.
    pub async fn tags(&self) -> Result<Vec<Tag>, Failure> {
        let (mut tags, mut token) = (Vec::new(), None::<String>);
        for _ in 0..MOST_PAGES {
            let page: TagsWire = self.account_page(TAGS, TAGS_PER_PAGE, token.take()).await?;
            token = page.next_page_token.clone().filter(|token| is_token(token));
            tags.extend(page.tags());
            if token.is_none() {
                break;
            }
        }
        Ok(tags)
    }

    /// The contacts with a tag, and when they got it. `since`: only those that got it then or
    /// later.
    pub async fn tagged(
        &self,
        lane: Lane,
        tag: &str,
        since: Option<DateTime<Utc>>,
        token: Option<String>,
    ) -> Result<TaggedPage, Failure> {
        let path = ["v2", "tags", tag, "contacts"];
        // Without a bound, only Keap's time is of interest.
        let page_size = if since.is_some() { TAGGED_PER_PAGE } else { 1 };
        let mut query = vec![("page_size", page_size.to_string())];
        query.extend(since.map(|at| ("filter", format!("since_applied_time=={}", stamp(at)))));
        query.extend(token.map(|token| ("page_token", token)));
        let reply = self.remote.send(lane, &Call { query, ..Call::get(&path) }).await?;
        let reply = accepted(reply)?;
        let page: TaggedWire = self.remote.parse(&reply)?;
        let next_token = page.next_page_token.clone().filter(|token| is_token(token));
        Ok(TaggedPage { applied: page.applied(), next_token, date: reply.date() })
    }

    /// A page of something that belongs to the account.
    async fn account_page<T: DeserializeOwned>(
        &self,
        path: &[&str],
        page_size: usize,
        token: Option<String>,
    ) -> Result<T, Failure> {
        let mut query = vec![("page_size", page_size.to_string())];
        query.extend(token.map(|token| ("page_token", token)));
        let call = Call { query, always_exists: true, ..Call::get(path) };
        let reply = accepted(self.remote.send(Lane::Urgent, &call).await?)?;
        self.remote.parse(&reply)
    }

    /// The fields of the mapping whose custom field or tag the account no longer has. It costs one
    /// call for each of the two kinds that is mapped.
    pub async fn gone_fields(&self, lane: Lane) -> Result<Vec<FieldName>, Failure> {
        let places = self.places();
        let mut there: Vec<String> = Vec::new();
        if places.custom().next().is_some() {
            let call = Call { always_exists: true, ..Call::get(MODEL) };
            let reply = accepted(self.remote.send(lane, &call).await?)?;
            let model = self.remote.parse::<ModelWire>(&reply)?.fields();
            there.extend(model.iter().map(CustomField::place));
        }
        if places.mapped_tags().next().is_some() {
            there.extend(self.tags().await?.iter().map(Tag::place));
        }
        let custom = places.custom().map(|(name, id)| (name, format!("custom:{id}")));
        let tags = places.mapped_tags().map(|(name, id)| (name, format!("{TAG}{id}")));
        let all = custom.chain(tags);
        Ok(all.filter(|(_, place)| !there.contains(place)).map(|(name, _)| name.clone()).collect())
    }

    /// The users of the account: each id with each e-mail in lower case.
    pub async fn users(&self) -> Result<Vec<(String, String)>, Failure> {
        let (mut users, mut token) = (Vec::new(), None::<String>);
        for _ in 0..MOST_PAGES {
            let page: UsersWire = self.account_page(USERS, USERS_PER_PAGE, token.take()).await?;
            token = page.next_page_token.clone().filter(|token| is_token(token));
            users.extend(page.users());
            if token.is_none() {
                break;
            }
        }
        Ok(users)
    }

    /// One page, ordered by id. `Never`: Keap refuses this query.
    ///
    /// Each field has one clause at most.
    pub async fn page(&self, lane: Lane, query: &PageQuery) -> Result<Page, Failure> {
        let mut clauses = Vec::new();
        clauses.extend(query.from.map(|from| format!("start_update_time=={}", stamp(from))));
        clauses.extend(query.until.map(|until| format!("end_update_time=={}", stamp(until))));
        let order = if matches!(query.place, Place::DownFrom(_)) { "id desc" } else { "id asc" };
        let mut parameters = vec![("order_by", order.to_owned())];
        match &query.place {
            Place::Start => {}
            Place::After(id) => clauses.push(format!("contact_id>{id}")),
            Place::Below(id) | Place::DownFrom(id) => clauses.push(format!("contact_id<{id}")),
            Place::Token(token) => parameters.push(("page_token", token.clone())),
        }
        let places = match query.show {
            Show::Everything => self.places(),
            Show::Stamp => self.few_places(),
        };
        self.list(lane, clauses, query.page_size, &places, parameters).await
    }

    /// Contacts by their ids, in one call, in any order. A contact that is missing may be gone, or
    /// Keap's index may be behind.
    pub async fn by_ids(&self, lane: Lane, ids: &[KeapId]) -> Result<Vec<Row>, Failure> {
        let joined = ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let places = self.places();
        let ask = async |name: &str| {
            self.list(lane, vec![format!("{name}=={joined}")], ids.len(), &places, Vec::new()).await
        };
        if !self.old_ids_filter.load(Ordering::Relaxed) {
            match ask("ids").await {
                Err(Failure::Never { .. }) => {}
                asked => return asked.map(|page| page.rows),
            }
        }
        let page = ask("contact_ids").await?;
        self.old_ids_filter.store(true, Ordering::Relaxed);
        Ok(page.rows)
    }

    /// One contact; `None` if Keap does not have it, or no longer.
    pub async fn by_id(&self, lane: Lane, id: KeapId) -> Result<Option<Row>, Failure> {
        let id = id.to_string();
        let path = ["v2", "contacts", id.as_str()];
        let places = self.places();
        let query = vec![("fields", places.list().into())];
        let reply = self.remote.send(lane, &Call { query, ..Call::get(&path) }).await?;
        match reply.status {
            404 => Ok(None),
            _ => {
                let reply = accepted(reply)?;
                let json: &serde_json::value::RawValue = self.remote.parse_borrowed(&reply.body)?;
                Ok(Some(places.row(json.get())))
            }
        }
    }

    /// The contacts that have this e-mail address, at most a few.
    pub async fn with_email(&self, lane: Lane, email: &Email) -> Result<Vec<KeapId>, Failure> {
        let few = wire::Places::none();
        if !Self::can_look_for(email) {
            return Ok(Vec::new());
        }
        let clauses = vec![format!("email=={}", email.as_written())];
        let page = self.list(lane, clauses, FEW_CONTACTS, &few, Vec::new()).await?;
        Ok(page.rows.iter().filter_map(Row::id).collect())
    }

    /// The newest update stamps in Keap, and its clock for the case that it does not sort by stamp.
    pub async fn newest(&self, lane: Lane) -> Result<Newest, Failure> {
        let few = wire::Places::none();
        let sorted = vec![("order_by", "update_time desc".to_owned())];
        let page = match self.list(lane, Vec::new(), NEWEST_CONTACTS, &few, sorted).await {
            Err(Failure::Never { .. }) => {
                self.list(lane, Vec::new(), 1, &few, Vec::new()).await.map(|page| (page, false))?
            }
            page => page.map(|page| (page, true))?,
        };
        let (Page { rows, date, .. }, accepted) = page;
        let stamps: Vec<_> = rows.iter().map(Row::updated_at).collect();
        // If Keap ignores the order, the first contact may be any.
        let sorted = accepted && stamps.windows(2).all(|pair| pair[0] >= pair[1]);
        let stamps = stamps.into_iter().flatten().filter(|_| sorted).collect();
        Ok(Newest { stamps, date, any: !rows.is_empty() })
    }

    /// The account that the key belongs to.
    pub async fn account(&self) -> Result<Account, Failure> {
        let call = Call { always_exists: true, ..Call::get(USER_INFO) };
        let reply = accepted(self.remote.send(Lane::Urgent, &call).await?)?;
        let info: wire::UserInfo<'_> = self.remote.parse_borrowed(&reply.body)?;
        let named =
            reply.header("x-keap-tenant-id").filter(|tenant| !tenant.is_empty()).map(str::to_owned);
        Ok(Account { tenant: named.or_else(|| info.tenant()) })
    }

    async fn list(
        &self,
        lane: Lane,
        clauses: Vec<String>,
        page_size: usize,
        places: &wire::Places,
        mut query: Vec<(&'static str, String)>,
    ) -> Result<Page, Failure> {
        if !clauses.is_empty() {
            query.push(("filter", clauses.join(";")));
        }
        query.push(("page_size", page_size.to_string()));
        query.push(("fields", places.list().to_owned()));
        let call = Call { query, always_exists: true, ..Call::get(CONTACTS) };
        let reply = accepted(self.remote.send(lane, &call).await?)?;
        let list: wire::List<'_> = self.remote.parse_borrowed(&reply.body)?;
        let next_token = list.next_token();
        let rows = list
            .contacts
            .unwrap_or_default()
            .into_iter()
            .map(|json| places.row(json.get()))
            .collect();
        Ok(Page { rows, next_token, date: reply.date() })
    }
}

/// Whether Keap has another page.
pub(super) fn is_token(token: &str) -> bool {
    !matches!(token, "" | "0")
}

/// Classes the remaining statuses (`docs/api/keap.md`, "Statuses").
pub(super) fn accepted(reply: Reply) -> Result<Reply, Failure> {
    if reply.is_success() {
        return Ok(reply);
    }
    let word = serde_json::from_slice::<wire::Refusal>(&reply.body)
        .ok()
        .and_then(|refusal| refusal.status);
    let word = word.filter(|word| {
        word.len() <= 40 && word.chars().all(|c| c.is_ascii_uppercase() || c == '_')
    });
    Err(Failure::never(format!(
        "Keap refuses the request ({}{})",
        reply.status,
        word.map(|word| format!(" {word}")).unwrap_or_default()
    )))
}

/// Refusals that may be about the key or about all of our calls.
fn says(reply: &Reply) -> Says {
    match reply.status {
        402 | 403 => Says::Refused(format!(
            "does not allow this key to read contacts ({}); check the rights of its user",
            reply.status
        )),
        406 | 415 => Says::Refused(format!(
            "refuses the form of our calls ({}); check KEAP_BASE_URL",
            reply.status
        )),
        _ => Says::Nothing,
    }
}

/// Times in filters have milliseconds and a zone (`docs/api/keap.md`, "Times").
fn stamp(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}
