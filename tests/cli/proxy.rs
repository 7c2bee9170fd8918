//! Both remotes through a proxy: the built program, by its setting and by the usual variables.

use sqlx::PgPool;

use super::quiet_world;
use crate::loopback_proxy::{AUTHORITY, LoopbackProxy, behind_tls};
use crate::process::{Process, caught_up, command};
use crate::world::World;

const BASIC: &str = "Basic Y2FuYXJ5OmNhbmFyeS1zZWNyZXQ="; // canary:canary-secret

/// A world whose remotes have names that only the proxy knows, and speak HTTPS.
async fn behind_a_proxy(pool: PgPool, credential: Option<&str>) -> (World, LoopbackProxy) {
    let mut world = quiet_world(pool, 3).await;
    let port = |url: &str| url.parse::<url::Url>().unwrap().port().unwrap();
    let keap = behind_tls(port(&world.keap.base_url())).await;
    let intercom = behind_tls(port(&world.intercom.base_url())).await;
    let names = [("keap.test", keap), ("intercom.test", intercom)];
    let proxy = LoopbackProxy::start(&names, credential).await;
    world
        .set("KEAP_BASE_URL", "https://keap.test/crm/rest")
        .set("INTERCOM_BASE_URL", "https://intercom.test")
        .set("SSL_CERT_FILE", AUTHORITY);
    (world, proxy)
}

fn line<'a>(stdout: &'a str, about: &str) -> &'a str {
    stdout.lines().find(|line| line.contains(about)).unwrap_or_else(|| panic!("{stdout}"))
}

#[sqlx::test]
async fn each_usual_variable_and_our_setting_lead_both_remotes_through_the_proxy(pool: PgPool) {
    let (mut world, proxy) = behind_a_proxy(pool, None).await;
    let here = format!("http://127.0.0.1:{}", proxy.port);
    for name in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "NETWORK__PROXY"] {
        world.set(name, &here);

        let ended = command(&world, &["check"]).await.expect(0);

        for remote in ["✓ keap", "✓ intercom"] {
            let line = line(&ended.stdout, remote);
            assert!(line.contains(&format!("through the proxy {here} ({name})")), "{line}");
        }
        world.env.remove(name);
    }
    assert_eq!(proxy.targets(), ["CONNECT intercom.test:443", "CONNECT keap.test:443"]);
    assert!(proxy.asked().iter().all(|asked| !asked.shows_token), "a token is for the remote");
}

#[sqlx::test]
async fn the_daemon_syncs_through_a_proxy_that_asks_for_a_credential(pool: PgPool) {
    let (mut world, proxy) = behind_a_proxy(pool, Some(BASIC)).await;
    world
        .set("NETWORK__PROXY", format!("http://canary:canary-secret@127.0.0.1:{}", proxy.port))
        .set("RUST_LOG", "info");

    let mut daemon = Process::daemon(&world);
    daemon
        .says(&format!("through the proxy http://127.0.0.1:{} (NETWORK__PROXY)", proxy.port))
        .await;
    caught_up(&world).await;
    daemon.stop().await;

    assert!(proxy.asked().iter().all(|asked| asked.credential.as_deref() == Some(BASIC)));
    assert!(proxy.asked().iter().all(|asked| !asked.shows_token));
}

#[sqlx::test]
async fn a_proxy_that_refuses_the_credential_or_is_down_is_named_without_its_password(
    pool: PgPool,
) {
    let (mut world, proxy) = behind_a_proxy(pool, Some(BASIC)).await;
    // Nobody listens on this port.
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for (port, says) in [(proxy.port, "proxy authorization required"), (dead, "refused")] {
        world.set("HTTPS_PROXY", format!("http://canary:canary-wrong@127.0.0.1:{port}"));

        let ended = command(&world, &["check"]).await.expect(1);

        for remote in ["✗ keap", "✗ intercom"] {
            let line = line(&ended.stdout, remote);
            let named = format!("through the proxy http://127.0.0.1:{port} (HTTPS_PROXY)");
            assert!(line.contains(&named) && line.contains(says), "{line}");
            assert!(line.contains("check that proxy, HTTPS_PROXY"), "{line}");
        }
    }
}

