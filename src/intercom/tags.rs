//! Tags of Intercom contacts, which a call of their own writes each (`docs/api/intercom.md`,
//! "Tags").

use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use super::client::{IntercomClient, is_own, post};
use super::model::Tagged;
use super::{refusals, wire};
use crate::contact::{Candidate, FieldName, IntercomId, KeapId};
use crate::remote::{Call, Failure, Lane};

/// Contacts of one call. Intercom does not say how many it takes.
const MOST_TAGGED: usize = 50;

/// A removal is believed while the workspace was seen to have the tag so long ago.
const FRESH: Duration = Duration::from_secs(10);

/// How long the id of a named tag counts. Somebody may delete the tag, and make it again.
const COUNTS_FOR: Duration = Duration::from_secs(600);

/// The id of a tag by its name; `None` if the workspace has none of this name.
pub type NamedTag = Option<String>;

impl IntercomClient {
    /// Learns the names of all tags of the workspace.
    pub async fn learn_tags(&self) -> Result<(), Failure> {
        self.learn_tags_in(Lane::Urgent).await
    }

    async fn learn_tags_in(&self, lane: Lane) -> Result<(), Failure> {
        let call = Call { always_exists: true, ..Call::get(&["tags"]) };
        let reply = refusals::accepted(self.remote.send(lane, &call).await?)?;
        self.known_tags.learn(self.remote.parse::<wire::TagsWire>(&reply)?.tags());
        Ok(())
    }

    /// Learns the tags of a page that are new in the workspace.
    pub(super) async fn learn_tags_of(&self, page: &wire::Found) -> Result<(), Failure> {
        let unknown = || page.tag_ids().filter(|id| self.known_tags.name(id).is_none());
        if unknown().next().is_none() {
            return Ok(());
        }
        self.learn_tags().await?;
        // A tag that is gone by now has no name, and nobody is asked for it again.
        let nameless: Vec<_> = unknown().map(|id| (id.to_owned(), String::new())).collect();
        self.known_tags.learn_more(nameless);
        Ok(())
    }

    /// The contact without the readings of tags that the workspace no longer has: who deletes or
    /// renames a tag takes it from nobody. It costs one call, at most every few seconds.
    pub async fn with_tags_that_exist(&self, found: Candidate) -> Result<Candidate, Failure> {
        if !self.known_tags.are_younger_than(FRESH) {
            self.learn_tags().await?;
        }
        let places = self.places();
        let is_gone =
            |name: &FieldName| places.tag(name).is_some_and(|tag| !self.known_tags.has(&tag));
        let rest = found.rest.only(|name| !is_gone(name));
        Ok(Candidate { rest, ..found })
    }

    /// The contact with all of its mapped tags: one call if it hides some of them.
    pub async fn with_tags(&self, lane: Lane, found: Candidate) -> Result<Candidate, Failure> {
        if !found.hides_tags {
            return Ok(found);
        }
        let Some(tags) = self.all_tags_of(lane, &found.id).await? else {
            return Err(Failure::again("Intercom does not show the tags of a contact"));
        };
        let tags = tags.tags();
        let names: Vec<String> = tags.iter().map(|(_, name)| name.to_lowercase()).collect();
        self.known_tags.learn_more(tags);
        let readings = self.places().tag_readings(&names, true);
        let rest = found.rest.only(|name| readings.get(name.as_str()).is_none()).and(readings);
        Ok(Candidate { rest, hides_tags: false, ..found })
    }

    /// Tags a contact with the tag of a mapped field, or removes it. Intercom takes both again and
    /// again. A tag that Intercom lacks is made. Contacts that get the same at the same time share
    /// a call.
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
        if on {
            self.may_write(whose)?;
            let (key, member) = ((lane, name.clone()), (id.clone(), whose));
            let send = |members| self.tag_all(lane, &name, members);
            let shared = self.tagging.call(key, member, MOST_TAGGED, send).await;
            if shared.ok_or_else(|| Failure::again("a write of a tag was stopped"))?? {
                return Ok(Tagged::Done);
            }
        }
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

    /// Tags many contacts in one call, and makes the tag if there is none of this name. False: each
    /// has to be tagged alone, because it is the only one, or because one of them may be to blame.
    /// Intercom cannot take a tag from many.
    async fn tag_all(
        &self,
        lane: Lane,
        name: &str,
        members: Vec<(IntercomId, KeapId)>,
    ) -> Result<bool, Failure> {
        if members.len() < 2 {
            return Ok(false);
        }
        let users: Vec<_> = members.iter().map(|(id, _)| json!({ "id": id.as_str() })).collect();
        let body = json!({ "name": name, "users": users });
        let about: Vec<KeapId> = members.iter().map(|(_, whose)| *whose).collect();
        let reply = self.write_about(lane, post(&["tags"]), &about, &body).await?;
        if !(200..300).contains(&reply.status) {
            return match refusals::of_contact(&reply) {
                Failure::Never { .. } => Ok(false),
                failure => Err(failure),
            };
        }
        let tag: wire::WrittenWire = self.remote.parse(&reply)?;
        self.known_tags.learn_more([(tag.id.clone(), name.to_owned())]);
        self.tag_ids.put(name, tag.id);
        Ok(true)
    }

    /// The id of a tag. Intercom makes the tag if there is none of this name.
    async fn tag_id(&self, lane: Lane, whose: KeapId, name: &str) -> Result<String, Failure> {
        let body = json!({ "name": name });
        let reply = refusals::accepted(self.write(lane, post(&["tags"]), whose, &body).await?)?;
        let tag: wire::WrittenWire = self.remote.parse(&reply)?;
        self.tag_ids.put(name, tag.id.clone());
        self.known_tags.learn_more([(tag.id.clone(), name.to_owned())]);
        Ok(tag.id)
    }

    /// The id of the tag of this name, as far as the tags of the workspace are known. `None`: they
    /// have to be learnt.
    pub fn known_tag(&self, name: &str) -> Option<NamedTag> {
        self.known_tags.are_younger_than(COUNTS_FOR).then(|| self.known_tags.id_of(name))
    }

    /// The same. It costs a call now and then.
    pub async fn tag_named(&self, lane: Lane, name: &str) -> Result<NamedTag, Failure> {
        if let Some(known) = self.known_tag(name) {
            return Ok(known);
        }
        self.learn_tags_in(lane).await?;
        Ok(self.known_tags.id_of(name))
    }

    /// The ids of all tags of a contact; `None` if Intercom does not show the contact.
    pub async fn tags_of(
        &self,
        lane: Lane,
        id: &IntercomId,
    ) -> Result<Option<Vec<String>>, Failure> {
        Ok(self.all_tags_of(lane, id).await?.map(|tags| tags.ids()))
    }

    async fn all_tags_of(
        &self,
        lane: Lane,
        id: &IntercomId,
    ) -> Result<Option<wire::TagsWire>, Failure> {
        let path = ["contacts", id.as_str(), "tags"];
        let call = Call { understood: |reply| is_own::<wire::TagsWire>(reply), ..Call::get(&path) };
        let reply = self.remote.send(lane, &call).await?;
        if matches!(reply.status, 404 | 410) {
            return Ok(None);
        }
        Ok(Some(self.remote.parse(&refusals::accepted(reply)?)?))
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
