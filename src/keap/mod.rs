//! The Keap client: reads contacts, by pages and by ids (`api/keap.md` 4 to 6). It writes nothing.

mod hooks;
mod limits;
mod wire;

pub use hooks::{Hook, HookState};

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use reqwest::header::{AUTHORIZATION, HeaderMap};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::contact::{Contact, KeapId};
use crate::remote::{BuildError, Call, Failure, Lane, Remote, RemoteOptions, Reply};
use limits::{KeapLimits, KeapRules};

const CONTACTS: &[&str] = &["v2", "contacts"];
const USER_INFO: &[&str] = &["v2", "oauth", "connect", "userinfo"];
/// How many of the newest contacts are looked at, to see that Keap really sorts by stamp.
const NEWEST: usize = 10;

pub struct KeapOptions {
    pub base_url: Url,
    pub api_key: SecretString,
    pub calls_per_second: u32,
    pub calls_per_minute: u32,
    pub daily_reserve_percent: u32,
    pub urgent_share_percent: u32,
    pub connect_timeout: Duration,
    pub request_timeout: Duration,
    pub stop_recheck: Duration,
}

/// Where a page begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    Start,
    /// Behind this id.
    After(KeapId),
    /// Where Keap's own token says.
    Token(String),
}

/// Which contacts a page holds, ordered by id.
#[derive(Debug, Clone)]
pub struct PageQuery {
    /// Bounds on the update stamp; whether Keap includes the bounds themselves is unknown.
    pub from: Option<DateTime<Utc>>,
    pub until: Option<DateTime<Utc>>,
    pub place: Place,
    /// No id above this one.
    pub up_to: Option<KeapId>,
    pub page_size: usize,
    pub show: Show,
}

/// How much of each contact a page shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Show {
    Everything,
    /// Its id and update stamp.
    Stamp,
}

/// A page of contacts.
pub struct Page {
    pub rows: Vec<Row>,
    pub next_token: Option<String>,
    /// Keap's time, cut to the second.
    pub date: Option<DateTime<Utc>>,
}

/// One contact of a list.
pub enum Row {
    Contact(Contact),
    Unreadable {
        id: Option<KeapId>,
        updated_at: Option<DateTime<Utc>>,
        why: String,
    },
}

/// The newest of Keap's contacts.
#[derive(Debug)]
pub struct Newest {
    /// Its update stamp; `None` where Keap does not sort by it.
    pub stamp: Option<DateTime<Utc>>,
    pub date: Option<DateTime<Utc>>,
    /// Whether there is any contact at all.
    pub any: bool,
}

/// Whom the key belongs to.
#[derive(Debug)]
pub struct Account {
    pub tenant: Option<String>,
}

pub struct KeapClient {
    remote: Remote,
    /// Before May 2026 the filter `ids` was called `contact_ids` alone (`api/keap.md` 5.1).
    old_ids_filter: AtomicBool,
}

impl KeapClient {
    pub fn new(options: KeapOptions) -> Result<Self, BuildError> {
        let mut headers = HeaderMap::new();
        headers.insert(
            AUTHORIZATION,
            Remote::bearer(options.api_key.expose_secret(), "KEAP_API_KEY")?,
        );
        let rules = KeapRules {
            calls_per_second: options.calls_per_second as usize,
            calls_per_minute: options.calls_per_minute as usize,
            daily_reserve_percent: options.daily_reserve_percent,
            urgent_share_percent: options.urgent_share_percent,
        };
        let remote = Remote::new(RemoteOptions {
            name: "Keap",
            base_url: options.base_url,
            base_url_setting: "KEAP_BASE_URL",
            credential_setting: "KEAP_API_KEY",
            headers,
            probe: USER_INFO,
            probe_understood: |reply| !reply.is_html(),
            limits: Box::new(KeapLimits::new(rules)),
            idle_connections: 2,
            connect_timeout: options.connect_timeout,
            request_timeout: options.request_timeout,
            stop_recheck: options.stop_recheck,
        })?;
        Ok(Self {
            remote,
            old_ids_filter: AtomicBool::new(false),
        })
    }

    pub fn remote(&self) -> &Remote {
        &self.remote
    }

    /// One page, ordered by id. `Never`: Keap refuses to be asked so.
    pub async fn page(&self, lane: Lane, query: &PageQuery) -> Result<Page, Failure> {
        let mut clauses = Vec::new();
        clauses.extend(
            query
                .from
                .map(|from| format!("start_update_time=={}", stamp(from))),
        );
        clauses.extend(
            query
                .until
                .map(|until| format!("end_update_time=={}", stamp(until))),
        );
        if let Place::After(id) = query.place {
            clauses.push(format!("contact_id>{id}"));
        }
        clauses.extend(query.up_to.map(|id| format!("contact_id<={id}")));
        let mut parameters = vec![("order_by", "id asc".to_owned())];
        if let Place::Token(token) = &query.place {
            parameters.push(("page_token", token.clone()));
        }
        let fields = match query.show {
            Show::Everything => wire::FIELDS,
            Show::Stamp => wire::STAMP,
        };
        self.list(lane, clauses, query.page_size, fields, parameters)
            .await
    }

