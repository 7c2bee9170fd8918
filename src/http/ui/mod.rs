//! The operator's page: what a person sees and does without a shell. It is rendered here, needs no
//! script, and is off while no secret opens it. The API and its document know nothing of it.

mod attempts;
mod chart;
mod charts;
mod contact;
mod decide;
mod door;
mod elsewhere;
mod entrance;
mod erase;
mod fields;
mod form;
mod frame;
mod gauge;
mod held;
mod ignored;
mod log;
mod log_filter;
mod overview;
mod pause;
mod plans;
mod retry;
mod routes;
mod runs;
mod sessions;
mod settings;
mod side_by_side;
mod sign_in;

pub(super) use entrance::{Entrance, Peer};
pub(super) use routes::router;
pub use routes::table;
