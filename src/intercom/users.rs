//! Lists all users by pages (`docs/api/intercom.md`, "Search").

use reqwest::Method;

use super::client::{IntercomClient, is_own};
use super::model::{Hinted, UserOrder, UsersPage};
use super::{refusals, wire};
use crate::remote::{Call, Failure, Kind, Lane};

impl IntercomClient {
    /// The contact of a notification. `None`: it has no usable id.
    pub fn hinted(&self, item: serde_json::Value) -> Option<Hinted> {
        let says = |name: &str| item.get(name) == Some(&serde_json::Value::Bool(true));
        let is_gone = says("archived") || says("deleted");
        let contact: wire::ContactWire = serde_json::from_value(item).ok()?;
        let user = contact.candidate(&self.places())?;
        Some(if is_gone { Hinted::Gone(user.id) } else { Hinted::User(Box::new(user)) })
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
        let users = page.data.into_iter().filter_map(|one| one.candidate(&places)).collect();
        Ok(UsersPage { users, next })
    }
}
