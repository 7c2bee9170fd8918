//! Our subscriptions to Keap's events, as they were last seen.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::FromRow;

use super::{Result, Store, StoreError};

/// The state of a subscription, in Keap's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum HookState {
    Unverified,
    Verified,
    Inactive,
}

impl HookState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unverified => "unverified",
            Self::Verified => "verified",
            Self::Inactive => "inactive",
        }
    }
}

/// A subscription as it is seen now.
#[derive(Debug, Clone, Copy)]
pub struct SeenHook<'a> {
    pub event_key: &'a str,
    /// The digest of its address.
    pub url: [u8; 32],
    /// The digest of the secret in its address.
    pub secret: [u8; 32],
    /// Keap's own key of the subscription, once it is known.
    pub hook_key: Option<&'a str>,
    pub state: HookState,
}

/// A subscription as it was last seen.
#[derive(Debug, Clone)]
pub struct HookRow {
    pub event_key: String,
    pub url_digest: [u8; 32],
    pub state: String,
}

#[derive(FromRow)]
struct StoredHook {
    event_key: String,
    url_digest: Vec<u8>,
    state: String,
}

impl Store {
    /// Every subscription that this installation has made or seen.
    pub async fn hooks(&self) -> Result<Vec<HookRow>> {
        let rows: Vec<StoredHook> = transaction!(self, tx, {
            Ok(sqlx::query_as(
                "select event_key, url_digest, state from keap_hook order by event_key",
            )
            .fetch_all(&mut **tx)
            .await?)
        })?;
        rows.into_iter()
            .map(|row| {
                Ok(HookRow {
                    event_key: row.event_key,
                    url_digest: row
                        .url_digest
                        .try_into()
                        .map_err(|_| StoreError::BadRow("keap_hook"))?,
                    state: row.state,
                })
            })
            .collect()
    }

    /// Stores the state of a subscription. If it works again, returns since when it was dead.
    pub async fn record_hook_state(&self, seen: &SeenHook<'_>) -> Result<Option<DateTime<Utc>>> {
        transaction!(self, tx, {
            let before: Option<Option<DateTime<Utc>>> = sqlx::query_scalar(
                "select dead_since from keap_hook where event_key = $1 and url_digest = $2 for update",
            )
            .bind(seen.event_key)
            .bind(&seen.url[..])
            .fetch_optional(&mut **tx)
            .await?;
            // A subscription that never worked has missed nothing. One that did has missed what
            // came since it was last seen working.
            sqlx::query(
                "insert into keap_hook as hook (event_key, url_digest, secret_digest, hook_key, state, verified_at)
                 values ($1, $2, $3, $4, $5, case when $5 = 'verified' then now() end)
                 on conflict (event_key, url_digest) do update
                    set secret_digest = excluded.secret_digest, hook_key = coalesce(excluded.hook_key, hook.hook_key),
                        state = excluded.state, verified_at = coalesce(excluded.verified_at, hook.verified_at),
                        dead_since = case when excluded.state <> 'verified' then coalesce(hook.dead_since, hook.verified_at) end,
                        pending_until = case when excluded.state <> 'verified' then hook.pending_until end,
                        updated_at = now()",
            )
            .bind(seen.event_key)
            .bind(&seen.url[..])
            .bind(&seen.secret[..])
            .bind(seen.hook_key)
            .bind(seen.state.as_str())
            .execute(&mut **tx)
            .await?;
            Ok(before.flatten().filter(|_| seen.state == HookState::Verified))
        })
    }

    /// Forgets subscriptions to other events, and with `replaced` those at other addresses.
    pub async fn forget_hooks(
        &self,
        events: &[String],
        url: [u8; 32],
        replaced: bool,
    ) -> Result<()> {
        transaction!(self, tx, {
            sqlx::query(
                "delete from keap_hook where event_key <> all($1) or ($3 and url_digest <> $2)",
            )
            .bind(events)
            .bind(&url[..])
            .bind(replaced)
            .execute(&mut **tx)
            .await?;
            Ok(())
        })
    }

    /// Whether a process of this program has just asked Keap for a handshake with the address that
    /// carries this secret.
    pub async fn is_handshake_pending(&self, secret: [u8; 32]) -> Result<bool> {
        transaction!(self, tx, {
            Ok(sqlx::query_scalar(
                "select exists (select from keap_hook where secret_digest = $1 and pending_until > now())",
            )
            .bind(&secret[..])
            .fetch_one(&mut **tx)
            .await?)
        })
    }

    /// Stores that a handshake is about to be requested, and how long it may be answered.
    pub async fn expect_handshake(
        &self,
        event_key: &str,
        url: [u8; 32],
        secret: [u8; 32],
        patience: Duration,
    ) -> Result<()> {
        transaction!(self, tx, {
            sqlx::query(
                "insert into keap_hook (event_key, url_digest, secret_digest, state, pending_until)
                 values ($1, $2, $3, 'unverified', now() + make_interval(secs => $4))
                 on conflict (event_key, url_digest) do update
                    set pending_until = excluded.pending_until, secret_digest = excluded.secret_digest, updated_at = now()",
            )
            .bind(event_key)
            .bind(&url[..])
            .bind(&secret[..])
            .bind(patience.as_secs_f64())
            .execute(&mut **tx)
            .await?;
            Ok(())
        })
    }
}
