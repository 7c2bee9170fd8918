//! Weighs failures and refusals: is the whole remote to blame, or this one call? Harmless calls
//! tell.

use std::time::Duration;

use tokio::time::Instant;

use super::breaker::{Evidence, Fault, Kind};
use super::call::{Call, Reply, Says};
use super::failure::{Class, Failure};
use super::harmless::{Asked, Harmless, Proof, Prover, Verdict};
use super::{MOST_REFUSALS, Remote, lock};
use crate::feed::Lane;

impl Remote {
    /// Asks this function for harmless calls from now on. Only the first call has an effect.
    pub fn prove_by(&self, prover: Box<Prover>) {
        let _ = self.prover.set(prover);
    }

    /// What an answer stands for.
    pub(super) fn class_of(&self, call: &Call<'_>, reply: &Reply) -> Class {
        let status = reply.status;
        if call.answers.contains(&status) {
            return Class::Answer;
        }
        let refused = match status {
            // Not 501 and 505: they are about the request, not about the health of the server.
            408 | 500 | 502..=504 | 506..=599 => {
                return Class::Failed(format!("failed with {status}"));
            }
            300..=399 => format!(
                "answers with a redirect ({status}), which is never followed; check {}",
                self.transport.base_url_setting()
            ),
            401 => format!("refuses the credential (401); check {}", self.credential.setting()),
            404 if call.always_exists || reply.is_html() => format!(
                "answers 404 with a page where an API should be; check {}",
                self.transport.base_url_setting()
            ),
            407 => format!("is behind {}, which refuses our credential (407)", self.way()),
            402 | 403 | 406 | 415 if reply.is_html() => format!(
                "refuses the call with a web page ({status}), as a firewall or a proxy on the way does"
            ),
            _ => match (self.says)(reply) {
                Says::Refused(how) => how,
                Says::Failed(how) => return Class::Failed(how),
                Says::Nothing if (call.understood)(reply) => return Class::Answer,
                Says::Nothing => {
                    return Class::Failed(format!(
                        "sent an answer that is not understood ({status})"
                    ));
                }
            },
        };
        Class::Refused(refused)
    }

    fn way(&self) -> String {
        self.transport.proxy().map_or_else(|| "a proxy".to_owned(), ToString::to_string)
    }

    /// After a refusal: fails if the remote refuses everything of ours, which stops the side. Calls
    /// that were refused together ask once.
    pub(super) async fn check_service(&self, lane: Lane, sent: Instant) -> Result<(), Failure> {
        let mut asked = self.asked.lock().await;
        let verdict = match &asked.side {
            Some((at, verdict)) if *at >= sent => verdict.clone(),
            _ => {
                let verdict = self.ask_side(lane, &mut asked).await;
                match &verdict {
                    Verdict::Serves => {}
                    Verdict::Refuses { why, status } => drop(self.stop(why, *status)),
                    Verdict::Failed(_) => drop(lock(&self.breaker).probed(Instant::now(), false)),
                }
                verdict
            }
        };
        match verdict {
            Verdict::Serves => Ok(()),
            Verdict::Refuses { why, .. } => {
                Err(Failure::Stop { why, retry_in: lock(&self.stops).left(Instant::now()) })
            }
            Verdict::Failed(why) => Err(Failure::Down { why, retry_in: self.pause_left() }),
        }
    }

    /// Looks whether the cause of a stop is gone. Of several callers one looks.
    pub(super) async fn look_again(&self, lane: Lane) -> Result<(), Failure> {
        let mut asked = self.asked.lock().await;
        if !lock(&self.stops).is_over(Instant::now()) {
            return Ok(());
        }
        match self.ask_side(lane, &mut asked).await {
            Verdict::Serves => {
                lock(&self.stops).end();
                Ok(())
            }
            Verdict::Refuses { why, status } => Err(self.stop(&why, status)),
            Verdict::Failed(why) => {
                lock(&self.breaker).probed(Instant::now(), false);
                Err(Failure::Down { why, retry_in: self.pause_left() })
            }
        }
    }

    /// After a pause: asks whether the remote works again, and whether it takes again the kinds of
    /// call that it did not take.
    pub(super) async fn probe(&self, lane: Lane) -> Result<(), Failure> {
        let mut asked = self.asked.lock().await;
        let why = match self.ask_side(lane, &mut asked).await {
            Verdict::Refuses { why, status: 401 } => {
                lock(&self.breaker).probed(Instant::now(), true);
                return Err(self.stop(&why, 401));
            }
            Verdict::Failed(why) => Some(why),
            // Other refusals may be about the probe alone. Then real calls show it.
            Verdict::Serves | Verdict::Refuses { .. } => self.prove_again(lane, &mut asked).await,
        };
        let pause = lock(&self.breaker).probed(Instant::now(), why.is_none());
        match (why, pause) {
            (Some(why), Some(retry_in)) => Err(Failure::Down { why, retry_in }),
            _ => Ok(()),
        }
    }

    /// Makes the harmless calls of all kinds that were down. Returns why one is still down.
    async fn prove_again(&self, lane: Lane, asked: &mut Asked) -> Option<String> {
        let down = lock(&self.breaker).down();
        for kind in down {
            match self.ask_kind(lane, kind, Vec::new(), asked).await {
                Proof::Taken => lock(&self.breaker).works_again(kind),
                // The next real call is on trial.
                Proof::Unknown => {}
                Proof::Failed => return Some(format!("{} {}", self.name, not_taken(kind))),
            }
        }
        None
    }

