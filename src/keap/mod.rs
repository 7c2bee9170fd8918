//! Keap: the client, and what it returns.

mod client;
mod create;
mod create_field;
mod hooks;
mod limits;
mod model;
mod opt_outs;
mod places;
mod tag;
mod tagged;
mod update;
mod wire;

pub use client::KeapClient;
pub use create::NewContact;
pub use hooks::{Hook, HookState};
pub use model::{
    Account, Applied, Created, Newest, OptOuts, OptedOut, Page, PageQuery, Place, Row, Show,
    Tagged, TaggedPage, Updated,
};
pub use places::{
    CustomField, KeapModel, NewField, Tag, holds, missing_field, needs_fields, needs_tags,
    needs_users, standard_places, tag,
};
pub use wire::{Change, LEFT, OPT_OUT};
