//! `open`: the pages of a contact in Keap and in Intercom.

use std::io::{IsTerminal, stdout};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use clap::Args;
use serde_json::json;

use super::explain::{self, Asked};
use super::{Ended, NOTHING_DONE, SOME_FAILED, WELL, database, exit};
use crate::app::Pages;
use crate::config::Settings;
use crate::contact::KeapId;
use crate::store::Store;

#[derive(Debug, Args)]
pub struct OpenArgs {
    /// The Keap contact id, or the id of the linked contact in Intercom.
    pub id: String,
    /// Only print the addresses. A browser is started from a terminal that has one.
    #[arg(long)]
    pub print: bool,
    /// Print one JSON document instead of text, and start no browser.
    #[arg(long)]
    pub json: bool,
}

/// The addresses, and why some are missing.
#[derive(Default)]
struct Found {
    keap: Option<String>,
    intercom: Vec<String>,
    missing: Vec<String>,
}

pub async fn run(settings: &Settings, args: &OpenArgs) -> Ended {
    let store = database::open(settings).await?;
    let id = match explain::asked(&store, &args.id).await? {
        Asked::Contact(id) => id,
        Asked::Newcomer(user) => {
            let id = user.intercom_contact_id;
            errln!("the user {id} of Intercom has no contact in Keap yet: see explain {id}");
            return exit(NOTHING_DONE);
        }
        Asked::Nobody(why) => {
            errln!("{why}");
            return exit(NOTHING_DONE);
        }
    };
    let found = find(settings, &store, id).await?;
    if args.json {
        let document = json!({ "keapContactId": id.get(), "keap": found.keap, "intercom": found.intercom, "missing": found.missing });
        out!("{document}\n");
    } else {
        print(&found);
        if !args.print {
            browse(found.keap.iter().chain(&found.intercom));
        }
    }
    exit(match (found.missing.is_empty(), &found.keap, found.intercom.is_empty()) {
        (true, ..) => WELL,
        (false, None, true) => NOTHING_DONE,
        (false, ..) => SOME_FAILED,
    })
}

/// Asks both sides how they call the account: one call each, and none to Intercom for a contact
/// that is not there.
async fn find(settings: &Settings, store: &Store, id: KeapId) -> anyhow::Result<Found> {
    let ids = store.explain(id, 0).await?.intercom_ids();
    let pages = Pages::build(settings)?;
    let of_intercom = async {
        let mut found = Vec::new();
        for id in &ids {
            found.push(pages.in_intercom(id).await);
        }
        found
    };
    let (keap, intercom) = tokio::join!(pages.in_keap(id), of_intercom);
    let mut found = Found::default();
    match keap {
        Ok(page) => found.keap = Some(page),
        Err(why) => found.missing.push(why),
    }
    for page in intercom {
        match page {
            Ok(page) => found.intercom.push(page),
            Err(why) => found.missing.push(why),
        }
    }
    found.missing.dedup();
    Ok(found)
}

fn print(found: &Found) {
    let addresses = found.keap.as_slice();
    for (side, addresses) in [("Keap", addresses), ("Intercom", &found.intercom)] {
        if !addresses.is_empty() {
            outln!("{side}");
        }
        // An address stays whole, so that it can be copied.
        for address in addresses {
            out!("  {address}\n");
        }
    }
    if found.intercom.is_empty() && found.missing.is_empty() {
        outln!("Intercom\n  no contact, as far as is recorded here");
    }
    for why in &found.missing {
        errln!("{why}");
    }
}

/// Opens the addresses in a browser, if a person at a screen asks for them.
fn browse<'a>(addresses: impl Iterator<Item = &'a String>) {
    let has_screen =
        cfg!(target_os = "macos") || ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|name| is_set(name));
    let program = match std::env::var("BROWSER") {
        Ok(program) if !program.is_empty() => program,
        _ if !has_screen => return,
        _ if cfg!(target_os = "macos") => "open".to_owned(),
        _ => "xdg-open".to_owned(),
    };
    if !stdout().is_terminal() {
        return;
    }
    for address in addresses {
        let mut browser = Command::new(&program);
        browser.arg(address).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // Ctrl-C in this terminal, or its end, does not end the browser.
        browser.process_group(0);
        if let Err(error) = browser.spawn() {
            errln!("{program} cannot be started ({error}): open the address by hand.");
            return;
        }
    }
}

fn is_set(name: &str) -> bool {
    std::env::var_os(name).is_some_and(|value| !value.is_empty())
}
