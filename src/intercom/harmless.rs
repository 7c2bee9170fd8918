//! Harmless calls to Intercom: they change nothing, and show whether it takes reads, searches,
//! creates and other writes (`docs/api/intercom.md`, "Harmless calls").

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use reqwest::Method;
use serde_json::{Value, json};

use super::client::{IntercomClient, is_own};
use super::recent::{Bystander, Recent};
use super::refusals::says;
use super::wire;
use crate::contact::KeapId;
use crate::remote::{Condition, Harmless, Kind, Reply, Says};

/// Finds a linked contact that is none of these and has no trouble of its own.
pub type Bystanders = dyn Fn(Vec<KeapId>) -> BoxFuture<'static, Option<Bystander>> + Send + Sync;

/// At the very first writes of an account no contact is known yet. Another write may end in a
/// moment.
const FIRST_WRITE: Duration = Duration::from_secs(1);
/// The form of an id that no contact has.
const NOBODY: &str = "000000000000000000000000";

impl IntercomClient {
    /// From now on a failed call is followed by a harmless one of the same kind, before a contact
    /// is blamed for it. Only the first call has an effect.
    pub fn prove_by(&self, bystanders: Box<Bystanders>) {
        let known = Known { recent: Arc::clone(&self.recent), bystanders: Arc::from(bystanders) };
        self.remote.prove_by(Box::new(move |kind, about| {
            let known = known.clone();
            let about: Vec<KeapId> = about.into_iter().filter_map(KeapId::new).collect();
            async move { known.harmless(kind, &about).await }.boxed()
        }));
    }
}

/// Where a bystander comes from.
#[derive(Clone)]
struct Known {
    recent: Arc<Recent>,
    bystanders: Arc<Bystanders>,
}

impl Known {
    async fn harmless(&self, kind: Kind, about: &[KeapId]) -> Option<Harmless> {
        Some(match kind {
            Kind::Read => me(),
            Kind::Search => search_for_nobody(),
            Kind::Write => write_nothing(self.bystander(about).await),
            Kind::Create => {
                let added = self.recent.next();
                match self.bystander(about).await {
                    Some(bystander) => create_again(bystander),
                    None => {
                        let _ = tokio::time::timeout(FIRST_WRITE, added).await;
                        create_again(self.recent.any_but(about)?)
                    }
                }
            }
        })
    }

    async fn bystander(&self, about: &[KeapId]) -> Option<Bystander> {
        match self.recent.any_but(about) {
            Some(bystander) => Some(bystander),
            None => (self.bystanders)(about.to_vec()).await,
        }
    }
}

fn me() -> Harmless {
    Harmless {
        method: Method::GET,
        path: vec!["me".into()],
        body: None,
        is_taken: |reply| reply.is_success() && wire::is_filled_object(&reply.body),
        condition: None,
    }
}

/// No Keap contact has the id 0.
fn search_for_nobody() -> Harmless {
    let query = json!({ "field": "external_id", "operator": "=", "value": "0" });
    Harmless {
        is_taken: |reply| match reply.status {
            200..=299 => is_own::<wire::Found>(reply),
            _ => is_own_refusal(reply),
        },
        ..write(
            Method::POST,
            &["contacts", "search"],
            &json!({ "query": query, "pagination": { "per_page": 1 } }),
        )
    }
}

/// Says of a linked contact that it is a user, which it is. Where none is known, of nobody: the 404
/// comes from Intercom too, but it shows less.
fn write_nothing(bystander: Option<Bystander>) -> Harmless {
    let id = bystander.as_ref().map_or(NOBODY, |(_, id)| id.as_str());
    write(Method::PUT, &["contacts", id], &json!({ "role": "user" }))
}

/// Creates a user with the external id of one that is there, which is a conflict and nothing else.
/// A read just before shows that it is there.
fn create_again((keap, id): Bystander) -> Harmless {
    let body = json!({ "role": "user", "external_id": keap.to_string() });
    let condition = Condition {
        path: vec!["contacts".into(), id.as_str().into()],
        holds: Box::new(move |reply| is_user(reply, keap)),
    };
    Harmless { condition: Some(condition), ..write(Method::POST, &["contacts"], &body) }
}

