//! Defaults, layers and secrets; the error texts and the documentation have their own files.
#![allow(clippy::unwrap_used)]

mod documentation;
mod wrong;

use std::fs;
use std::path::Path;
use std::time::Duration;

use secrecy::ExposeSecret;
use tempfile::TempDir;

use super::keys::{self, KEYS};
use super::*;

const SECRETS: [(&str, &str); 13] = [
    ("DATABASE_URL", "postgres://app:canary-db@db/app"),
    ("KEAP_API_KEY", "canary-keap"),
    ("KEAP_WEBHOOK_SECRET", "canary-hook-one-0123456789,canary-hook-two-0123456789"),
    ("INTERCOM_ACCESS_TOKEN", "canary-intercom"),
    ("INTERCOM_CLIENT_SECRET", "canary-client-secret"),
    ("NETWORK__PROXY", "http://canary:canary-proxy@proxy:3128"),
    ("API_TOKEN", "canary-api-0123456789"),
    ("UI_PASSWORD", "canary page word"),
    ("NOTIFY__JSON_URL", "https://alarms.example.com/canary-json"),
    ("NOTIFY__SLACK_URL", "https://slack.example.com/canary-slack"),
    ("NOTIFY__TEAMS_URL", "https://teams.example.com/?sig=canary-teams"),
    ("NOTIFY__DISCORD_URL", "https://discord.example.com/canary-discord"),
    ("NOTIFY__SMTP_PASSWORD", "canary mail word"),
];

fn env(pairs: &[(&str, &str)]) -> Sources {
    let pairs = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
    Sources { env: pairs.collect(), ..Sources::default() }
}

fn file(dir: &TempDir, text: &str) -> Sources {
    let path = dir.path().join("sync.toml");
    write(&path, text, 0o600);
    Sources { file: Some(path), ..Sources::default() }
}

