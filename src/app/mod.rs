//! Builds the parts that every command uses: clients, database, mapping and policy.

mod creating;
mod fitting;
mod mapping;
mod pages;
pub mod people;
pub mod side_by_side;
pub mod words;

pub use fitting::{Fitting, log_unfit};
pub use mapping::{Models, Needs, mapping};
pub use pages::Pages;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::Context as _;
use chrono::TimeDelta;
use futures_util::FutureExt;
use secrecy::ExposeSecret;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::config::{self, Migrate, Needed, Settings, SettingsError};
use crate::intercom::IntercomClient;
use crate::keap::KeapClient;
use crate::mapping::{Fitted, Mapping};
use crate::notify::Notifier;
use crate::pause;
use crate::remote::{Closed, Credential, Failure, Guard, Proxy, Standing};
use crate::report::{Rates, SecondDirection};
use crate::store::{HeldLease, SchemaState, Store, StoreError, StoreOptions};
use crate::sync::{Board, Context, Direction, Doubt, Pace, PauseBoard, Policy};
use crate::tasks::hooks::HookOptions;

/// What the settings say of the second direction.
fn direction(settings: &config::IntercomToKeap) -> Direction {
    let tie = TimeDelta::from_std(settings.tie).unwrap_or(Direction::ONE_WAY.tie);
    Direction { to_keap: settings.enabled, puts_back: settings.enabled && settings.put_back, tie }
}

/// What people are told of the second direction depends on these settings.
pub fn second_direction(settings: &Settings) -> SecondDirection {
    let second = &settings.intercom_to_keap;
    SecondDirection {
        enabled: second.enabled,
        is_notified: second.enabled && settings.intercom.client_secret.is_some(),
        rates: Rates {
            per_minute: second.writes_per_minute,
            reserve_percent: settings.keap.daily_reserve_percent,
        },
    }
}

/// The runtime of the program: one thread. The remotes allow some 170 calls a second, and a thread
/// carries thirty times that. Each further thread would wake for the work of the others and hold
/// memory of its own.
pub fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// A database that does not say soon which contacts are linked is not waited for: a weaker proof
/// does without one.
const BYSTANDER_TIME: Duration = Duration::from_secs(2);

/// The parts that every command builds from.
pub struct Parts {
    pub store: Store,
    pub keap: Arc<KeapClient>,
    pub intercom: Arc<IntercomClient>,
    pub fitting: Fitting,
    pub notifier: Arc<Notifier>,
    policy: Policy,
    /// Writes to Keap that nobody waits for.
    writes_per_minute: u32,
    /// The mapping fits otherwise than when the parts were built: they must be built again.
    pub outdated: AtomicBool,
}

impl Parts {
    /// Builds the clients and the pool; nothing is called yet. Errors name the setting that is
    /// missing or wrong.
    pub fn build(settings: &Settings) -> anyhow::Result<Self> {
        Self::with_mapping(settings, mapping(settings)?)
    }

    /// The same, for another mapping than that of the settings.
    pub fn with_mapping(settings: &Settings, mapping: Mapping) -> anyhow::Result<Self> {
        let store = store(settings)?;
        let fitting = fitting(settings, mapping)?;
        let policy = Policy {
            keap: settings.keap.clone(),
            matching: settings.r#match.clone(),
            left: settings.filter.left,
            direction: direction(&settings.intercom_to_keap),
            intercom_overlap: TimeDelta::from_std(settings.intercom_to_keap.overlap)
                .unwrap_or_default(),
            brake_percent: settings.mapping.brake_percent,
            creating: creating::creating(settings),
            poll: settings.poll.clone(),
            sweep: settings.sweep.clone(),
            erase: settings.erase.clone(),
            sync: settings.sync.clone(),
        };
        Ok(Self {
            store,
            notifier: Arc::new(notifier(settings)?),
            keap: Arc::clone(&fitting.keap),
            intercom: Arc::clone(&fitting.intercom),
            fitting,
            policy,
            writes_per_minute: settings.intercom_to_keap.writes_per_minute,
            outdated: AtomicBool::new(false),
        })
    }

