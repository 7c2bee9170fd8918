//! `check`: settings, Postgres, Keap and Intercom, a line each.

use super::{Ended, SOME_FAILED, WELL, exit};
use std::sync::Arc;

use crate::app::{self, Parts};
use crate::config::{Migrate, Needed, Settings};
use crate::keap::HookState;
use crate::remote::Remote;
use crate::store::SchemaState;
use crate::sync::hooks::{HookError, Hooks};

/// What a check found, and what to do where it is wrong.
type Finding = Result<String, String>;

pub async fn run(settings: &Settings) -> Ended {
    settings.require(&[
        Needed::DatabaseUrl,
        Needed::KeapApiKey,
        Needed::IntercomAccessToken,
    ])?;
    let parts = Parts::build(settings)?;
    let (postgres, keap, intercom) = tokio::join!(
        postgres(&parts, settings),
        keap(&parts),
        intercom(&parts, settings)
    );
    let settings_finding = Ok(match settings.warnings.as_slice() {
        [] => "all keys are known and well formed".to_owned(),
        warnings => warnings.join("; "),
    });
    let mut wrong = false;
    for (what, finding) in [
        ("settings", settings_finding),
        ("postgres", postgres),
        ("keap", keap),
        ("intercom", intercom),
        ("webhooks", webhooks(&parts, settings).await),
    ] {
        match finding {
            Ok(text) => println!("✓ {what:<9} {text}"),
            Err(text) => {
                wrong = true;
                println!("✗ {what:<9} {text}");
            }
        }
    }
    exit(if wrong { SOME_FAILED } else { WELL })
}

async fn postgres(parts: &Parts, settings: &Settings) -> Finding {
    let unreachable = |error: crate::store::StoreError| {
        format!(
            "{:#}; check DATABASE_URL, the server and its access rules",
            anyhow::Error::from(error)
        )
    };
    match parts.store.schema_state().await.map_err(unreachable)? {
        SchemaState::Newer => {
            return Err(
                "the database was migrated by a newer version; install that version".into(),
            );
        }
        SchemaState::Behind(missing) => {
            // Before the first start of all, that is as it should be.
            let may = parts.store.may_migrate().await.map_err(unreachable)?;
            return match (settings.database.migrate, may) {
                (Migrate::Auto, true) => Ok(format!(
                    "reachable; {missing} migration(s) are missing, which `run` applies when it starts"
                )),
                (Migrate::Auto, false) => Err(format!(
                    "{missing} migration(s) are missing, and this role may not make or change tables in its schema: run `keap-intercom-sync migrate` as the owner of the schema"
                )),
                (Migrate::Refuse, _) => Err(format!(
                    "{missing} migration(s) are missing; run `keap-intercom-sync migrate` as the owner of the schema"
                )),
            };
        }
        SchemaState::Current => {}
    }
    match parts
        .store
        .missing_rights()
        .await
        .map_err(unreachable)?
        .as_slice()
    {
        [] => Ok("reachable, migrated, rights are sufficient".into()),
        missing => Err(format!(
            "rights are missing: {}; grant select, insert, update and delete on them (select alone on sync_digest_key and _sqlx_migrations)",
            missing.join(", ")
        )),
    }
}

async fn keap(parts: &Parts) -> Finding {
    let account = parts
        .keap
        .account()
        .await
        .map_err(|failure| failure.to_string())?;
    let tenant = account.tenant.unwrap_or_else(|| "not named".into());
    Ok(format!(
        "token accepted, tenant {tenant}{}",
        limits(parts.keap.remote())
    ))
}

async fn intercom(parts: &Parts, settings: &Settings) -> Finding {
    let workspace = parts
        .intercom
        .workspace()
        .await
        .map_err(|failure| failure.to_string())?;
    let id = workspace.id_code.unwrap_or_else(|| "not named".into());
    let region = workspace.region.unwrap_or_else(|| "not named".into());
    let asked = format!("{:?}", settings.intercom.region);
    // A base URL of one's own may lead anywhere, and a region that is new to us is no mistake.
    let is_known = ["us", "eu", "au"]
        .iter()
        .any(|known| known.eq_ignore_ascii_case(&region));
    if settings.intercom.base_url.is_none() && is_known && !region.eq_ignore_ascii_case(&asked) {
        return Err(format!(
            "the workspace lives in {region}; set INTERCOM_REGION to {}",
            region.to_lowercase()
        ));
    }
    Ok(format!(
        "token accepted, workspace {id}, region {region}, version {}{}",
        settings.intercom.version,
        limits(parts.intercom.remote())
    ))
}

async fn webhooks(parts: &Parts, settings: &Settings) -> Finding {
    if settings.http.public_url.is_none() {
        return Ok(
            "off, as HTTP_PUBLIC_URL is not set; that is fine: polling alone finds every change"
                .into(),
        );
    }
    let Some(options) = app::hook_options(settings) else {
        return Err("HTTP_PUBLIC_URL is set and KEAP_WEBHOOK_SECRET is not; set both, for example by `openssl rand -hex 32`, or none".into());
    };
    let wanted = options.events.len();
    let hooks = Hooks::new(Arc::clone(&parts.keap), parts.store.clone(), options);
    let ours = match hooks.list().await {
        Ok(ours) => ours,
        Err(HookError::Keap(failure)) => return Err(failure.to_string()),
        Err(HookError::Store(_)) => return Ok("not looked at, as the database is not ready".into()),
    };
    let verified = ours
        .iter()
        .filter(|(hook, current)| *current && hook.state == HookState::Verified)
        .count();
    if verified >= wanted {
        Ok(format!("{verified} of {wanted} subscriptions verified"))
    } else {
        Ok(format!(
            "{verified} of {wanted} subscriptions verified; the daemon makes the others, or `keap-intercom-sync hooks register` does"
        ))
    }
}

fn limits(remote: &Remote) -> String {
    remote
        .headroom()
        .iter()
        .map(|told| {
            format!(
                ", {}: {} of {} calls left",
                told.name, told.available, told.limit
            )
        })
        .collect()
}