fn write(path: &Path, text: &str, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn refused(sources: &Sources) -> String {
    load(sources).expect_err("must be refused").to_string()
}

fn secret(settings: &Settings, name: &str) -> Option<String> {
    let value = match name {
        "DATABASE_URL" => &settings.database.url,
        "KEAP_API_KEY" => &settings.keap.api_key,
        "KEAP_WEBHOOK_SECRET" => &settings.keap.webhook_secret,
        "INTERCOM_ACCESS_TOKEN" => &settings.intercom.access_token,
        "INTERCOM_CLIENT_SECRET" => &settings.intercom.client_secret,
        "NETWORK__PROXY" => &settings.network.proxy,
        "API_TOKEN" => &settings.http.api_token,
        "UI_PASSWORD" => &settings.http.ui_password,
        "NOTIFY__JSON_URL" => &settings.notify.json_url,
        "NOTIFY__SLACK_URL" => &settings.notify.slack_url,
        "NOTIFY__TEAMS_URL" => &settings.notify.teams_url,
        "NOTIFY__DISCORD_URL" => &settings.notify.discord_url,
        "NOTIFY__SMTP_PASSWORD" => &settings.notify.smtp_password,
        other => panic!("{other} is no secret"),
    };
    value.as_ref().map(|value| value.expose_secret().to_owned())
}

#[test]
fn defaults_alone_are_valid() {
    let settings = load(&Sources::default()).unwrap();
    assert_eq!(settings.environment, "production");
    assert_eq!(settings.database.max_connections, 8);
    assert_eq!(settings.database.migrate, Migrate::Auto);
    assert_eq!(settings.database.statement_timeout, Duration::from_secs(30));
    assert_eq!(settings.keap.base_url.as_str(), "https://api.infusionsoft.com/crm/rest");
    assert_eq!(settings.keap.page_size, 1000);
    assert!(settings.keap.webhook_secrets().is_empty());
    assert_eq!(settings.intercom.base_url().as_str(), "https://api.intercom.io/");
    assert_eq!(settings.intercom.version, "2.16");
    assert_eq!(settings.http.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(settings.poll.schedule, "0 * * * * *");
    assert_eq!(settings.poll.first_run, FirstRun::Everything);
    assert_eq!(settings.sync.retry_cap, Duration::from_secs(3600));
    assert_eq!(settings.lease.ttl, Duration::from_secs(15));
    assert_eq!(settings.log.format, LogFormat::Text);
    assert_eq!(settings.log.filter, "info");
    assert!(settings.warnings.is_empty());
    assert!(SECRETS.iter().all(|(name, _)| secret(&settings, name).is_none()));
}

#[test]
fn later_layers_win() {
    let dir = TempDir::new().unwrap();
    let mut sources = file(&dir, "[keap]\napi_key = \"from-file\"\n[poll]\noverlap_seconds = 1");
    let key = |sources: &Sources| secret(&load(sources).unwrap(), "KEAP_API_KEY").unwrap();
    assert_eq!(key(&sources), "from-file");
    assert_eq!(load(&sources).unwrap().poll.overlap, Duration::from_secs(1));
    assert_eq!(load(&sources).unwrap().keap.page_size, 1000);

    let credentials = dir.path().join("credentials");
    fs::create_dir(&credentials).unwrap();
    write(&credentials.join("keap-api-key"), "from-credential\n", 0o400);
    write(&credentials.join("poll__overlap_seconds"), "2\n", 0o400);
    sources.credentials_dir = Some(credentials);
    assert_eq!(key(&sources), "from-credential");
    assert_eq!(load(&sources).unwrap().poll.overlap, Duration::from_secs(2));

    let pointed = dir.path().join("pointed");
    write(&pointed, "from-pointed-file\n", 0o400);
    sources.env =
        env(&[("KEAP_API_KEY_FILE", pointed.to_str().unwrap()), ("POLL__OVERLAP_SECONDS", "3")])
            .env;
    assert_eq!(key(&sources), "from-pointed-file");
    assert_eq!(load(&sources).unwrap().poll.overlap, Duration::from_secs(3));

    sources.env = env(&[("KEAP_API_KEY", "from-variable"), ("KEAP_API_KEY_FILE", "")]).env;
    assert_eq!(key(&sources), "from-variable");

    sources.env = env(&[("KEAP_API_KEY", "")]).env;
    assert_eq!(key(&sources), "from-credential", "empty is unset");
}

#[test]
fn each_secret_comes_from_each_source() {
    for (name, value) in SECRETS {
        let dir = TempDir::new().unwrap();
        let check = |how: &str, sources: &Sources| {
            let settings = load(sources).unwrap_or_else(|error| panic!("{name} by {how}: {error}"));
            assert_eq!(secret(&settings, name).as_deref(), Some(value), "{name} by {how}");
            assert!(settings.warnings.is_empty(), "{name} by {how}: {:?}", settings.warnings);
        };
        check("variable", &env(&[(name, value)]));

        let pointed = dir.path().join("pointed");
        write(&pointed, &format!("{value}\r\n"), 0o600);
        let path = pointed.to_str().unwrap();
        check("NAME_FILE", &env(&[(&format!("{name}_FILE"), path)]));

        let key = keys::of_env(name).unwrap();
        let (section, short) = key.path.split_once('.').unwrap();
        check("file", &file(&dir, &format!("[{section}]\n{short} = \"{value}\"")));

        let lower = name.to_lowercase();
        for file in [name, &lower, &lower.replace('_', "-")] {
            let credentials = TempDir::new().unwrap();
            write(&credentials.path().join(file), value, 0o440);
            let credentials_dir = Some(credentials.path().to_owned());
            check(file, &Sources { credentials_dir, ..Sources::default() });
        }
    }
}

// `docker --env-file` passes quotes on.
#[test]
fn quotes_around_any_value_of_the_environment_or_a_secret_file_are_left_out() {
    for key in KEYS.iter() {
        let value = valid(key);
        let plain = load(&env(&[(&key.env, &value)])).unwrap();
        for quoted in [format!("\"{value}\""), format!("'{value}'")] {
            let settings = load(&env(&[(&key.env, &quoted)]));
            let settings = settings.unwrap_or_else(|error| panic!("{}={quoted}: {error}", key.env));
            assert_eq!(plain.values.differences(&settings.values), [""; 0], "{}", key.env);

            if key.is_secret() {
                let dir = TempDir::new().unwrap();
                let path = dir.path().join("pointed");
                write(&path, &format!("{quoted}\n"), 0o600);
                let path = format!("\"{}\"", path.to_str().unwrap());
                let settings = load(&env(&[(&format!("{}_FILE", key.env), &path)])).unwrap();
                assert_eq!(plain.values.differences(&settings.values), [""; 0], "{}", key.env);
            }
        }
    }
    let empty = load(&env(&[("KEAP_API_KEY", "\"\""), ("KEAP_API_KEY_FILE", "''")])).unwrap();
    assert_eq!(secret(&empty, "KEAP_API_KEY"), None);
}

#[test]
fn a_quote_at_one_end_of_a_secret_is_refused() {
    for (name, value) in SECRETS {
        for wrong in [format!("\"{value}"), format!("{value}'"), format!("\"'{value}'\"")] {
            let text = refused(&env(&[(name, &wrong)]));
            assert!(text.starts_with(name) && !text.contains("canary"), "{wrong}: {text}");
        }
    }
}

/// A value that the key accepts.
fn valid(key: &kinds::Key) -> String {
    match key.kind {
        kinds::Kind::Int(_, max) => max.to_string(),
        kinds::Kind::Bool => "false".into(),
        kinds::Kind::Texts => "one, two".into(),
        kinds::Kind::Choice(names) => names.last().unwrap().to_string(),
        kinds::Kind::Secret(_) => {
            SECRETS.iter().find(|(name, _)| *name == key.env).unwrap().1.into()
        }
        kinds::Kind::Text(_) => match load(&Sources::default()).unwrap().values.text(&key.path) {
            Some(default) => default.into(),
            None if key.path.ends_with("listen") => "[::1]:1".into(),
            None if key.path == "notify.smtp_server" => "smtp.example.com".into(),
            None if key.path == "notify.mail_from" => "alarms@example.com".into(),
            None => "https://other.example.com/base".into(),
        },
    }
}

#[test]
fn secrets_that_every_user_can_read_earn_a_warning() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("key");
    write(&path, "canary", 0o644);
    let settings = load(&env(&[("KEAP_API_KEY_FILE", path.to_str().unwrap())])).unwrap();
    assert_eq!(settings.warnings.len(), 1);
    assert!(settings.warnings[0].contains("KEAP_API_KEY_FILE"), "{:?}", settings.warnings);
    assert!(!settings.warnings[0].contains("canary"));

    let sources = file(&dir, "[keap]\napi_key = \"canary\"");
    write(sources.file.as_ref().unwrap(), "[keap]\napi_key = \"canary\"", 0o644);
    assert_eq!(load(&sources).unwrap().warnings.len(), 1);
    write(sources.file.as_ref().unwrap(), "[keap]\npage_size = 1", 0o644);
    assert!(load(&sources).unwrap().warnings.is_empty());
}

#[test]
fn empty_optional_variables_are_unset() {
    let optional = KEYS.iter().filter(|key| key.optional);
    let names: Vec<String> = optional.map(|key| key.env.clone()).collect();
    let pairs: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "")).collect();
    let settings = load(&env(&pairs)).unwrap();
    assert_eq!(settings.log.filter, "info");
    assert!(settings.intercom.base_url.is_none() && settings.http.public_url.is_none());
    assert!(SECRETS.iter().all(|(name, _)| secret(&settings, name).is_none()));
}

