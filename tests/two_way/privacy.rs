//! No value of a person, old or new, is logged or stored, in whatever direction it travels.

use sqlx::PgPool;

use crate::canary::canary_in;
use crate::checker::tables::people_in;
use crate::process::{HOLDS, Process, command};
use crate::world::until;

#[sqlx::test(migrations = false)]
async fn values_that_travel_to_keap_show_nowhere(pool: PgPool) {
    let mut world = crate::process::world(pool, 3).await;
    world
        .set("INTERCOM_TO_KEAP__ENABLED", "true")
        .set("INTERCOM_TO_KEAP__SCHEDULE", "* * * * * *")
        .set("CONSENT__OPT_OUT", "both");
    world.intercom.knobs(|knobs| knobs.search_lag_ms = 0);
    let mut daemon = Process::daemon(&world);
    daemon.says(HOLDS).await;
    until("everybody is linked", async || world.intercom.live_users().len() == 3).await;
    until("the first poll of Intercom is stored", async || {
        let sql = "select count(*) > 0 from intercom_cursor where feed = 'audit'";
        sqlx::query_scalar(sql).fetch_one(&world.pool).await.unwrap_or(false)
    })
    .await;
    world.intercom.clock().advance_ms(5_000);
    let user = world.user(1).id;
    world.intercom.edit(&user, |contact| {
        contact.email = Some("canary.new@canary.example".into());
        contact.phone = Some("+17775559999".into());
        contact.unsubscribed_from_emails = true;
    });
    // Another contact of Keap has this address, so this one is held.
    let other = world.user(2).id;
    world.intercom.edit(&other, |contact| contact.phone = Some("+17775558888".into()));
    until("Keap shows it", async || {
        let person = world.keap.person(1).unwrap();
        person.first_email() == Some("canary.new@canary.example")
            && world.keap.opt_status("canary.new@canary.example").word() == "MANUAL"
    })
    .await;
    until("nothing is due", async || world.store().count_due().await.unwrap().0 == 0).await;
    for arguments in [&["explain", "1"][..], &["explain", &user], &["status"], &["sync", "--audit"]]
    {
        command(&world, arguments).await.expect(0);
    }
    let ended = daemon.stop().await;
    assert_eq!(canary_in(&ended.stderr), None);
    assert_eq!(people_in(&world.pool).await.unwrap(), Vec::<String>::new());
}