    /// Fits the mapping to the accounts, for a command that does its work once.
    pub async fn fit(&self) -> Result<Fitted, Failure> {
        let fitted = self.fitting.look_whole().await?;
        self.fitting.apply(&fitted);
        log_unfit(&fitted);
        Ok(fitted)
    }

    /// Whether users of Intercom without a link may be brought into Keap.
    pub fn brings_newcomers(&self) -> bool {
        self.policy.creating.is_on()
    }

    /// Gives the running clients the tokens of `settings`. False if a side needs a person: its work
    /// waits for the next look at it, so only new parts use the new token at once.
    pub fn replace_credentials(&self, settings: &Settings) -> anyhow::Result<bool> {
        let sides = [
            (self.keap.remote(), Needed::KeapApiKey),
            (self.intercom.remote(), Needed::IntercomAccessToken),
        ];
        if sides.iter().any(|(remote, _)| matches!(remote.standing(), Standing::Refused(_))) {
            return Ok(false);
        }
        for (remote, needed) in sides {
            remote.credential().replace(settings.secret(needed)?)?;
        }
        Ok(true)
    }

    /// What passes stand on, once the database is migrated and the mapping fits. `doubt` is told
    /// when a field is refused.
    pub async fn context(
        &self,
        fitted: &Fitted,
        lease: HeldLease,
        doubt: Arc<Doubt>,
        cancel: CancellationToken,
    ) -> Result<Arc<Context>, StoreError> {
        let context = self.context_of(fitted, lease, doubt, cancel).await?;
        let may_write = |direction| may_write(&context, direction);
        self.intercom.write_only_while(may_write(pause::Direction::KeapToIntercom));
        self.keap.write_only_while(may_write(pause::Direction::IntercomToKeap));
        let store = self.store.with_deadline(BYSTANDER_TIME);
        self.intercom.prove_by(Box::new(move |about| {
            let store = store.clone();
            async move { store.bystander(&about).await.ok().flatten() }.boxed()
        }));
        Ok(context)
    }

    /// The same for what only reads and decides. It never holds the lease.
    pub async fn reading_context(
        &self,
        fitted: &Fitted,
        cancel: CancellationToken,
    ) -> Result<Arc<Context>, StoreError> {
        self.context_of(fitted, HeldLease::never(), Arc::default(), cancel).await
    }

    async fn context_of(
        &self,
        fitted: &Fitted,
        lease: HeldLease,
        doubt: Arc<Doubt>,
        cancel: CancellationToken,
    ) -> Result<Arc<Context>, StoreError> {
        let pauses = PauseBoard::new(self.store.pauses().await?);
        let pace = Pace::new(self.writes_per_minute, self.policy.keap.daily_reserve_percent);
        Ok(Arc::new(Context {
            store: self.store.clone(),
            keap: Arc::clone(&self.keap),
            intercom: Arc::clone(&self.intercom),
            key: self.store.digest_key().await?,
            fields: fitted.order(&self.store.stored_fields().await?),
            policy: self.policy.clone(),
            lease,
            cancel,
            board: Board { doubt, pace, pauses: Arc::new(pauses), ..Board::default() },
        }))
    }
}

/// Asked just before each write of a client: whether this process still may write, and whether a
/// person has paused the direction.
fn may_write(context: &Context, direction: pause::Direction) -> Box<Guard> {
    let (lease, pauses) = (context.lease.clone(), Arc::clone(&context.board.pauses));
    Box::new(move |about| match pauses.of_write(direction, about) {
        _ if !lease.is_held() => Err(Closed::LeaseLost),
        Some(why) => Err(Closed::Paused(why)),
        None => Ok(()),
    })
}

/// A mapping and the clients of both accounts; nothing is called yet. The clients know the places
/// that every account has.
pub fn fitting(settings: &Settings, mapping: Mapping) -> anyhow::Result<Fitting> {
    let fitted = Models::default().fit(&mapping);
    let keap = Arc::new(mapped_keap_client(settings, &fitted)?);
    let intercom = Arc::new(intercom_client(settings, &fitted)?);
    Ok(Fitting { mapping, keap, intercom, filter: settings.filter.clone() })
}