fn is_user(reply: &Reply, keap: KeapId) -> bool {
    let shown = serde_json::from_slice::<wire::ContactWire>(&reply.body).ok();
    // Only the id and the external id count.
    let candidate =
        shown.and_then(|shown| shown.candidate(&wire::Places::new(&[], std::sync::Arc::default())));
    reply.is_success() && candidate.is_some_and(|candidate| candidate.belongs_to(keap))
}

fn write(method: Method, path: &[&str], body: &Value) -> Harmless {
    Harmless {
        method,
        path: path.iter().map(|part| (*part).to_owned()).collect(),
        body: Some(body.to_string().into_bytes()),
        is_taken: |reply| match reply.status {
            200..=299 => is_own::<wire::WrittenWire>(reply),
            _ => is_own_refusal(reply),
        },
        condition: None,
    }
}

/// Whether Intercom itself refuses the content of a call. So it has taken the call.
fn is_own_refusal(reply: &Reply) -> bool {
    matches!(reply.status, 400 | 404 | 409 | 410 | 422)
        && says(reply) == Says::Nothing
        && is_own::<wire::WrittenWire>(reply)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contact::IntercomId;
    use reqwest::header::HeaderMap;

    fn keap(n: i64) -> KeapId {
        KeapId::new(n).unwrap()
    }

    fn known(stored: Option<Bystander>) -> Known {
        let bystanders = move |_: Vec<KeapId>| {
            let stored = stored.clone();
            async move { stored }.boxed()
        };
        Known { recent: Arc::default(), bystanders: Arc::new(bystanders) }
    }

    fn reply(status: u16, body: &str) -> Reply {
        Reply { status, headers: HeaderMap::new(), body: body.as_bytes().to_vec() }
    }

    fn id(text: &str) -> IntercomId {
        IntercomId::new(text).unwrap()
    }

    #[tokio::test]
    async fn a_harmless_write_is_about_another_contact_and_says_nothing_new() {
        let known = known(Some((keap(8), id("b"))));
        known.recent.add(keap(7), id("a"));

        let harmless = known.harmless(Kind::Write, &[keap(7)]).await.unwrap();
        assert_eq!(
            (harmless.method, harmless.path),
            (Method::PUT, vec!["contacts".into(), "b".to_owned()])
        );
        assert_eq!(harmless.body.unwrap(), br#"{"role":"user"}"#);
        let harmless = known.harmless(Kind::Write, &[]).await.unwrap();
        assert_eq!(harmless.path[1], "a", "one that was written just now shows most");
    }

    #[tokio::test]
    async fn a_harmless_create_needs_a_user_that_is_there() {
        let alone = known(None);
        assert!(alone.harmless(Kind::Create, &[keap(7)]).await.is_none());
        assert_eq!(alone.harmless(Kind::Write, &[keap(7)]).await.unwrap().path[1], NOBODY);

        let known = known(Some((keap(8), id("b"))));
        let harmless = known.harmless(Kind::Create, &[keap(7)]).await.unwrap();
        let condition = harmless.condition.unwrap();
        assert_eq!(condition.path, ["contacts", "b"]);
        let user = |external_id: &str| {
            reply(
                200,
                &json!({ "id": "b", "role": "user", "external_id": external_id }).to_string(),
            )
        };
        assert!((condition.holds)(&user("8")));
        assert!(!(condition.holds)(&user("9")), "it would create one");
        assert!(!(condition.holds)(&reply(404, "{}")));
    }

    #[test]
    fn a_call_is_taken_when_intercom_itself_answers_it() {
        let taken = |status, body: &str| (write_nothing(None).is_taken)(&reply(status, body));
        let errors = |code: &str| json!({ "errors": [{ "code": code }] }).to_string();
        assert!(taken(200, r#"{"id":"a"}"#));
        for status in [400, 404, 409, 410, 422] {
            assert!(taken(status, &errors("not_found")), "{status}");
            assert!(!taken(status, "<html>"), "{status}");
            assert!(!taken(status, "{}"), "{status}");
            assert!(!taken(status, &errors("server_error")), "{status}");
        }
        for status in [200, 401, 402, 403, 406, 411, 415, 429, 500, 503] {
            assert!(!taken(status, &errors("forbidden")), "{status}");
        }
    }
}
