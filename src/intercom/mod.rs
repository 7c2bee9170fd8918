//! Intercom: the client, and what it returns.

mod client;
mod companies;
mod erase;
mod harmless;
mod known_tags;
mod limits;
mod model;
mod places;
mod recent;
mod refusals;
mod search;
mod tags;
mod users;
mod wire;
mod written;

pub use client::IntercomClient;
pub use erase::Deletion;
pub use harmless::Bystanders;
pub use model::{
    Conflict, Done, Found, Hinted, Refused, Tagged, Unarchived, UserOrder, UsersPage, Wanted,
    Workspace, Written,
};
pub use places::{
    Attribute, IntercomModel, LONGEST_TEXT, MOST_ATTRIBUTES, attribute_name, holds, standard_places,
};
pub use recent::Bystander;
pub use tags::NamedTag;
