//! Applies and removes tags (`docs/api/keap.md`, "Writing").

use std::collections::HashMap;

use reqwest::Method;
use serde::Deserialize;
use serde_json::json;

use super::client::{KeapClient, accepted};
use super::model::Tagged;
use super::places::{Tag, TagWire};
use super::tagged::{Said, TaggedAll};
use crate::contact::{FieldName, KeapId};
use crate::remote::{Call, Failure, Kind, Lane, Reply};

/// Contacts of one call. Keap does not say how many it takes.
const MOST_TAGGED: usize = 100;

#[derive(Deserialize)]
struct ResultsWire {
    #[serde(default)]
    results: HashMap<String, serde_json::Value>,
}

impl KeapClient {
    /// Applies the tag of a mapped field to a contact, or removes it. Keap takes both again and
    /// again. Contacts that need the same at the same time share one call.
    pub async fn tag(
        &self,
        lane: Lane,
        contact: KeapId,
        (field, on): (&FieldName, bool),
    ) -> Result<Tagged, Failure> {
        let Some(tag) = self.places().tag_of(field) else {
            return Ok(Tagged::Missing);
        };
        self.may_write_to(contact)?;
        let key = (lane, tag.clone(), on);
        let send = |contacts| self.tag_all(lane, &tag, contacts, on);
        let shared = self.tagging.call(key, contact, MOST_TAGGED, send).await;
        let shared = shared.ok_or_else(|| Failure::again("a write of a tag was stopped"))??;
        if shared.contacts > 1 && shared.is_about_one_of_them() {
            return Ok(self.tag_all(lane, &tag, vec![contact], on).await?.of(contact));
        }
        Ok(shared.of(contact))
    }

    async fn tag_all(
        &self,
        lane: Lane,
        tag: &str,
        contacts: Vec<KeapId>,
        on: bool,
    ) -> Result<TaggedAll, Failure> {
        let action = if on { "contacts:applyTags" } else { "contacts:removeTags" };
        let path = ["v2", "tags", tag, action];
        let ids: Vec<String> = contacts.iter().map(ToString::to_string).collect();
        let call = Call {
            method: Method::POST,
            body: Some(json!({ "contact_ids": ids }).to_string().into_bytes()),
            kind: Kind::Write,
            about: contacts.iter().map(|id| id.get()).collect(),
            understood: |reply| !reply.is_success() || is_answer(reply),
            answers: &[403],
            only_while: self.may_write.get().map(|guard| &**guard),
            ..Call::get(&path)
        };
        let reply = self.remote.send(lane, &call).await?;
        let said = match reply.status {
            403 => Said::Forbidden,
            404 => Said::Missing,
            200..=299 => Said::Words(words(&reply)),
            _ => match accepted(reply) {
                Err(Failure::Never { why }) => Said::Refused(why),
                Err(failure) => return Err(failure),
                Ok(_) => Said::Words(HashMap::new()),
            },
        };
        Ok(TaggedAll { contacts: contacts.len(), said })
    }

    /// Makes a tag.
    pub async fn create_tag(&self, name: &str) -> Result<Tag, Failure> {
        let path = ["v2", "tags"];
        let call = Call {
            method: Method::POST,
            body: Some(json!({ "name": name }).to_string().into_bytes()),
            kind: Kind::Write,
            understood: |reply| !reply.is_success() || is_answer(reply),
            ..Call::get(&path)
        };
        let reply = accepted(self.remote.send(Lane::Urgent, &call).await?)?;
        let tag: TagWire = self.remote.parse(&reply)?;
        Ok(Tag { id: tag.id, name: tag.name.unwrap_or_else(|| name.to_owned()) })
    }
}

/// An object, or nothing: Keap answers a removal without a word.
fn is_answer(reply: &Reply) -> bool {
    matches!(reply.body.first(), Some(b'{') | None)
}

/// Keap's words, in one spelling.
fn words(reply: &Reply) -> HashMap<String, String> {
    let results = serde_json::from_slice::<ResultsWire>(&reply.body).map(|wire| wire.results);
    let plain = |word: &str| -> String {
        word.chars().filter(|c| c.is_ascii_alphabetic() || *c == '_').take(40).collect()
    };
    let each = results.unwrap_or_default().into_iter();
    each.filter_map(|(id, word)| Some((id, plain(&word.as_str()?.to_ascii_uppercase())))).collect()
}
