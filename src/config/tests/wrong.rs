//! Every error text, and the good forms beside them.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::{env, file, refused, write};
use crate::config::{Sources, load};

/// A name, a wrong value for it, and a part of the text expected.
#[rustfmt::skip]
const WRONG: &[(&str, &str, &str)] = &[
    ("ENVIRONMENT", "", "ENVIRONMENT: an empty value is not valid; expected 1 to 64 letters"),
    ("ENVIRONMENT", "a b", "ENVIRONMENT: \"a b\" is not valid"),
    ("DATABASE_URL", "mysql://canary", "expected a URL such as postgres://"),
    ("DATABASE_URL", "canary", "DATABASE_URL: the value (not shown) is not valid"),
    ("DATABASE__MAX_CONNECTIONS", "1", "\"1\" is not valid; expected a whole number from 2 to 100"),
    ("DATABASE__MAX_CONNECTIONS", "101", "from 2 to 100"),
    ("DATABASE__MAX_CONNECTIONS", "", "DATABASE__MAX_CONNECTIONS: an empty value"),
    ("DATABASE__MIGRATE", "yes", "expected one of auto, refuse"),
    ("DATABASE__STATEMENT_TIMEOUT_MS", "30s", "expected a whole number from 10 to 600000"),
    ("DATABASE__CONNECT_TIMEOUT_MS", "0", "expected a whole number from 10"),
    ("DATABASE__PREPARED_STATEMENTS", "1", "expected true or false"),
    ("KEAP_API_KEY", "canary with space", "expected the token alone"),
    ("KEAP_API_KEY", "canary\n", "expected the token alone"),
    ("KEAP_BASE_URL", "http://api.example.com", "\"http://api.example.com\" is not valid; expected an https:// URL"),
    ("KEAP_BASE_URL", "https://u:canary@example.com", "the value (not shown, as it may hold a password)"),
    ("KEAP_BASE_URL", "https://example.com/?key=canary", "without user, query or fragment"),
    ("KEAP_BASE_URL", "https://example.com/#canary", "without user, query or fragment"),
    ("KEAP_BASE_URL", "api.example.com", "expected an https:// URL"),
    ("KEAP_BASE_URL", " https://example.com", "expected an https:// URL"),
    ("KEAP_BASE_URL", "http://127.0.0.1.example.com", "http:// only to localhost"),
    ("KEAP_BASE_URL", "http://localhost.example.com", "http:// only to localhost"),
    ("KEAP_BASE_URL", "file:///etc", "expected an https:// URL"),
    ("KEAP_WEBHOOK_SECRET", "canary", "of at least 128 bits each"),
    ("KEAP_WEBHOOK_SECRET", "0123456789abcdef0123456789abcde", "32 or more of hex"),
    ("KEAP_WEBHOOK_SECRET", "canary-hook-one-0123456789,", "two separated by a comma"),
    ("KEAP_WEBHOOK_SECRET", "canary-0123456789012345,canary-0123456789012346,canary-0123456789012347", "two"),
    ("KEAP__PAGE_SIZE", "1001", "from 1 to 1000"),
    ("KEAP__IDS_PER_CALL", "501", "from 1 to 500"),
    ("KEAP__CALLS_PER_SECOND", "0", "from 1 to 1000"),
    ("KEAP__CALLS_PER_MINUTE", "-1", "from 1 to 60000"),
    ("KEAP__DAILY_RESERVE_PERCENT", "51", "from 0 to 50"),
    ("KEAP__REQUEST_TIMEOUT_MS", "99999999999999999999", "from 10 to 600000"),
    ("INTERCOM_ACCESS_TOKEN", "Bearer canary", "without the word Bearer"),
    ("INTERCOM_REGION", "US", "\"US\" is not valid; expected one of us, eu, au"),
    ("INTERCOM_BASE_URL", "http://10.0.0.1", "http:// only to localhost"),
    ("INTERCOM_VERSION", "2", "such as 2.16"),
    ("INTERCOM__CALLS_PER_10_SECONDS", "0", "from 1 to 100000"),
    ("INTERCOM__EMAILS_PER_SEARCH", "16", "from 1 to 15"),
    ("NETWORK__PROXY", "ftp://canary:canary@proxy:3128", "NETWORK__PROXY: the value (not shown) is not valid; expected off, or the URL of a proxy"),
    ("NETWORK__PROXY", "http://proxy:3128/path", "expected off, or the URL of a proxy"),
    ("NETWORK__PROXY", "http://", "expected off, or the URL of a proxy"),
    ("NETWORK__PROXY", "http://proxy:3128 ", "expected off, or the URL of a proxy"),
    ("NETWORK_PROXY", "canary", "did you mean NETWORK__PROXY?"),
    ("HTTP_LISTEN", "8080", "\"8080\" is not valid; expected an IP address and a port"),
    ("HTTP_LISTEN", "localhost:8080", "for example 127.0.0.1:8080"),
    ("HTTP_PUBLIC_URL", "http://sync.example.com", "expected an https:// URL"),
    ("API_TOKEN", "canary-12345678", "at least 16 characters"),
    ("UI_PASSWORD", "canary-1234", "UI_PASSWORD: the value (not shown) is not valid; expected 12 to 256 characters"),
    ("UI_PASSWORD", "canary\ncanary-2", "without control characters"),
    ("POLL__SCHEDULE", "* * * * *", "POLL__SCHEDULE: \"* * * * *\" is not valid; expected six fields, seconds first, for example"),
    ("POLL__SCHEDULE", "0 60 * * * *", "six fields"),
    ("POLL__SCHEDULE", "0 * * * * * * *", "six fields"),
    ("POLL__SCHEDULE", "0 * * * * $", "six fields"),
    ("POLL__SCHEDULE", "@hourly", "six fields"),
    ("POLL__SCHEDULE", "", "six fields"),
    ("POLL__OVERLAP_SECONDS", "86401", "from 0 to 86400"),
    ("POLL__FIRST_RUN", "never", "expected one of everything, from_now"),
    ("SYNC__CONCURRENCY", "513", "from 1 to 512"),
    ("SYNC__CONCURRENCY", "6.5", "\"6.5\" is not valid"),
    ("SYNC__PROMOTE_LEADS", "True", "expected true or false"),
    ("SYNC__UNARCHIVE", "on", "expected true or false"),
    ("SYNC__MAX_ATTEMPTS", "51", "from 1 to 50"),
    ("SYNC__RECORD_GROUP", "0", "from 1 to 1000"),
    ("SYNC__URGENT_SHARE_PERCENT", "51", "from 0 to 50"),
    ("SYNC__RETRY_CAP_SECONDS", "1", "SYNC__RETRY_CAP_SECONDS: 1 s is not valid; expected no less than 2000 ms, which is sync.retry_base_ms in the built-in defaults"),
    ("LEASE__TTL_SECONDS", "4", "from 5 to 300"),
    ("LOG_FORMAT", "xml", "expected one of text, json"),
    ("RUST_LOG", " ", "expected a log filter"),
    ("ENVIRONMENT", "caf\u{FFFD}", "ENVIRONMENT"),
    ("DATABASE_URL", "postgres://canary\u{FFFD}@h/d", "DATABASE_URL"),
    // Unknown names meant for this program.
    ("KEAP_PAGE_SIZE", "canary", "KEAP_PAGE_SIZE is not a setting; did you mean KEAP__PAGE_SIZE?"),
    ("POLL_SCHEDULE", "canary", "did you mean POLL__SCHEDULE?"),
    ("KEAP__PAGESIZE", "canary", "KEAP__PAGESIZE is not a setting; did you mean KEAP__PAGE_SIZE?"),
    ("KEAP__API_KEY", "canary", "did you mean KEAP_API_KEY?"),
    ("HTTP__LISTEN", "canary", "did you mean HTTP_LISTEN?"),
    ("HTTP_API_TOKEN", "canary", "did you mean API_TOKEN?"),
    ("HTTP_UI_PASSWORD", "canary", "did you mean UI_PASSWORD?"),
    ("LOG__FILTER", "canary", "did you mean RUST_LOG?"),
    ("DATABASE__URL", "canary", "did you mean DATABASE_URL?"),
    ("poll__schedule", "canary", "poll__schedule is not a setting; did you mean POLL__SCHEDULE?"),
    ("LEASE__COLOUR", "canary", "the names of its section are LEASE__TTL_SECONDS"),
    ("POLL__SCHEDULE_FILE", "canary", "POLL__SCHEDULE_FILE is not a setting"),
];

