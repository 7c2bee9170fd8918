//! The watchdog of the hooks: keeps one verified subscription per event that points at us, and no
//! other of ours. What was missed while one was dead is read again.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::feed::{Feed, RunReason};
use crate::keap::{Hook, HookState, KeapClient};
use crate::remote::Failure;
use crate::store::{self, HeldLease, HookRow, SeenHook, Store, StoreError};
use crate::trigger::Trigger;

/// How long a requested handshake is answered.
const HANDSHAKE: Duration = Duration::from_secs(300);
/// Keap gives a delivery up 36 minutes after its first attempt. So events from before the last good
/// look may be missing too.
const UNDELIVERED: TimeDelta = TimeDelta::minutes(60);

/// What subscriptions there should be.
#[derive(Clone)]
pub struct HookOptions {
    pub events: Vec<String>,
    /// Where Keap reaches us.
    pub public_url: Url,
    /// The secrets in use, the one for new subscriptions first.
    pub secrets: Vec<SecretString>,
}

impl HookOptions {
    /// The address that carries a secret.
    fn url(&self, secret: &SecretString) -> String {
        let mut url = self.public_url.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(["webhook", "keap", secret.expose_secret()]);
        }
        url.into()
    }

    /// Whether an address is one of this installation's, whatever its secret.
    fn is_ours(&self, url: &str) -> bool {
        let base = self.public_url.as_str().trim_end_matches('/');
        url.strip_prefix(base)
            .is_some_and(|path| path == "/webhook/keap" || path.starts_with("/webhook/keap/"))
    }
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text).into()
}

/// The state of a subscription after a look.
#[derive(Debug, Clone, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HookReport {
    pub event_key: String,
    pub key: Option<String>,
    pub state: &'static str,
    /// What was done about it: `kept`, `registered`, `verified`, `removed` or `nothing`.
    pub done: &'static str,
    pub error: Option<String>,
}

