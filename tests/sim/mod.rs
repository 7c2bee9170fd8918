//! A Keap and an Intercom with a memory: honest servers over real HTTP on loopback, with faults on purpose.
//!
//! Declared at the root of a test, example or bench as `mod sim;`. They know nothing of the daemon. Tests, demo and benches start them, fill their memory, turn their knobs, and look
//! at what was called and what is now stored:
//!
//! ```ignore
//! let keap = Keap::start().await;                       // KEAP_BASE_URL = keap.base_url(), key = keap.token()
//! let intercom = Intercom::start().await;               // the same
//! let ann = keap.add(Person::named("Ann", "Lee").email("ann@example.org").phone("(602) 555-0144", Some("+16025550144")));
//! intercom.add_user(Seed::with_email("ann@example.org"));
//! keap.knobs(|knobs| knobs.exact_limits());
//! intercom.fault(Fault::on("create").nth(2).what(What::ApplyThenDrop));
//! // … run the daemon …
//! assert_eq!(intercom.by_external_id(&ann.to_string()).len(), 1);
//! assert_eq!(intercom.count("update"), 1);
//! ```
//!
//! - [`Keap`], [`Intercom`]: cheap handles. `start`, `start_on(port)`, `stop`, `resume`, `base_url`, `token`, `set_token`,
//!   `clock`; the memory (`add`, `edit`, `bulk_edit`, `delete`, `merge`, …; `add_user`, `add_lead`, `archive`, …); `knobs`.
//!   Do not call the handle from inside a `knobs` closure: the memory is locked then.
//! - [`Clock`]: real time plus an offset, one for each; also the source of every `Date` header.
//! - Ledger: `ledger()`, `count(kind)`, `calls()`, `kinds()`, `statuses()`, `clear_ledger()`, `keep_calls(false)`; Intercom also
//!   `windows()` and `refused_by_limit()`. Kinds of Keap: list, read, write, userinfo, list_v1, read_v1, hooks, unknown. Kinds
//!   of Intercom: create, update, read, find, search, list, me, archive, unarchive, delete, merge, unknown.
//! - [`Fault`], [`What`]: a queue inside each stand-in.
//! - [`verify`]: do both memories agree? [`people`]: people nobody knows. [`control`]: all this over HTTP, for a process
//!   of their own ([`serve_forever`]).
//!
//! Left out on purpose: OAuth, XML-RPC, tags, custom fields, companies, notes, subscriptions, bulk jobs and Intercom's
//! webhooks. Routes that are not modelled answer 404 as the real service does, and are counted as `unknown`.
#![allow(dead_code, unused_imports)] // Each user needs a part.

pub mod client;
pub mod clock;
pub mod control;
pub mod faults;
mod http;
pub mod intercom;
pub mod keap;
pub mod ledger;
mod message;
mod opaque;
pub mod people;
pub mod verify;

pub use clock::Clock;
pub use control::{Stage, serve_forever};
pub use faults::{Fault, What};
pub use intercom::Intercom;
pub use intercom::contact::{Role, Seed, Standing, StoredContact};
pub use intercom::knobs::{EmailConflict, IntercomKnobs, RateHeaders, ResetRounding, WindowStart};
pub use keap::knobs::{ErrorBody, IdsAsNumbers, KeapKnobs, LimitWindows, Rounding, TokenStyle};
pub use keap::person::{Person, Phone};
pub use keap::{Keap, Which};
pub use ledger::Call;