    /// The failure of a call that failed, or that was refused although the remote serves us.
    pub(super) async fn weigh(
        &self,
        lane: Lane,
        call: &Call<'_>,
        trial: bool,
        sent: Instant,
        why: String,
    ) -> Failure {
        let proof =
            if trial || self.is_paused() { None } else { self.prove(lane, call, sent).await };
        let evidence = match proof {
            Some(Proof::Failed) => return Failure::Down { why, retry_in: self.pause_left() },
            Some(Proof::Taken) => Evidence::Works,
            _ if trial => Evidence::Trial,
            _ => Evidence::Nothing,
        };
        let mut breaker = lock(&self.breaker);
        match breaker.failed(Instant::now(), call.kind, &call.about, evidence) {
            Fault::Contact if proof == Some(Proof::Unknown) => {
                Failure::Again { why, delay: Some(breaker.doubt(call.kind)) }
            }
            Fault::Contact => Failure::again(why),
            Fault::Remote(retry_in) => Failure::Down { why, retry_in },
            // A little longer than the pause, so that the next trial is about another contact.
            Fault::Trial(pause) => Failure::Again { why, delay: Some(pause.mul_f64(1.25)) },
        }
    }

    /// Asks whether the remote takes calls of the kind that failed. `None`: this remote has no
    /// harmless calls. Calls that failed together ask once.
    async fn prove(&self, lane: Lane, call: &Call<'_>, sent: Instant) -> Option<Proof> {
        self.prover.get()?;
        let mut asked = self.asked.lock().await;
        if let Some((at, proof)) = asked.kinds[call.kind as usize]
            && at >= sent
        {
            return Some(proof);
        }
        if call.may_go().is_err() {
            return Some(Proof::Unknown);
        }
        let proof = self.ask_kind(lane, call.kind, call.about.clone(), &mut asked).await;
        if proof == Proof::Failed {
            lock(&self.breaker).went_down(Instant::now(), call.kind);
        }
        Some(proof)
    }

    async fn ask_side(&self, lane: Lane, asked: &mut Asked) -> Verdict {
        let at = Instant::now();
        let call = Call { always_exists: true, ..Call::get(self.probe) };
        let named = |what: String| format!("{} {what}", self.name);
        let verdict = match self.ask(lane, &call).await {
            Err(why) => Verdict::Failed(why),
            Ok(reply) => match self.class_of(&call, &reply) {
                Class::Refused(how) => Verdict::Refuses { why: named(how), status: reply.status },
                Class::Failed(how) => Verdict::Failed(named(how)),
                Class::Answer if reply.is_success() && !(self.probe_understood)(&reply) => {
                    let status = reply.status;
                    Verdict::Failed(named(format!(
                        "sent an answer that is not understood ({status})"
                    )))
                }
                Class::Answer => Verdict::Serves,
            },
        };
        asked.side = Some((at, verdict.clone()));
        verdict
    }

    async fn ask_kind(&self, lane: Lane, kind: Kind, about: Vec<i64>, asked: &mut Asked) -> Proof {
        let at = Instant::now();
        let harmless = match self.prover.get() {
            Some(prover) => prover(kind, about).await,
            None => None,
        };
        let proof = match harmless {
            Some(harmless) => self.try_harmless(lane, kind, harmless).await,
            None => Proof::Unknown,
        };
        tracing::debug!(remote = self.name, ?kind, ?proof, "A harmless call was made.");
        asked.kinds[kind as usize] = Some((at, proof));
        proof
    }

    async fn try_harmless(&self, lane: Lane, kind: Kind, harmless: Harmless) -> Proof {
        if let Some(condition) = &harmless.condition {
            let path: Vec<&str> = condition.path.iter().map(String::as_str).collect();
            match self.ask(lane, &Call::get(&path)).await {
                Ok(reply) if (condition.holds)(&reply) => {}
                Ok(reply) if reply.status < 500 => return Proof::Unknown,
                _ => return Proof::Failed,
            }
        }
        let path: Vec<&str> = harmless.path.iter().map(String::as_str).collect();
        let method = harmless.method;
        let call = Call { method, kind, body: harmless.body, ..Call::get(&path) };
        match self.ask(lane, &call).await {
            Ok(reply) if (harmless.is_taken)(&reply) => Proof::Taken,
            _ => Proof::Failed,
        }
    }

    /// Makes a call whatever the state of the side, within the limits. `Err` says in words why
    /// there is no answer.
    async fn ask(&self, lane: Lane, call: &Call<'_>) -> Result<Reply, String> {
        for _ in 0..MOST_REFUSALS {
            let started = self.pacer.start(lane).await;
            let started = started.map_err(|(why, _)| format!("{} {why}", self.name))?;
            let reply = self.transport.send(lane, call, self.credential.header()).await?;
            started.answered(&reply.headers, reply.status == 429);
            if reply.status != 429 {
                return Ok(reply);
            }
        }
        Err(format!("{} keeps refusing calls for their number (429)", self.name))
    }

    fn is_paused(&self) -> bool {
        lock(&self.breaker).open_for(Instant::now()).is_some_and(|left| !left.is_zero())
    }

    fn pause_left(&self) -> Duration {
        let left = lock(&self.breaker).open_for(Instant::now()).unwrap_or_default();
        left.max(Duration::from_millis(250))
    }
}

/// What a remote does whose harmless calls of this kind fail.
fn not_taken(kind: Kind) -> &'static str {
    match kind {
        Kind::Read => "answers no reads",
        Kind::Search => "answers no searches",
        Kind::Create => "takes no new contacts",
        Kind::Write => "takes no writes",
    }
}