#[test]
fn missing_secrets_say_how_to_give_them() {
    let settings = load(&Sources::default()).unwrap();
    let text = settings.secret(Needed::DatabaseUrl).unwrap_err().to_string();
    assert!(
        text.starts_with(
            "DATABASE_URL is missing: set DATABASE_URL, or DATABASE_URL_FILE to the path"
        ),
        "{text}"
    );
    assert!(settings.secret(Needed::KeapApiKey).is_err());
    assert!(settings.secret(Needed::IntercomAccessToken).is_err());

    let all = [
        Needed::DatabaseUrl,
        Needed::KeapApiKey,
        Needed::KeapWebhookSecret,
        Needed::IntercomAccessToken,
        Needed::HttpPublicUrl,
        Needed::ApiToken,
    ];
    let error = settings.require(&all).unwrap_err();
    assert_eq!(error.lines().count(), all.len());
    assert!(
        error
            .to_string()
            .contains("HTTP_PUBLIC_URL is missing: set HTTP_PUBLIC_URL, or http.public_url in")
    );

    let mut sources = env(&SECRETS);
    sources.env.insert("HTTP_PUBLIC_URL".into(), "https://sync.example.com".into());
    load(&sources).unwrap().require(&all).unwrap();
}

#[test]
fn debug_text_holds_no_secret() {
    let sources = env(&SECRETS);
    let settings = load(&sources).unwrap();
    let text = format!("{settings:?} {settings:#?}");
    assert!(!text.contains("canary"), "{text}");
    let hooks = settings.keap.webhook_secrets();
    assert_eq!(hooks.len(), 2);
    assert_eq!(hooks[1].expose_secret(), "canary-hook-two-0123456789");
    assert!(!format!("{sources:?}").contains("canary"));
}

