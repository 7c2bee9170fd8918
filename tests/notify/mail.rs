//! Mail: by the built program, because it trusts the system's authorities.

use sqlx::PgPool;

use super::smtp::{AUTHORITY, MailServer, Way, Wrong};
use crate::cli::quiet_world;
use crate::process::command;
use crate::world::World;

/// `\0alarms@example.com\0canary mail word` in base64.
const CREDENTIAL: &str = "AGFsYXJtc0BleGFtcGxlLmNvbQBjYW5hcnkgbWFpbCB3b3Jk";

/// A world with a mail server, which trusts it.
async fn with_mail(pool: PgPool, server: &MailServer, tls: &str) -> World {
    let mut world = quiet_world(pool, 0).await;
    world
        .set("NOTIFY__SMTP_SERVER", format!("localhost:{}", server.port))
        .set("NOTIFY__SMTP_TLS", tls)
        .set("NOTIFY__MAIL_FROM", "alarms@example.com")
        .set("NOTIFY__MAIL_TO", "ops@example.com, boss@example.com")
        .set("NOTIFY__PAGE_URL", "https://sync.example.com/ui")
        .set("SSL_CERT_FILE", AUTHORITY);
    world
}

fn log_in(world: &mut World) {
    world
        .set("NOTIFY__SMTP_USER", "alarms@example.com")
        .set("NOTIFY__SMTP_PASSWORD", "canary mail word");
}

#[sqlx::test]
async fn mail_goes_over_tls_of_both_kinds_with_the_credential(pool: PgPool) {
    for (way, tls) in [(Way::StartTls, "starttls"), (Way::Implicit, "implicit")] {
        let server = MailServer::start(way, Some(CREDENTIAL)).await;
        let mut world = with_mail(pool.clone(), &server, tls).await;
        log_in(&mut world);

        let ended = command(&world, &["notify", "test"]).await.expect(0);

        assert!(ended.stdout.contains("✓ mail"), "{}", ended.stdout);
        let place = format!("localhost:{} with", server.port);
        assert!(
            ended.stdout.contains(&place) && ended.stdout.contains("to 2 addresses: answered 250"),
            "{}",
            ended.stdout
        );
        let heard = server.heard();
        let first = if way == Way::StartTls { 2 } else { 0 };
        assert!(heard.commands[first..].iter().all(|(is_tls, _)| *is_tls), "{:?}", heard.commands);
        if way == Way::StartTls {
            let plain: Vec<&str> =
                heard.commands[..2].iter().map(|(_, line)| line.as_str()).collect();
            assert_eq!(plain, ["EHLO keap-intercom-sync.localdomain", "STARTTLS"]);
        }
        let said = |text: &str| heard.commands.iter().any(|(_, line)| line.starts_with(text));
        for text in [
            "MAIL FROM:<alarms@example.com>",
            "RCPT TO:<ops@example.com>",
            "RCPT TO:<boss@example.com>",
        ] {
            assert!(said(text), "{text}: {:?}", heard.commands);
        }
        let [mail] = heard.mails.as_slice() else { panic!("{:?}", heard.mails) };
        for text in [
            "From: alarms@example.com",
            "To: ops@example.com, boss@example.com",
            "Subject: [production] this is a test: alarms arrive here",
            "Auto-Submitted: auto-generated",
            "Content-Type: text/plain; charset=utf-8",
            "https://sync.example.com/ui",
        ] {
            assert!(mail.contains(text), "{text}: {mail}");
        }
    }
}

#[sqlx::test]
async fn a_password_never_leaves_without_tls(pool: PgPool) {
    // The server offers no STARTTLS, as if somebody on the way had taken the offer out.
    let server = MailServer::start(Way::Plain, Some(CREDENTIAL)).await;
    let mut world = with_mail(pool, &server, "starttls").await;
    log_in(&mut world);

    let ended = command(&world, &["notify", "test"]).await.expect(1);

    assert!(ended.stdout.contains("✗ mail"), "{}", ended.stdout);
    assert!(ended.stdout.contains("NOTIFY__SMTP_TLS"), "{}", ended.stdout);
    let verbs = server.heard().commands;
    assert!(
        verbs.iter().all(|(_, line)| !line.starts_with("AUTH") && !line.starts_with("MAIL")),
        "{verbs:?}"
    );

    // A name that the certificate does not have.
    let server = MailServer::start(Way::Implicit, Some(CREDENTIAL)).await;
    world
        .set("NOTIFY__SMTP_SERVER", format!("127.0.0.1:{}", server.port))
        .set("NOTIFY__SMTP_TLS", "implicit");
    let ended = command(&world, &["notify", "test"]).await.expect(1);
    assert!(ended.stdout.contains("✗ mail") && ended.stdout.contains("TLS"), "{}", ended.stdout);
    assert_eq!(server.heard().commands.len(), 0);
}