/// Why the subscriptions could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum HookError {
    #[error("{0}")]
    Keap(#[from] Failure),
    #[error("the database failed")]
    Store(#[from] StoreError),
}

/// The address that every subscription should have, and its secret.
struct Wanted {
    url: String,
    secret: [u8; 32],
    /// Also verify subscriptions again that work.
    verify_all: bool,
}

/// What one look at all subscriptions found and did.
#[derive(Default)]
struct Round {
    reports: Vec<HookReport>,
    /// The subscriptions that work, by event.
    kept: HashMap<String, String>,
    /// Since when events may have been missed.
    missed: Option<DateTime<Utc>>,
}

/// Looks after our subscriptions.
pub struct Hooks {
    keap: Arc<KeapClient>,
    store: Store,
    options: HookOptions,
}

impl Hooks {
    pub fn new(keap: Arc<KeapClient>, store: Store, options: HookOptions) -> Self {
        Self { keap, store, options }
    }

    /// Our subscriptions as Keap lists them, and whether each is one that should be.
    pub async fn list(&self) -> Result<Vec<(Hook, bool)>, HookError> {
        let known = self.store.hooks().await?;
        let listed = self.keap.hooks().await?;
        let ours = listed.into_iter().filter(|hook| self.is_ours(hook, &known)).map(|hook| {
            let wanted = self.is_wanted(&hook);
            (hook, wanted)
        });
        Ok(ours.collect())
    }

    fn is_wanted(&self, hook: &Hook) -> bool {
        let current = self.options.secrets.first();
        current.is_some_and(|secret| self.options.url(secret) == hook.url)
            && self.options.events.contains(&hook.event_key)
    }

    /// Whether this installation made it, also under a former address.
    fn is_ours(&self, hook: &Hook, known: &[HookRow]) -> bool {
        self.options.is_ours(&hook.url)
            || known.iter().any(|row| row.url_digest == digest(&hook.url))
    }

    /// Brings the subscriptions to the wanted state. `verify_all`: also verifies those again that
    /// work.
    pub async fn look_after(&self, verify_all: bool) -> Result<Vec<HookReport>, HookError> {
        let Some(secret) = self.options.secrets.first() else {
            return Ok(Vec::new());
        };
        let wanted = Wanted {
            url: self.options.url(secret),
            secret: digest(secret.expose_secret()),
            verify_all,
        };
        let known = self.store.hooks().await?;
        let listed = self.keap.hooks().await?;
        let mut round = Round::default();
        for event in &self.options.events {
            self.look_after_one(event, &wanted, &listed, &mut round).await?;
        }
        self.read_what_was_missed(round.missed).await?;
        for hook in listed.iter().filter(|hook| self.is_ours(hook, &known)) {
            if self.is_superfluous(hook, &round.kept) {
                let report = self.remove(hook).await?;
                round.reports.push(report);
            }
        }
        let all_work = round.kept.len() == self.options.events.len();
        self.store.forget_hooks(&self.options.events, digest(&wanted.url), all_work).await?;
        Ok(round.reports)
    }

    /// Sees to the subscription to one event.
    async fn look_after_one(
        &self,
        event: &str,
        wanted: &Wanted,
        listed: &[Hook],
        round: &mut Round,
    ) -> Result<(), HookError> {
        let mut candidates: Vec<&Hook> = listed
            .iter()
            .filter(|hook| hook.event_key == event && hook.url == wanted.url)
            .collect();
        candidates.sort_by_key(|hook| hook.state != HookState::Verified);
        let found = candidates.first().copied();
        let is_well = found.is_some_and(|hook| hook.state == HookState::Verified);
        if !is_well {
            // Store the state before mending it: only now is it known since when it was dead.
            self.store_state(event, wanted, found).await?;
        }
        let (hook, done) = if is_well && !wanted.verify_all {
            (Ok(found.cloned()), "kept")
        } else {
            self.mend(event, wanted, found).await?
        };
        let (hook, error) = match hook {
            Ok(hook) => (hook, None),
            Err(Failure::Never { why }) => (found.cloned(), Some(why)),
            Err(failure) => return Err(failure.into()),
        };
        let dead_since = self.store_state(event, wanted, hook.as_ref()).await?;
        round.missed = [round.missed, dead_since].into_iter().flatten().min();
        let state = hook.as_ref().map(|hook| hook.state);
        if let (Some(hook), Some(HookState::Verified)) = (&hook, state) {
            round.kept.insert(event.to_owned(), hook.key.clone());
        }
        round.reports.push(HookReport {
            event_key: event.to_owned(),
            key: hook.map(|hook| hook.key),
            state: state.map_or("missing", word),
            done: if error.is_some() { "nothing" } else { done },
            error,
        });
        Ok(())
    }

    /// Registers a subscription, or verifies the one that is there. Keap's handshake is expected
    /// from then on.
    async fn mend(
        &self,
        event: &str,
        wanted: &Wanted,
        found: Option<&Hook>,
    ) -> Result<(Result<Option<Hook>, Failure>, &'static str), HookError> {
        self.store.expect_handshake(event, digest(&wanted.url), wanted.secret, HANDSHAKE).await?;
        Ok(match found {
            Some(hook) => (self.keap.verify_hook(&hook.key).await.map(Some), "verified"),
            None => (self.keap.add_hook(event, &wanted.url).await.map(Some), "registered"),
        })
    }

    async fn store_state(
        &self,
        event: &str,
        wanted: &Wanted,
        hook: Option<&Hook>,
    ) -> Result<Option<DateTime<Utc>>, HookError> {
        let seen = SeenHook {
            event_key: event,
            url: digest(&wanted.url),
            secret: wanted.secret,
            hook_key: hook.map(|hook| hook.key.as_str()),
            state: stored(hook.map(|hook| hook.state)),
        };
        Ok(self.store.record_hook_state(&seen).await?)
    }

    /// The last subscription to an event goes only when another one works.
    fn is_superfluous(&self, hook: &Hook, kept: &HashMap<String, String>) -> bool {
        let is_kept = kept.get(&hook.event_key) == Some(&hook.key);
        let is_replaced =
            kept.contains_key(&hook.event_key) || !self.options.events.contains(&hook.event_key);
        !is_kept && is_replaced
    }

    /// Removes every subscription of this installation.
    pub async fn remove_all(&self) -> Result<Vec<HookReport>, HookError> {
        let mut reports = Vec::new();
        for (hook, _) in self.list().await? {
            reports.push(self.remove(&hook).await?);
        }
        self.store.forget_hooks(&[], [0; 32], true).await?;
        Ok(reports)
    }

    async fn remove(&self, hook: &Hook) -> Result<HookReport, HookError> {
        let removed = self.keap.remove_hook(&hook.key).await;
        let error = match removed {
            Ok(()) => None,
            Err(Failure::Never { why }) => Some(why),
            Err(failure) => return Err(failure.into()),
        };
        Ok(HookReport {
            event_key: hook.event_key.clone(),
            key: Some(hook.key.clone()),
            state: if error.is_none() { "gone" } else { word(hook.state) },
            done: if error.is_none() { "removed" } else { "nothing" },
            error,
        })
    }

    /// Asks for a walk over the time in which hooks were dead: polling may have been off as well.
    async fn read_what_was_missed(&self, since: Option<DateTime<Utc>>) -> Result<(), HookError> {
        let Some(since) = since.and_then(|since| since.checked_sub_signed(UNDELIVERED)) else {
            return Ok(());
        };
        let run =
            self.store.request_run(Feed::Backfill, RunReason::HooksWereDead, Some(since)).await?;
        tracing::info!(
            run.id = %run,
            %since,
            "Hooks work again; changes from the time when they did not are read once more."
        );
        Ok(())
    }

    /// Looks after the subscriptions whenever the trigger fires, in the process that holds the
    /// lease, until `cancel`.
    pub async fn watch(
        self,
        trigger: Arc<Trigger>,
        mut lease: HeldLease,
        cancel: CancellationToken,
    ) {
        let (mut logged, mut held) = (String::new(), false);
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                () = trigger.fired() => {}
                // A process that takes the lease looks at once.
                changed = lease.changed() => {
                    let before = std::mem::replace(&mut held, lease.is_held());
                    if !changed {
                        return;
                    }
                    if before || !held {
                        continue;
                    }
                }
            }
            if !lease.is_held() {
                continue;
            }
            let looked = tokio::select! {
                () = cancel.cancelled() => return,
                looked = self.look_after(false) => looked,
            };
            let now = match &looked {
                Ok(reports) => summary(reports),
                Err(error) => format!("{error}"),
            };
            // Logged when it changes, not at every look.
            if now == logged {
                continue;
            }
            match looked {
                Err(error) => tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "Hooks could not be looked after; polling goes on, and the next look is on schedule."
                ),
                Ok(reports)
                    if reports.iter().all(|report| matches!(report.state, "verified" | "gone")) =>
                {
                    tracing::info!(hooks = now, "Hooks are in order.");
                }
                Ok(_) => tracing::warn!(
                    hooks = now,
                    "Hooks are not in order; polling goes on. Does HTTP_PUBLIC_URL lead here from outside?"
                ),
            }
            logged = now;
        }
    }
}

