//! Holds `config/default.toml` to what the program does.

use tempfile::TempDir;

use super::{SECRETS, env, file};
use crate::config::keys::{self, KEYS};
use crate::config::kinds::Kind;
use crate::config::{DEFAULTS, Sources, load};

/// Each key of the default file: its path, its value as written, the comment above it, and
/// whether it is commented out.
fn documented() -> Vec<(String, String, String, bool)> {
    let (mut section, mut comment, mut found) = (String::new(), String::new(), Vec::new());
    for line in DEFAULTS.lines() {
        if line.is_empty() {
            comment.clear();
        } else if let Some(name) = line.strip_prefix('[') {
            section = format!("{}.", name.trim_end_matches(']'));
        } else if line == "#" || line.starts_with("# ") {
            comment = format!("{comment} {}", line.trim_start_matches(['#', ' ']));
        } else {
            let (key, value) = line.split_once(" = ").unwrap();
            let off = key.starts_with('#');
            let path = format!("{section}{}", key.trim_start_matches('#'));
            found.push((path, value.to_owned(), std::mem::take(&mut comment), off));
        }
    }
    found
}

#[test]
fn the_default_file_documents_every_key() {
    let documented = documented();
    let paths: Vec<&str> = documented.iter().map(|(path, ..)| path.as_str()).collect();
    let keys: Vec<&str> = KEYS.iter().map(|key| key.path.as_str()).collect();
    assert_eq!(paths, keys, "the same keys in the same order");

    for (path, _, comment, off) in &documented {
        let key = keys::at(path).unwrap();
        let env = key.env.clone();
        assert!(comment.contains(". Unit: "), "{path}: {comment}");
        let name = if key.is_secret() { format!("{env} or {env}_FILE") } else { env };
        assert!(comment.ends_with(&format!("Environment: {name}.")), "{path}: {comment}");
        assert_eq!(
            key.is_secret(),
            comment.contains("secret,") || comment.contains("A secret."),
            "{path}"
        );
        assert_eq!(*off, key.optional && path != "log.filter", "{path}");
        match key.kind {
            Kind::Int(min, max) => {
                assert!(comment.contains(&format!(", {min} to {max}.")), "{path}: {comment}")
            }
            Kind::Choice(names) => {
                assert!(
                    names.iter().all(|one| comment.contains(&format!("\"{one}\""))),
                    "{path}: {comment}"
                );
            }
            Kind::Bool => assert!(comment.contains("true or false"), "{path}: {comment}"),
            Kind::Text(_) | Kind::Texts | Kind::Secret(_) => {}
        }
    }
}

#[test]
fn examples_that_are_commented_out_are_valid_and_placeholders_are_refused() {
    for (path, value, _, off) in documented().into_iter().filter(|(.., off)| *off) {
        assert!(off);
        let dir = TempDir::new().unwrap();
        let (section, key) = path.split_once('.').unwrap();
        let loaded = load(&file(&dir, &format!("[{section}]\n{key} = {value}")));
        assert_eq!(loaded.is_ok(), value != "\"…\"", "{path}");
    }
}

#[test]
fn every_documented_name_works_and_fits_its_type() {
    for key in KEYS.iter() {
        let values: Vec<String> = match key.kind {
            Kind::Int(min, max) => vec![min.to_string(), max.to_string()],
            Kind::Bool => vec!["true".into(), "false".into()],
            Kind::Texts => vec!["one".into(), "one, two".into()],
            Kind::Choice(names) => names.iter().map(|name| (*name).to_owned()).collect(),
            Kind::Secret(_) => {
                let value = SECRETS.iter().find(|(name, _)| *name == key.env).unwrap().1;
                vec![value.to_owned()]
            }
            Kind::Text(_) => vec![
                match key.path.as_str() {
                    "environment" => "staging",
                    "intercom.version" => "2.15",
                    "http.listen" | "http.metrics_listen" => "[::1]:1",
                    "poll.schedule"
                    | "hooks.schedule"
                    | "sweep.schedule"
                    | "retention.schedule"
                    | "intercom_to_keap.schedule"
                    | "intercom_to_keap.audit_schedule" => "5 * * * * *",
                    "hooks.events" => "contact.edit,contactGroup.applied",
                    "log.filter" => "debug",
                    "notify.smtp_server" => "smtp.example.com:2525",
                    "notify.smtp_user" | "notify.mail_from" => "other@example.com",
                    _ => "https://other.example.com/base",
                }
                .to_owned(),
            ],
        };
        let plain = format!("{:?}", load(&Sources::default()).unwrap());
        let mut changed = false;
        for value in values {
            let mut sources = env(&[(&key.env, &value)]);
            if key.path == "filter.left" {
                sources.env.insert("FILTER__LEFT_TAG".into(), "left".into());
            }
            if key.path == "intercom_to_keap.archived" {
                sources.env.insert("INTERCOM_TO_KEAP__ARCHIVED_TAG".into(), "gone".into());
            }
            // Keeps the two bounds of a wait in order while one of them is moved.
            if key.path == "sync.retry_cap_seconds" {
                sources.env.insert("SYNC__RETRY_BASE_MS".into(), "1000".into());
            }
            let settings = load(&sources).unwrap_or_else(|error| panic!("{}: {error}", key.path));
            changed |= format!("{settings:?}") != plain;
        }
        assert!(changed, "{} has no effect", key.path);
    }
}

#[test]
fn every_number_is_bounded_at_both_ends() {
    for key in KEYS.iter() {
        let Kind::Int(min, max) = key.kind else {
            continue;
        };
        for value in [min - 1, max + 1] {
            let error = load(&env(&[(&key.env, &value.to_string())])).expect_err(&key.path);
            let expected = format!(
                "{}: \"{value}\" is not valid; expected a whole number from {min} to {max}",
                key.env
            );
            assert_eq!(error.to_string(), expected);
        }
    }
}
