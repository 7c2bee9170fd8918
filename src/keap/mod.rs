//! Keap: the client, and what it returns.

mod client;
mod hooks;
mod limits;
mod model;
mod places;
mod wire;

pub use client::KeapClient;
pub use hooks::{Hook, HookState};
pub use model::{Account, Applied, Newest, Page, PageQuery, Place, Row, Show, TaggedPage};
pub use places::{
    CustomField, KeapModel, Tag, holds, needs_fields, needs_tags, needs_users, standard_places, tag,
};
pub use wire::{LEFT, OPT_OUT};