    /// Contacts by their ids, in one call, in any order. Those that are left out may be gone, or hidden by a lag.
    pub async fn by_ids(&self, lane: Lane, ids: &[KeapId]) -> Result<Vec<Row>, Failure> {
        let joined = ids
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(",");
        let ask = async |name: &str| {
            self.list(
                lane,
                vec![format!("{name}=={joined}")],
                ids.len(),
                wire::FIELDS,
                Vec::new(),
            )
            .await
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

    /// One contact; `None` when Keap does not have it (any more).
    pub async fn by_id(&self, lane: Lane, id: KeapId) -> Result<Option<Row>, Failure> {
        let id = id.to_string();
        let path = ["v2", "contacts", id.as_str()];
        let reply = self
            .remote
            .send(
                lane,
                &Call {
                    query: vec![("fields", wire::FIELDS.into())],
                    ..Call::get(&path)
                },
            )
            .await?;
        match reply.status {
            404 if reply.is_html() => Err(self.remote.wrong_address(404)),
            404 => Ok(None),
            _ => {
                let reply = self.accepted(reply)?;
                let json: &serde_json::value::RawValue = self.remote.parse_borrowed(&reply.body)?;
                Ok(Some(wire::row(json.get())))
            }
        }
    }

    /// The newest update stamp in Keap; where Keap does not sort by it, its clock.
    pub async fn newest(&self, lane: Lane) -> Result<Newest, Failure> {
        let sorted = vec![("order_by", "update_time desc".to_owned())];
        let page = match self
            .list(lane, Vec::new(), NEWEST, wire::STAMP, sorted)
            .await
        {
            Err(Failure::Never { .. }) => self
                .list(lane, Vec::new(), 1, wire::STAMP, Vec::new())
                .await
                .map(|page| (page, false))?,
            page => page.map(|page| (page, true))?,
        };
        let (Page { rows, date, .. }, accepted) = page;
        let stamps: Vec<_> = rows.iter().map(Row::updated_at).collect();
        // An order that is ignored would give any contact's stamp for the newest.
        let sorted = accepted && stamps.windows(2).all(|pair| pair[0] >= pair[1]);
        Ok(Newest {
            stamp: stamps.first().copied().flatten().filter(|_| sorted),
            date,
            any: !rows.is_empty(),
        })
    }

    /// Who the key is for.
    pub async fn account(&self) -> Result<Account, Failure> {
        let reply = self
            .remote
            .send(Lane::Urgent, &Call::get(USER_INFO))
            .await?;
        if reply.status == 404 {
            return Err(self.remote.wrong_address(404));
        }
        let reply = self.accepted(reply)?;
        let info: wire::UserInfo = self.remote.parse(&reply)?;
        let named = reply
            .header("x-keap-tenant-id")
            .filter(|tenant| !tenant.is_empty())
            .map(str::to_owned);
        Ok(Account {
            tenant: named.or_else(|| info.tenant()),
        })
    }

    async fn list(
        &self,
        lane: Lane,
        clauses: Vec<String>,
        page_size: usize,
        fields: &str,
        mut query: Vec<(&'static str, String)>,
    ) -> Result<Page, Failure> {
        if !clauses.is_empty() {
            query.push(("filter", clauses.join(";")));
        }
        query.push(("page_size", page_size.to_string()));
        query.push(("fields", fields.to_owned()));
        let reply = self
            .remote
            .send(
                lane,
                &Call {
                    query,
                    ..Call::get(CONTACTS)
                },
            )
            .await?;
        if reply.status == 404 {
            return Err(self.remote.wrong_address(404));
        }
        let reply = self.accepted(reply)?;
        let list: wire::List<'_> = self.remote.parse_borrowed(&reply.body)?;
        let next_token = list.next_token();
        let rows = list
            .contacts
            .unwrap_or_default()
            .into_iter()
            .map(|json| wire::row(json.get()))
            .collect();
        Ok(Page {
            rows,
            next_token,
            date: reply.date(),
        })
    }

    /// Classes what is left of the statuses (`api/keap.md` 13).
    fn accepted(&self, reply: Reply) -> Result<Reply, Failure> {
        match reply.status {
            200..=299 => Ok(reply),
            402 | 403 => Err(self.remote.stop(format!(
                "does not allow this key to read contacts ({}); check the rights of its user",
                reply.status
            ))),
            status => {
                let word = serde_json::from_slice::<wire::Refusal>(&reply.body)
                    .ok()
                    .and_then(|refusal| refusal.status);
                let word = word.filter(|word| {
                    word.len() <= 40 && word.chars().all(|c| c.is_ascii_uppercase() || c == '_')
                });
                Err(Failure::never(format!(
                    "Keap refuses the request ({status}{})",
                    word.map(|word| format!(" {word}")).unwrap_or_default()
                )))
            }
        }
    }
}

impl Row {
    pub fn id(&self) -> Option<KeapId> {
        match self {
            Self::Contact(contact) => Some(contact.id),
            Self::Unreadable { id, .. } => *id,
        }
    }

    pub fn updated_at(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::Contact(contact) => contact.updated_at,
            Self::Unreadable { updated_at, .. } => *updated_at,
        }
    }
}

/// Times in filters carry milliseconds and a zone (`api/keap.md` 5.1).
fn stamp(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}
