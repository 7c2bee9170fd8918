//! Our subscriptions to Keap's events, as they were last seen.

use std::time::Duration;

use super::{Result, Store};

/// How a subscription stands, in Keap's words.
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

impl Store {
    /// Whether somebody of ours has just asked Keap for a handshake with the address that carries this secret.
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

    /// Notes that a handshake is about to be asked for, and is to be answered for so long.
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
