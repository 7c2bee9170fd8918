//! `open`: the pages of a contact in both products.

use std::os::unix::fs::PermissionsExt;

use sqlx::PgPool;

use super::look::{busy, in_terminal};
use crate::process::command;
use crate::sim::intercom::knobs::IntercomKnobs;
use crate::world::until;

const KEAP: &str = "https://xy123.infusionsoft.com/Contact/manageContact.jsp?view=edit&ID=";
const INTERCOM: &str = "https://app.intercom.com/a/apps/abc123/users/";

#[sqlx::test]
async fn open_shows_both_pages_and_costs_a_call_each(pool: PgPool) {
    let world = busy(pool).await;
    let linked = world.user(3).id;
    world.keap.clear_ledger();
    world.intercom.clear_ledger();

    let shown = command(&world, &["open", "3"]).await.expect(0).stdout;

    assert_eq!(shown, format!("Keap\n  {KEAP}3\nIntercom\n  {INTERCOM}{linked}\n"));
    assert_eq!((world.keap.calls(), world.intercom.calls()), (1, 1));
    // The id of Intercom works, too.
    assert_eq!(command(&world, &["open", &linked]).await.expect(0).stdout, shown);
    let json = command(&world, &["open", "3", "--json"]).await.expect(0).json();
    assert_eq!(json["intercom"][0], format!("{INTERCOM}{linked}"));
}

#[sqlx::test]
async fn open_shows_every_candidate_of_a_held_contact_and_says_what_is_missing(pool: PgPool) {
    let world = busy(pool).await;
    let candidates = world.held().await.remove(0).candidates;

    let shown = command(&world, &["open", "1"]).await.expect(0).stdout;
    for id in &candidates {
        assert!(shown.contains(&format!("  {INTERCOM}{id}\n")), "{id} is missing in {shown}");
    }

    // A contact that is nowhere in Intercom costs Intercom no call.
    world.intercom.clear_ledger();
    let shown = command(&world, &["open", "999999"]).await.expect(0).stdout;
    assert!(shown.contains("no contact, as far as is recorded here"), "{shown}");
    assert_eq!(world.intercom.calls(), 0);

    // One side that does not answer leaves the page of the other.
    world.keap.set_token("another");
    let ended = command(&world, &["open", "3"]).await.expect(1);
    assert!(ended.stdout.starts_with("Intercom\n"), "{ended:#?}");
    assert!(ended.stderr.contains("KEAP_API_KEY"), "{ended:#?}");
    command(&world, &["open", "nonsense!"]).await.expect(2);
}

#[sqlx::test]
async fn open_starts_the_browser_of_a_person_and_of_no_pipe(pool: PgPool) {
    let mut world = busy(pool).await;
    let folder = tempfile::tempdir().unwrap();
    let (browser, opened) = (folder.path().join("browser"), folder.path().join("opened"));
    let script = format!("#!/bin/sh\necho \"$1\" >>'{}'\n", opened.display());
    std::fs::write(&browser, script).unwrap();
    std::fs::set_permissions(&browser, std::fs::Permissions::from_mode(0o755)).unwrap();
    world.intercom.knobs(|knobs: &mut IntercomKnobs| knobs.region = "EU".into());
    world.set("BROWSER", browser.display());

    command(&world, &["open", "3"]).await.expect(0);
    in_terminal(&world, 80, "\"$0\" open 3 --print").await;
    assert!(!opened.exists(), "a pipe or --print starts the browser");

    in_terminal(&world, 80, "\"$0\" open 3").await;
    until("the browser was asked for both pages", async || {
        std::fs::read_to_string(&opened).is_ok_and(|text| text.lines().count() == 2)
    })
    .await;
    let opened = std::fs::read_to_string(&opened).unwrap();
    assert!(opened.contains(&format!("{KEAP}3\n")), "{opened}");
    assert!(opened.contains("https://app.eu.intercom.com/a/apps/abc123/users/"), "{opened}");
}
