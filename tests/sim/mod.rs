//! Stand-ins for Keap and Intercom: servers on loopback with a memory, real HTTP and faults on
//! purpose.
//!
//! A test, example or bench declares them at its root as `mod sim;`. They know nothing about the
//! daemon. A test starts them, fills their memory and sets their knobs. Afterwards it checks which
//! calls they received and what they store:
//!
//! ```ignore
//! let keap = Keap::start().await; // KEAP_BASE_URL is keap.base_url(), the key is keap.token()
//! let intercom = Intercom::start().await; // in the same way
//! let ann = keap.add(Person::named("Ann", "Lee").email("ann@example.org"));
//! intercom.add_user(Seed::with_email("ann@example.org"));
//! keap.knobs(|knobs| knobs.exact_limits());
//! intercom.fault(Fault::on("create").nth(2).what(What::ApplyThenDrop));
//! // … run the daemon …
//! assert_eq!(intercom.by_external_id(&ann.to_string()).len(), 1);
//! assert_eq!(intercom.count("update"), 1);
//! ```
//!
//! - [`Keap`], [`Intercom`]: handles that are cheap to clone. `start`, `start_on(port)`, `stop`,
//!   `resume`, `base_url`, `token`, `set_token`, `clock`; the memory (`add`, `edit`, `bulk_edit`,
//!   `delete`, `merge`, …; `add_user`, `add_lead`, `archive`, …); `knobs`. A `knobs` closure must
//!   not use the handle, because it holds the lock of the memory.
//! - What contacts in Keap refer to: `add_custom_field`, `rename_custom_field`,
//!   `delete_custom_field`, `set_custom`, `add_user`, `add_company`, `set_company`, `add_tag`,
//!   `apply_tag`, `remove_tag`, `set_opt_status`, `unsubscribe`. In Intercom: `add_attribute`,
//!   `edit_attribute`, `archive_attribute`, `add_admin`, `add_tag`, `tag`, `untag`; to read it back,
//!   `attributes_of`, `tags_of`, `companies_of`.
//! - `could_subscribe()` of both: the requests that could have subscribed somebody to e-mails.
//! - [`Clock`]: real time plus an offset. Each stand-in has its own; its `Date` headers come from
//!   it.
//! - Ledger: `ledger()`, `count(kind)`, `calls()`, `kinds()`, `statuses()`, `clear_ledger()`,
//!   `keep_calls(false)`; for Intercom also `windows()` and `refused_by_limit()`. Kinds of Keap:
//!   list, create, read, write, model, users, tags, contact_tags, tag_contacts, apply_tag, companies,
//!   opt_status, opt_statuses, set_opt_status, userinfo, list_v1, read_v1, hooks, unknown. Kinds of
//!   Intercom: create, update, read, find, search, list, me, archive, unarchive, delete, merge,
//!   attributes, create_attribute, update_attribute, admins, tags, write_tag, contact_tags, tag,
//!   untag, write_company, contact_companies, attach_company, detach_company, unknown.
//! - [`Fault`], [`What`]: each stand-in has a queue of faults.
//! - [`verify`]: compares both memories. [`people`]: invented people. [`control`]: all this over
//!   HTTP, for stand-ins in a process of their own ([`serve_forever`]).
//!
//! Left out on purpose: OAuth, XML-RPC, notes, subscriptions, bulk jobs and Intercom's webhooks. A
//! route that is left out answers 404, as the real service does for an unknown route, and counts as
//! `unknown`.
#![allow(dead_code, unused_imports)] // Each test, example or bench uses only a part.

pub(crate) mod client;
pub(crate) mod clock;
pub(crate) mod control;
pub(crate) mod faults;
mod http;
pub(crate) mod intercom;
pub(crate) mod keap;
pub(crate) mod ledger;
mod message;
mod opaque;
pub(crate) mod people;
pub(crate) mod verify;

pub(crate) use clock::Clock;
pub(crate) use control::{Stage, serve_forever};
pub(crate) use faults::{Fault, What};
pub(crate) use intercom::Intercom;
pub(crate) use intercom::contact::{Role, Seed, Standing, StoredContact};
pub(crate) use intercom::knobs::{
    EmailConflict, IntercomKnobs, LongString, RateHeaders, RefusalForm, ResetRounding, Rewrite,
    TimeForm, Unfit, WindowStart,
};
pub(crate) use keap::details::Address;
pub(crate) use keap::knobs::{
    ErrorBody, IdsAsNumbers, KeapKnobs, LimitWindows, ListForm, NumberForm, RepeatedField,
    Rounding, StampForm, TokenStyle, YesNoForm,
};
pub(crate) use keap::person::{Person, Phone};
pub(crate) use keap::{Keap, Which};
pub(crate) use ledger::Call;
pub(crate) use message::Compression;