fn summary(reports: &[HookReport]) -> String {
    let one = |report: &HookReport| {
        let error = report.error.as_deref().map(|why| format!(" ({why})"));
        format!("{} {}{}", report.event_key, report.state, error.unwrap_or_default())
    };
    reports.iter().map(one).collect::<Vec<_>>().join(", ")
}

pub fn word(state: HookState) -> &'static str {
    stored(Some(state)).as_str()
}

fn stored(state: Option<HookState>) -> store::HookState {
    match state {
        Some(HookState::Verified) => store::HookState::Verified,
        Some(HookState::Inactive) => store::HookState::Inactive,
        Some(HookState::Unverified) | None => store::HookState::Unverified,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(public_url: &str) -> HookOptions {
        HookOptions {
            events: vec!["contact.edit".into()],
            public_url: public_url.parse().unwrap(),
            secrets: vec!["a/b+c=d".into()],
        }
    }

    #[test]
    fn the_secret_stays_in_its_part_of_the_address() {
        for (base, url) in [
            ("https://sync.example.com", "https://sync.example.com/webhook/keap/a%2Fb+c=d"),
            ("https://example.com/sync", "https://example.com/sync/webhook/keap/a%2Fb+c=d"),
        ] {
            let options = options(base);
            assert_eq!(options.url(&options.secrets[0]), url);
            assert!(options.is_ours(url));
        }
    }

    #[test]
    fn other_peoples_addresses_are_not_ours() {
        let options = options("https://sync.example.com");
        for url in [
            "https://sync.example.com/webhook/keapx/1",
            "https://sync.example.com/other",
            "https://sync.example.com.evil.org/webhook/keap/1",
            "https://other.example.com/webhook/keap/1",
        ] {
            assert!(!options.is_ours(url), "{url}");
        }
    }
}
