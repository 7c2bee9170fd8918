//! Keeps the mapping fitted to the two accounts: at the start, every hour, and when a field is
//! refused.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::mapping::{Models, Needs};
use crate::config;
use crate::intercom::IntercomClient;
use crate::keap::KeapClient;
use crate::mapping::{Fitted, Mapping};
use crate::remote::Failure;
use crate::sync::{Doubt, LOG_AGAIN_AFTER};

/// The waits between two tries at the start.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Refusals come in crowds: one look answers those of this time.
const LOOK_AT_MOST_EVERY: Duration = Duration::from_secs(60);

/// A mapping and the two accounts that it must fit.
#[derive(Clone)]
pub struct Fitting {
    pub mapping: Mapping,
    pub keap: Arc<KeapClient>,
    pub intercom: Arc<IntercomClient>,
    pub filter: config::Filter,
}

impl Fitting {
    /// Asks both accounts for their fields. It costs no call if the mapping names places only that
    /// every account has.
    pub async fn look(&self) -> Result<Fitted, Failure> {
        let needs = Needs::of(&self.mapping, &self.filter);
        let models = Models::learn(needs, &self.keap, &self.intercom).await?;
        Ok(models.fit(&self.mapping).filtered_by(models.filter(&self.filter)))
    }

    /// The same, and fails if nobody knows who is in scope: then nothing may be synced.
    pub async fn look_whole(&self) -> Result<Fitted, Failure> {
        let fitted = self.look().await?;
        match &fitted.filter {
            Ok(_) => Ok(fitted),
            Err(unfit) => Err(Failure::never(format!("[filter]: {}", unfit.why))),
        }
    }

    /// Keap's ids of the mapped tags that are usable now.
    pub fn tags(&self) -> Vec<String> {
        self.keap.tags_read()
    }

    /// Has both clients read and write these fields.
    pub fn apply(&self, fitted: &Fitted) {
        let filter = fitted.filter.clone().unwrap_or_default();
        self.keap.read_these(&fitted.keap(), &filter);
        self.intercom.write_these(&fitted.intercom());
    }

    /// Looks until both accounts have answered. `None`: cancelled first.
    pub async fn begin(&self, cancel: &CancellationToken) -> Option<Fitted> {
        let (mut pause, mut logged) = (FIRST_PAUSE, None::<Instant>);
        loop {
            let failure = tokio::select! {
                () = cancel.cancelled() => return None,
                looked = self.look_whole() => match looked {
                    Ok(fitted) => {
                        self.apply(&fitted);
                        return Some(fitted);
                    }
                    Err(failure) => failure,
                },
            };
            if logged.is_none_or(|at| at.elapsed() > LOG_AGAIN_AFTER) {
                tracing::warn!(
                    error = %failure,
                    "The fields of the mapping are not known yet; nothing is synced until both sides have shown theirs."
                );
                logged = Some(Instant::now());
            }
            tokio::select! {
                () = cancel.cancelled() => return None,
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Ends when the mapping fits otherwise than `fitted`, or when it is cancelled. `doubt` asks
    /// for a look before the hour is over.
    pub async fn changed(
        &self,
        fitted: &Fitted,
        every: Duration,
        doubt: &Doubt,
        cancel: &CancellationToken,
    ) {
        if Needs::of(&self.mapping, &self.filter).is_nothing() {
            return cancel.cancelled().await;
        }
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                () = tokio::time::sleep(every) => {}
                () = doubt.raised() => {}
            }
            // A side that does not answer says nothing about its fields. A field that was gone for
            // a while was not written meanwhile, although it fits again.
            if let Ok(now) = self.look_whole().await
                && (now != *fitted || !doubt.gone().is_empty())
            {
                return;
            }
            tokio::select! {
                () = cancel.cancelled() => return,
                () = tokio::time::sleep(LOOK_AT_MOST_EVERY.min(every)) => {}
            }
        }
    }
}

/// Logs each field that cannot be synced now.
pub fn log_unfit(fitted: &Fitted) {
    for (rule, unfit) in fitted.unfit() {
        tracing::warn!(
            field = rule.name.as_str(),
            reason = unfit.why,
            "A field of the mapping is held for every contact; the others are synced."
        );
    }
}
