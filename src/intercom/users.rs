//! Lists all users by pages (`docs/api/intercom.md`, "Search").

use reqwest::Method;

use super::client::{IntercomClient, is_own};
use super::model::{Hinted, UserOrder, UsersPage};
use super::{refusals, wire};
use crate::contact::IntercomId;
use crate::remote::{Call, Failure, Kind, Lane};

impl IntercomClient {
    /// The contacts of a notification: the one that it shows, and the one that was merged into it.
    /// What has no usable id is left out.
    pub fn hinted(&self, item: serde_json::Value) -> Vec<Hinted> {
        let says = |name: &str| item.get(name) == Some(&serde_json::Value::Bool(true));
        let is_gone = says("archived") || says("deleted");
        let merged = item.pointer("/merged_from/id").and_then(serde_json::Value::as_str);
        let merged = merged.and_then(IntercomId::new).map(Hinted::Gone);
        let contact = serde_json::from_value::<wire::ContactWire>(item).ok();
        let shown = contact
            .and_then(|contact| contact.candidate(&self.places()))
            .map(|user| if is_gone { Hinted::Gone(user.id) } else { Hinted::User(Box::new(user)) });
        shown.into_iter().chain(merged).collect()
    }

    /// One page of users. The index behind it is minutes behind.
    ///
    /// It has no filter by date: Intercom compares days, in a zone of its own.
    pub async fn users(
        &self,
        lane: Lane,
        order: UserOrder,
        from: Option<&str>,
    ) -> Result<UsersPage, Failure> {
        let body = wire::all_users(order, from);
        let call = Call {
            method: Method::POST,
            kind: Kind::Search,
            understood: |reply| is_own::<wire::Found>(reply),
            always_exists: true,
            ..Call::get(&["contacts", "search"])
        };
        let reply = refusals::accepted(self.send(lane, call, &body).await?)?;
        let mut page: wire::Found = self.remote.parse(&reply)?;
        let next = page.cursor();
        let places = self.places();
        if places.reads_tags() {
            self.learn_tags_of(&page).await?;
        }
        let users = page.data.into_iter().filter_map(|one| one.candidate(&places)).collect();
        Ok(UsersPage { users, next })
    }
}