/// The Keap client; nothing is called yet.
pub fn keap_client(settings: &Settings) -> anyhow::Result<KeapClient> {
    mapped_keap_client(settings, &Models::default().fit(&Mapping::default()))
}

fn mapped_keap_client(settings: &Settings, mapping: &Fitted) -> anyhow::Result<KeapClient> {
    let api_key = settings.secret(Needed::KeapApiKey)?;
    let (keap, sync, fields) = (&settings.keap, &settings.sync, mapping.keap());
    let proxy = proxy_to(&keap.base_url, settings);
    Credential::new(api_key, "KEAP_API_KEY")
        .and_then(|key| KeapClient::through(proxy, keap, sync, &fields, key))
        .context("the Keap client could not be built")
}

/// The Intercom client; nothing is called yet.
pub fn intercom_client_of(settings: &Settings) -> anyhow::Result<IntercomClient> {
    intercom_client(settings, &Models::default().fit(&Mapping::default()))
}

fn intercom_client(settings: &Settings, mapping: &Fitted) -> anyhow::Result<IntercomClient> {
    let token = settings.secret(Needed::IntercomAccessToken)?;
    let (intercom, sync, fields) = (&settings.intercom, &settings.sync, mapping.intercom());
    let proxy = proxy_to(&intercom.base_url(), settings);
    Credential::new(token, "INTERCOM_ACCESS_TOKEN")
        .and_then(|token| IntercomClient::through(proxy, intercom, sync, &fields, token))
        .context("the Intercom client could not be built")
}

/// The proxy on the way to an address, if the settings name one for it.
fn proxy_to(address: &Url, settings: &Settings) -> Option<Proxy> {
    let named = settings.proxy()?;
    Proxy::on_the_way_to(address, &named.url, named.name, named.is_own, &named.except)
}

/// Who is told of troubles; nobody is called yet.
pub fn notifier(settings: &Settings) -> Result<Notifier, SettingsError> {
    settings.check_alarms()?;
    Notifier::new(settings, |address| proxy_to(address, settings)).map_err(SettingsError::refused)
}

/// The pool; the first connection is made when it is needed.
pub fn store(settings: &Settings) -> anyhow::Result<Store> {
    settings.require(&[Needed::DatabaseUrl])?;
    let address = settings.database.address().unwrap_or_default();
    Store::new(&StoreOptions {
        url: address.expose_secret(),
        max_connections: settings.database.max_connections,
        connect_timeout: settings.database.connect_timeout,
        statement_timeout: settings.database.statement_timeout,
        prepared_statements: settings.database.prepared_statements,
    })
    // The library's own text may quote the URL.
    .map_err(|_| SettingsError::refused("DATABASE_URL: a part of it is not understood; expected a URL such as postgres://user:password@host:5432/database").into())
}

/// Brings the database to this program's schema, or refuses, by setting.
pub async fn prepare_database(store: &Store, migrate: Migrate) -> Result<(), StoreError> {
    match (store.schema_state().await?, migrate) {
        (SchemaState::Current, _) => Ok(()),
        (SchemaState::Behind(missing), Migrate::Refuse) => Err(StoreError::Schema(format!(
            "{missing} migration(s) are missing; run `keap-intercom-sync migrate` as the owner of the schema"
        ))),
        (SchemaState::Behind(_) | SchemaState::Newer, _) => {
            let applied = store.migrate().await?;
            tracing::info!(applied, "The database is migrated.");
            Ok(())
        }
    }
}

/// The subscriptions there should be; `None` where the settings leave webhooks off.
pub fn hook_options(settings: &Settings) -> Option<HookOptions> {
    let secrets = settings.keap.webhook_secrets();
    let public_url = settings.http.public_url.clone()?;
    (!secrets.is_empty()).then(|| HookOptions {
        events: settings.hooks.events.clone(),
        public_url,
        secrets,
    })
}