#[sqlx::test]
async fn a_server_that_refuses_hangs_up_or_keeps_silent_is_told_from_another(pool: PgPool) {
    let server = MailServer::start(Way::Plain, None).await;
    let mut world = with_mail(pool, &server, "off").await;
    world.set("NOTIFY__TIMEOUT_MS", 1500);
    for (wrong, says) in [
        (Wrong::Answers("RCPT", "550 5.1.1 <canary@example.org> is unknown"), "refused with 550"),
        (
            Wrong::Answers("MAIL", "451 4.3.0 canary@example.org: try later"),
            "not taken for now, 451",
        ),
        (Wrong::Answers("DATA", "554 no"), "refused with 554"),
        (Wrong::HangsUp("MAIL"), ""),
        (Wrong::Silent, "no answer within 1500 ms"),
    ] {
        server.does(wrong);

        let ended = command(&world, &["notify", "test", "--json"]).await.expect(1).json();

        let target = &ended["targets"][0];
        assert_eq!((&target["target"], &target["delivered"]), (&"mail".into(), &false.into()));
        let answer = target["answer"].as_str().unwrap();
        assert!(answer.contains(says) && !answer.contains('@'), "{wrong:?}: {answer}");
    }
    server.does(Wrong::Nothing);
    command(&world, &["notify", "test"]).await.expect(0);
    assert_eq!(server.heard().mails.len(), 1);

    // A credential where the server takes none, or another one.
    log_in(&mut world);
    let ended = command(&world, &["notify", "test"]).await.expect(1);
    assert!(ended.stdout.contains("NOTIFY__SMTP_USER"), "{}", ended.stdout);
    let server = MailServer::start(Way::Plain, Some("another")).await;
    world.set("NOTIFY__SMTP_SERVER", format!("localhost:{}", server.port));
    let ended = command(&world, &["notify", "test"]).await.expect(1);
    assert!(ended.stdout.contains("refused with 535"), "{}", ended.stdout);
}

#[sqlx::test]
async fn settings_of_mail_that_do_not_go_together_are_named(pool: PgPool) {
    let mut world = quiet_world(pool, 0).await;
    let ended = command(&world, &["notify", "test"]).await.expect(2);
    assert!(ended.stderr.contains("NOTIFY__SLACK_URL"), "{}", ended.stderr);
    let mut wrong = async |name: &str, value: &str, says: &[&str]| {
        world.set(name, value);
        let ended = command(&world, &["notify", "test"]).await.expect(78);
        assert!(says.iter().all(|text| ended.stderr.contains(text)), "{}", ended.stderr);
        assert!(!ended.stderr.contains("canary"), "{}", ended.stderr);
    };
    wrong("NOTIFY__SMTP_SERVER", "smtp.example.com", &["NOTIFY__MAIL_FROM", "NOTIFY__MAIL_TO"])
        .await;
    wrong(
        "NOTIFY__MAIL_FROM",
        "Ann <ann@example.com>",
        &["NOTIFY__MAIL_FROM", "one e-mail address"],
    )
    .await;
    wrong("NOTIFY__MAIL_FROM", "alarms@example.com", &["NOTIFY__MAIL_TO is missing"]).await;
    wrong("NOTIFY__MAIL_TO", "ops@example.com, canary", &["NOTIFY__MAIL_TO", "not shown"]).await;
    wrong("NOTIFY__SMTP_USER", "ops@example.com", &["NOTIFY__SMTP_PASSWORD is missing"]).await;
    world
        .set("NOTIFY__MAIL_TO", "ops@example.com")
        .set("NOTIFY__SMTP_PASSWORD", "canary mail word");
    let mut plain = async |name: &str, value: &str, says: &[&str]| {
        world.set(name, value);
        let ended = command(&world, &["notify", "test"]).await.expect(78);
        assert!(says.iter().all(|text| ended.stderr.contains(text)), "{}", ended.stderr);
        world.env.remove(name);
    };
    plain("NOTIFY__SMTP_TLS", "off", &["NOTIFY__SMTP_TLS is \"off\"", "allow_plain"]).await;
    plain("NOTIFY__SLACK_URL", "http://example.com/canary", &["NOTIFY__SLACK_URL", "https"]).await;
}