#[test]
fn addresses_are_resolved() {
    for (region, address) in
        [("us", "api.intercom.io"), ("eu", "api.eu.intercom.io"), ("au", "api.au.intercom.io")]
    {
        let settings = load(&env(&[("INTERCOM_REGION", region)])).unwrap();
        assert_eq!(settings.intercom.base_url().host_str(), Some(address));
    }
    let both = [("INTERCOM_REGION", "eu"), ("INTERCOM_BASE_URL", "http://127.0.0.1:9/x//")];
    let settings = load(&env(&both)).unwrap();
    assert_eq!(settings.intercom.base_url().as_str(), "http://127.0.0.1:9/x");
}

/// The proxy that these variables lead to: its setting, its URL and the exceptions.
fn proxy(pairs: &[(&str, &str)]) -> Option<(&'static str, String, String)> {
    let proxy = load(&env(pairs)).unwrap().proxy()?;
    Some((proxy.name, proxy.url.expose_secret().to_owned(), proxy.except))
}

#[test]
fn our_own_setting_comes_before_the_usual_variables_for_a_proxy() {
    let all = [
        ("NETWORK__PROXY", "http://own:1"),
        ("HTTPS_PROXY", "http://upper:2"),
        ("https_proxy", "http://lower:3"),
        ("ALL_PROXY", "socks5://all:4"),
        ("all_proxy", "all:5"),
    ];
    for (at, url) in
        ["http://own:1/", "http://upper:2/", "http://lower:3/", "socks5://all:4", "http://all:5/"]
            .into_iter()
            .enumerate()
    {
        let found = proxy(&all[at..]).unwrap();
        assert_eq!((found.0, found.1.as_str()), (all[at].0, url));
    }
    assert_eq!(proxy(&[("HTTP_PROXY", "http://plain:6"), ("http_proxy", "http://plain:6")]), None);
    assert_eq!(proxy(&[("HTTPS_PROXY", ""), ("https_proxy", "")]), None);
    assert_eq!(proxy(&[("NETWORK__PROXY", "off"), ("HTTPS_PROXY", "http://upper:2")]), None);
    let except = |name| proxy(&[("HTTPS_PROXY", "http://upper:2"), (name, "a.example")]).unwrap().2;
    assert_eq!(
        [except("NO_PROXY"), except("no_proxy"), except("OTHER")],
        ["a.example", "a.example", ""]
    );
}

#[test]
fn a_usual_variable_that_names_no_proxy_is_refused_unless_our_own_setting_replaces_it() {
    let wrong = ("HTTPS_PROXY", "ftp://canary@proxy:3128");
    let text = refused(&env(&[wrong]));
    assert!(text.starts_with("HTTPS_PROXY: the value (not shown"), "{text}");
    assert!(text.contains("NETWORK__PROXY") && !text.contains("canary"), "{text}");
    assert_eq!(proxy(&[wrong, ("NETWORK__PROXY", "http://own:1")]).unwrap().0, "NETWORK__PROXY");
}