#[test]
fn each_wrong_variable_is_named_with_the_form_expected() {
    for (name, value, expected) in WRONG {
        let text = refused(&env(&[(name, value)]));
        assert!(text.contains(expected), "{name}={value:?} gave: {text}");
        assert!(text.starts_with(name), "{name}={value:?} gave: {text}");
        assert!(!text.contains("canary"), "{name}={value:?} gave: {text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    }
}

#[test]
fn good_forms_are_taken() {
    let good: &[(&str, &str)] = &[
        ("KEAP_BASE_URL", "http://localhost:9000/crm"),
        ("KEAP_BASE_URL", "http://127.8.0.1"),
        ("KEAP_BASE_URL", "http://[::1]:9000"),
        ("INTERCOM_BASE_URL", "https://api.example.com/"),
        ("INTERCOM_VERSION", "Unstable"),
        ("HTTP_LISTEN", "[::]:80"),
        ("POLL__SCHEDULE", "*/15 0-30 8,12 L JAN-MAR MON#2"),
        ("POLL__SCHEDULE", "0 0 3 ? * SUN 2030"),
        ("KEAP_WEBHOOK_SECRET", "AbCdEfGhIjKlMnOpQrStUg=="),
        ("KEAP_WEBHOOK_SECRET", "0123456789abcdef0123456789abcdef"),
        ("DATABASE_URL", "postgresql:///sync?host=/run/postgresql"),
        ("RUST_LOG", "info,sqlx=warn"),
    ];
    for pair in good {
        assert!(load(&env(&[*pair])).is_ok(), "{pair:?}");
    }
}

/// The text of a file, and a part of the text expected with FILE for its path.
#[rustfmt::skip]
const WRONG_FILES: &[(&str, &str)] = &[
    ("[poll]\nschedule = \"x\"", "poll.schedule in FILE: \"x\" is not valid; expected six fields"),
    ("[keap]\npage_size = \"9\"", "keap.page_size in FILE: \"9\" is not valid; expected a whole number"),
    ("[keap]\npage_size = true", "keap.page_size in FILE: true is not valid"),
    ("[keap]\npage_size = [1]", "keap.page_size in FILE: a list is not valid"),
    ("[keap.page_size]\na = 1", "keap.page_size in FILE: a table is not valid"),
    ("[sync]\nunarchive = \"true\"", "sync.unarchive in FILE: \"true\" is not valid; expected true or false"),
    ("[intercom]\nversion = 2.16", "intercom.version in FILE: 2.16 is not valid; expected a version"),
    ("[keap]\napi_key = \"\"", "keap.api_key in FILE: an empty value is not valid"),
    ("[keap]\napi_key = 42424242", "keap.api_key in FILE: the value (not shown) is not valid"),
    ("[keap]\npagesize = 1", "keap.pagesize in FILE is not a setting; did you mean keap.page_size?"),
    ("[keap]\nPage-Size = 1", "keap.Page-Size in FILE is not a setting; did you mean keap.page_size?"),
    ("[lease]\ncolour = 1", "lease.colour in FILE is not a setting; the keys of [lease] are ttl_seconds"),
    ("[kaep]\npage_size = 1", "[kaep] in FILE is not a setting; did you mean [keap]?"),
    ("[zebra]", "[zebra] in FILE is not a setting; the sections are database, keap, intercom"),
    ("enviroment = \"x\"", "enviroment in FILE is not a setting; did you mean environment?"),
    ("DATABASE_URL = \"canary\"", "DATABASE_URL in FILE is not a setting; did you mean database.url?"),
    ("colour = 1", "colour in FILE is not a setting; the sections are database"),
    ("\"keap.page_size\" = 1", "\"keap.page_size\" in FILE is not a setting; a dotted key"),
    ("keap = 1", "keap in FILE: a single value is not valid; expected a section [keap]"),
    ("[keap]\napi_key = \"canary", "the TOML in FILE cannot be read: TOML parse error at line 2"),
    ("[keap]\napi_key = canary", "the TOML in FILE cannot be read: TOML parse error at line 2"),
    ("[keap]\npage_size = 1\npage_size = 2", "line 3, column 1: duplicate key"),
];

#[test]
fn each_wrong_file_is_named_with_the_form_expected() {
    for (text, expected) in WRONG_FILES {
        let dir = TempDir::new().unwrap();
        let sources = file(&dir, text);
        let path = sources.file.clone().unwrap();
        let got = refused(&sources).replace(path.to_str().unwrap(), "FILE");
        assert!(got.contains(expected), "{text:?} gave: {got}");
        assert!(!got.contains("canary") && !got.contains("42424242"), "{text:?} gave: {got}");
        assert_eq!(got.lines().count(), 1, "{text:?} gave: {got}");
    }
}

#[test]
fn a_file_that_is_not_there_is_an_error() {
    let sources = Sources { file: Some("/nowhere/sync.toml".into()), ..Sources::default() };
    assert!(refused(&sources).starts_with("--config: /nowhere/sync.toml cannot be read"));
}

#[test]
fn every_mistake_is_reported() {
    let dir = TempDir::new().unwrap();
    let mut sources = file(&dir, "[keap]\npage_size = 0\n[lease]\nttl = 3");
    sources.env = env(&[("LOG_FORMAT", "xml"), ("SYNC__CONCURRENCY", "0")]).env;
    let error = load(&sources).unwrap_err();
    assert_eq!(error.lines().count(), 4, "{error}");
    assert_eq!(error.to_string().lines().count(), 4);
}

#[test]
fn secret_files_that_are_wrong_are_named() {
    let dir = TempDir::new().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    write(Path::new(&at("empty")), "\n\n", 0o600);
    write(Path::new(&at("spaced")), "canary two\n", 0o600);
    write(Path::new(&at("large")), &"a".repeat(70_000), 0o600);
    fs::write(at("binary"), [0xff, 0xfe, 0x00]).unwrap();
    let cases = [
        ("empty", "is empty"),
        ("missing", "cannot be read: No such file"),
        ("large", "is larger than 65536 bytes"),
        ("binary", "is not UTF-8 text"),
        ("", "cannot be read"),
        ("spaced", "the value (not shown) is not valid; expected the token alone"),
    ];
    for (file, expected) in cases {
        let text = refused(&env(&[("KEAP_API_KEY_FILE", &at(file))]));
        assert!(text.contains(expected) && text.contains(&at(file)), "{file}: {text}");
        assert!(text.starts_with("KEAP_API_KEY_FILE") && !text.contains("canary"), "{text}");
    }
    let both = refused(&env(&[("KEAP_API_KEY", "x"), ("KEAP_API_KEY_FILE", &at("spaced"))]));
    assert_eq!(both, "KEAP_API_KEY and KEAP_API_KEY_FILE are both set; keep one of them");
}

#[test]
fn credentials_with_other_names() {
    let cases = [
        ("keap-api-kye", Some("did you mean KEAP_API_KEY?")),
        ("Keap_Api_Key", Some("did you mean KEAP_API_KEY?")),
        ("keap_api_key_file", Some("holds the value itself; did you mean KEAP_API_KEY?")),
        ("keap_page_size", Some("did you mean KEAP__PAGE_SIZE?")),
        ("root-ca.pem", None),
        (".mounted", None),
    ];
    for (file, expected) in cases {
        let dir = TempDir::new().unwrap();
        write(&dir.path().join(file), "canary", 0o400);
        fs::create_dir(dir.path().join("keap_api_key")).unwrap();
        let credentials_dir = Some(dir.path().to_owned());
        let sources = Sources { credentials_dir, ..Sources::default() };
        match expected {
            Some(expected) => {
                let text = refused(&sources);
                assert!(text.contains(expected) && text.contains(file), "{text}");
                assert!(!text.contains("canary"));
            }
            None => {
                let warned = load(&sources).unwrap().warnings;
                assert_eq!(warned.len(), usize::from(!file.starts_with('.')), "{warned:?}");
            }
        }
    }

    let dir = TempDir::new().unwrap();
    write(&dir.path().join("keap-api-key"), "one", 0o400);
    write(&dir.path().join("KEAP_API_KEY"), "two", 0o400);
    let credentials_dir = Some(dir.path().to_owned());
    let text = refused(&Sources { credentials_dir, ..Sources::default() });
    assert!(text.contains("are both set"), "{text}");

    let credentials_dir = Some("/nowhere".into());
    let text = refused(&Sources { credentials_dir, ..Sources::default() });
    assert!(text.starts_with("CREDENTIALS_DIRECTORY: /nowhere cannot be listed"), "{text}");
}

#[test]
fn foreign_variables_are_ignored() {
    let foreign = [
        ("PATH", "/bin"),
        ("HTTP_PROXY", "x"),
        ("DATABASE_HOST", "x"),
        ("KEAP_SANDBOX", "x"),
        ("environment", "x y"),
        ("LOG_LEVEL", "x"),
        ("HOME__X", "x"),
        ("CREDENTIALS_DIRECTORY", "/nowhere"),
    ];
    load(&env(&foreign)).unwrap();
}
