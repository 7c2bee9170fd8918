//! Tags of Intercom contacts, which a call of their own writes each (`docs/api/intercom.md`, "Tags").

use reqwest::Method;
use serde_json::json;

use super::client::{IntercomClient, post};
use super::model::Tagged;
use super::{refusals, wire};
use crate::contact::{FieldName, IntercomId, KeapId};
use crate::remote::{Call, Failure, Lane};

impl IntercomClient {
    /// Tags a contact with the tag of a mapped field, or removes it. Intercom takes both again and
    /// again. A tag that Intercom lacks is made.
    pub async fn tag(
        &self,
        lane: Lane,
        id: &IntercomId,
        whose: KeapId,
        (field, on): (&FieldName, bool),
    ) -> Result<Tagged, Failure> {
        let Some(name) = self.places().tag(field) else {
            return Ok(Tagged::Done);
        };
        let known = self.tag_ids.get(&name);
        let tag = match &known {
            Some(tag) => tag.clone(),
            None => self.tag_id(lane, whose, &name).await?,
        };
        let tagged = self.tag_once(lane, id, whose, (&tag, on)).await?;
        if tagged == Tagged::Missing && known.is_some() {
            // Perhaps somebody deleted the tag in Intercom since.
            self.tag_ids.forget(&name);
            let tag = self.tag_id(lane, whose, &name).await?;
            return self.tag_once(lane, id, whose, (&tag, on)).await;
        }
        Ok(tagged)
    }

    /// The id of a tag. Intercom makes the tag if there is none of this name.
    async fn tag_id(&self, lane: Lane, whose: KeapId, name: &str) -> Result<String, Failure> {
        let body = json!({ "name": name });
        let reply = refusals::accepted(self.write(lane, post(&["tags"]), whose, &body).await?)?;
        let tag: wire::WrittenWire = self.remote.parse(&reply)?;
        self.tag_ids.put(name, tag.id.clone());
        Ok(tag.id)
    }

    /// The id of the tag of this name; `None` if there is none.
    pub async fn tag_named(&self, lane: Lane, name: &str) -> Result<Option<String>, Failure> {
        let call = Call { always_exists: true, ..Call::get(&["tags"]) };
        let reply = refusals::accepted(self.remote.send(lane, &call).await?)?;
        let tags: wire::NamedTags = self.remote.parse(&reply)?;
        Ok(tags.id_of(name))
    }

    /// The ids of all tags of a contact; `None` if Intercom does not show the contact.
    pub async fn tags_of(
        &self,
        lane: Lane,
        id: &IntercomId,
    ) -> Result<Option<Vec<String>>, Failure> {
        let path = ["contacts", id.as_str(), "tags"];
        let reply = self.remote.send(lane, &Call::get(&path)).await?;
        if matches!(reply.status, 404 | 410) {
            return Ok(None);
        }
        let tags: wire::NamedTags = self.remote.parse(&refusals::accepted(reply)?)?;
        Ok(Some(tags.ids()))
    }

    async fn tag_once(
        &self,
        lane: Lane,
        id: &IntercomId,
        whose: KeapId,
        (tag, on): (&str, bool),
    ) -> Result<Tagged, Failure> {
        let reply = if on {
            let path = ["contacts", id.as_str(), "tags"];
            self.write(lane, post(&path), whose, &json!({ "id": tag })).await?
        } else {
            let path = ["contacts", id.as_str(), "tags", tag];
            let call = Call { method: Method::DELETE, ..post(&path) };
            self.write(lane, call, whose, &json!({})).await?
        };
        match reply.status {
            200..=299 => Ok(Tagged::Done),
            // Without the contact or the tag, nothing is left to remove.
            404 | 410 if !on => Ok(Tagged::Done),
            404 | 410 => Ok(Tagged::Missing),
            _ => match refusals::of_contact(&reply) {
                Failure::Never { why } => Ok(Tagged::Refused(why)),
                failure => Err(failure),
            },
        }
    }
}