#[sqlx::test]
async fn hosts_of_no_proxy_and_addresses_on_this_machine_are_called_directly(pool: PgPool) {
    let mut world = quiet_world(pool, 0).await;
    let proxy = LoopbackProxy::start(&[], None).await;
    let here = format!("http://127.0.0.1:{}", proxy.port);
    for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]
    {
        world.set(name, &here);
    }
    let ended = command(&world, &["check"]).await.expect(0);
    assert!(!ended.stdout.contains("proxy"), "{}", ended.stdout);

    world.set("NETWORK__PROXY", &here).set("NO_PROXY", "localhost,127.0.0.0/8");
    command(&world, &["check"]).await.expect(0);
    assert!(proxy.asked().is_empty(), "{:?}", proxy.asked());

    // Our own setting asks for it.
    world.env.remove("NO_PROXY");
    let ended = command(&world, &["check"]).await.expect(0);
    assert!(line(&ended.stdout, "✓ keap").contains("(NETWORK__PROXY)"), "{}", ended.stdout);
    assert_eq!(proxy.targets().len(), 2, "{:?}", proxy.asked());

    world.set("NETWORK__PROXY", "off");
    let before = proxy.asked().len();
    command(&world, &["check"]).await.expect(0);
    assert_eq!(proxy.asked().len(), before);

    // `no_proxy` in lower case, for one of two names that nothing resolves.
    world.env.remove("NETWORK__PROXY");
    world
        .set("KEAP_BASE_URL", "https://keap.invalid/crm/rest")
        .set("INTERCOM_BASE_URL", "https://intercom.invalid")
        .set("no_proxy", "keap.invalid");
    let ended = command(&world, &["check"]).await.expect(1);
    assert!(!line(&ended.stdout, "✗ keap").contains("proxy"), "{}", ended.stdout);
    assert!(line(&ended.stdout, "✗ intercom").contains("(HTTPS_PROXY)"), "{}", ended.stdout);
    assert_eq!(
        proxy.asked()[before..].iter().filter(|asked| asked.line.contains("keap")).count(),
        0
    );
}

#[sqlx::test]
async fn a_proxy_that_is_no_proxy_is_refused_by_its_name_and_not_shown(pool: PgPool) {
    for (name, value) in [
        ("HTTPS_PROXY", "ftp://canary@proxy.example.com"),
        ("NETWORK__PROXY", "http://canary@proxy.example.com/with/a/path"),
        ("all_proxy", "http://"),
    ] {
        let mut world = quiet_world(pool.clone(), 0).await;
        world.set(name, value);
        let ended = command(&world, &["check"]).await.expect(78);
        assert!(ended.stderr.contains(&format!("{name}: ")), "{}", ended.stderr);
    }
}

/// `check` fails for both remotes, and neither has heard anything.
async fn assert_closed(world: &World) {
    let ended = command(world, &["check"]).await.expect(1);
    for remote in ["✗ keap", "✗ intercom"] {
        line(&ended.stdout, remote);
    }
    assert_eq!((world.keap.calls(), world.intercom.calls()), (0, 0));
}

// F43
#[sqlx::test]
async fn a_certificate_of_an_authority_that_nobody_trusts_ends_every_call(pool: PgPool) {
    let (mut world, proxy) = behind_a_proxy(pool, None).await;
    world.set("NETWORK__PROXY", format!("http://127.0.0.1:{}", proxy.port));
    world.env.remove("SSL_CERT_FILE");

    assert_closed(&world).await;

    assert!(!proxy.asked().is_empty(), "the connections are made");
}

// F43
#[sqlx::test]
async fn a_certificate_for_another_name_ends_every_call(pool: PgPool) {
    let mut world = quiet_world(pool, 3).await;
    let port = |url: &str| url.parse::<url::Url>().unwrap().port().unwrap();
    let keap = behind_tls(port(&world.keap.base_url())).await;
    let intercom = behind_tls(port(&world.intercom.base_url())).await;
    world
        .set("KEAP_BASE_URL", format!("https://127.0.0.1:{keap}/crm/rest"))
        .set("INTERCOM_BASE_URL", format!("https://127.0.0.1:{intercom}"))
        .set("SSL_CERT_FILE", AUTHORITY);

    assert_closed(&world).await;
}
