//! `check`: tests the settings, Postgres, Keap, Intercom and the webhooks, and prints a line for
//! each.

use std::sync::Arc;

use super::check_fields::{Fields, Finding};
use super::look::mark;
use super::{Ended, SOME_FAILED, WELL, exit};
use crate::app::{self, Parts};
use crate::config::{self, Migrate, Needed, Settings};
use crate::contact::{Candidate, Contact};
use crate::feed::Feed;
use crate::intercom::Wanted;
use crate::keap::{HookState, PageQuery, Place, Row, Show};
use crate::notify::Notifier;
use crate::remote::{Failure, Lane, Remote};
use crate::store::SchemaState;
use crate::tasks::hooks::{HookError, Hooks};

pub async fn run(settings: &Settings) -> Ended {
    settings.require(&[Needed::DatabaseUrl, Needed::KeapApiKey, Needed::IntercomAccessToken])?;
    let parts = Parts::build(settings)?;
    let (postgres, keap, intercom) =
        tokio::join!(postgres(&parts, settings), keap(&parts), intercom(&parts, settings));
    let matching = match (&keap, &intercom) {
        (Ok(_), Ok(_)) => matching(&parts, settings).await,
        _ => Ok(NOT_CHECKED.into()),
    };
    let keap_answers = keap.is_ok();
    let settings_finding = Ok(match settings.warnings.as_slice() {
        [] => "all keys are known and well formed".to_owned(),
        warnings => warnings.join("; "),
    });
    let fields = match (&keap, &intercom) {
        (Ok(_), Ok(_)) => Fields::check(&parts, settings).await,
        _ => Fields { lines: vec![Ok(NOT_CHECKED.into())], ..Fields::unseen(settings) },
    };
    let mut wrong = false;
    let checks = [
        ("settings", settings_finding),
        ("postgres", postgres),
        ("keap", keap),
        ("intercom", intercom),
        ("matching", matching),
        ("webhooks", webhooks(&parts, settings).await),
    ];
    let fields_wrong = fields.wrong;
    let to_keap = if keap_answers {
        may_write(&parts, settings).await
    } else {
        Ok("not checked, because Keap does not answer".into())
    };
    let more =
        [("consent", Ok(fields.consent)), ("direction", Ok(fields.direction)), ("rights", to_keap)];
    let alarms = alarms(&parts.notifier).into_iter().map(|line| ("alarms", Ok(line)));
    let fields = fields.lines.into_iter().map(|line| ("field", line)).chain(more).chain(alarms);
    for (what, finding) in checks.into_iter().chain(fields) {
        match finding {
            Ok(text) => outln!("{} {what:<9}  {text}", mark(true)),
            Err(text) => {
                wrong = true;
                outln!("{} {what:<9}  {text}", mark(false));
            }
        }
    }
    exit(match (fields_wrong, wrong) {
        (true, _) => config::EXIT_STATUS,
        (false, true) => SOME_FAILED,
        (false, false) => WELL,
    })
}

/// The targets of alarms. It sends nothing: `notify test` does that.
fn alarms(notifier: &Notifier) -> Vec<String> {
    let targets = notifier.targets();
    if targets.is_empty() {
        return vec!["off, because [notify] names no target".into()];
    }
    let link = match notifier.page() {
        Some(page) => format!("messages lead to {page}"),
        None => "messages have no link, because neither notify.page_url nor HTTP_PUBLIC_URL is set"
            .into(),
    };
    let each = targets.iter().map(|target| format!("{} at {}", target.name(), target.place()));
    each.chain([format!("{link}; `keap-intercom-sync notify test` tests each target")]).collect()
}

const NOT_CHECKED: &str = "not checked, because one side does not answer";

async fn postgres(parts: &Parts, settings: &Settings) -> Finding {
    let unreachable = |error: crate::store::StoreError| {
        format!(
            "{:#}; check DATABASE_URL, the server and its access rules",
            anyhow::Error::from(error)
        )
    };
    if parts.store.is_read_only().await.map_err(unreachable)? {
        return Err("reachable, and read-only: nothing can be recorded; see why at the provider of the database (a full disk, a failover)".into());
    }
    match parts.store.schema_state().await.map_err(unreachable)? {
        SchemaState::Newer => {
            return Err("the database was migrated by a newer version; install that version".into());
        }
        SchemaState::Behind(missing) => {
            // Before the very first start, this is normal.
            let may_migrate = parts.store.may_migrate().await.map_err(unreachable)?;
            return match (settings.database.migrate, may_migrate) {
                (Migrate::Auto, true) => Ok(format!(
                    "reachable; {missing} migration(s) are missing; `run` applies them when it starts"
                )),
                (Migrate::Auto, false) => Err(format!(
                    "{missing} migration(s) are missing, and this role may not create or change tables in its schema: run `keap-intercom-sync migrate` as the owner of the schema"
                )),
                (Migrate::Refuse, _) => Err(format!(
                    "{missing} migration(s) are missing; run `keap-intercom-sync migrate` as the owner of the schema"
                )),
            };
        }
        SchemaState::Current => {}
    }
    match parts.store.missing_rights().await.map_err(unreachable)?.as_slice() {
        [] => Ok("reachable, migrated, rights are sufficient".into()),
        missing => Err(format!(
            "rights are missing: {}; grant select, insert, update and delete on them (select alone on sync_digest_key, contact_held and _sqlx_migrations)",
            missing.join(", ")
        )),
    }
}

async fn keap(parts: &Parts) -> Finding {
    let account = parts.keap.account().await.map_err(|failure| failure.to_string())?;
    let tenant = account.tenant.unwrap_or_else(|| "not named".into());
    let remote = parts.keap.remote();
    Ok(format!("token accepted, tenant {tenant}{}{}", way(remote), limits(remote)))
}

async fn intercom(parts: &Parts, settings: &Settings) -> Finding {
    let workspace = parts.intercom.workspace().await.map_err(|failure| failure.to_string())?;
    let id = workspace.id_code.unwrap_or_else(|| "not named".into());
    let region = workspace.region.unwrap_or_else(|| "not named".into());
    let asked = format!("{:?}", settings.intercom.region);
    // A base URL of the operator's may lead anywhere. A region that we do not know is no mistake.
    let is_known = ["us", "eu", "au"].iter().any(|known| known.eq_ignore_ascii_case(&region));
    if settings.intercom.base_url.is_none() && is_known && !region.eq_ignore_ascii_case(&asked) {
        return Err(format!(
            "the workspace lives in {region}; set INTERCOM_REGION to {}",
            region.to_lowercase()
        ));
    }
    Ok(format!(
        "token accepted, workspace {id}, region {region}, version {}{}{}",
        settings.intercom.version,
        way(parts.intercom.remote()),
        limits(parts.intercom.remote())
    ))
}

async fn webhooks(parts: &Parts, settings: &Settings) -> Finding {
    if settings.http.public_url.is_none() {
        return Ok(
            "off, because HTTP_PUBLIC_URL is not set; that is fine: polls find every change".into(),
        );
    }
    let Some(options) = app::hook_options(settings) else {
        return Err("HTTP_PUBLIC_URL is set and KEAP_WEBHOOK_SECRET is not; set both or neither (`openssl rand -hex 32` prints a good secret)".into());
    };
    let wanted = options.events.len();
    let hooks = Hooks::new(Arc::clone(&parts.keap), parts.store.clone(), options);
    let ours = match hooks.list().await {
        Ok(ours) => ours,
        Err(HookError::Keap(failure)) => return Err(failure.to_string()),
        Err(HookError::Store(_)) => {
            return Ok("not checked, because the database is not ready".into());
        }
    };
    let verified =
        ours.iter().filter(|(hook, current)| *current && hook.state == HookState::Verified).count();
    let has_started = parts.store.cursor(Feed::Changed).await.is_ok_and(|cursor| cursor.is_some());
    if verified >= wanted {
        Ok(format!("{verified} of {wanted} subscriptions verified"))
    } else if ours.is_empty() && !has_started {
        // Before the very first start, this is normal.
        Ok(format!("no subscription yet; `run` makes {wanted} when it starts"))
    } else {
        Err(format!(
            "{verified} of {wanted} subscriptions verified; polls find the changes until then. The daemon makes them by itself: see whether it runs, and whether HTTP_PUBLIC_URL leads to it from outside. `keap-intercom-sync hooks verify` tries at once"
        ))
    }
}

/// Whether the key may write contacts. It matters once the second direction is on.
async fn may_write(parts: &Parts, settings: &Settings) -> Finding {
    let is_on = settings.intercom_to_keap.enabled;
    let forbidden = "Keap does not allow this key to write contacts (403); give its user that right, or use the key of another user";
    match parts.keap.may_write().await {
        Ok(true) if is_on => {
            Ok("the key may write contacts, as far as a write of nothing can tell".into())
        }
        Ok(true) => Ok(
            "nothing is written; the key may write contacts, as far as a write of nothing can tell"
                .into(),
        ),
        Ok(false) if is_on => Err(forbidden.into()),
        Ok(false) => Ok(format!("nothing is written; to switch the direction on: {forbidden}")),
        Err(failure) => Err(failure.to_string()),
    }
}

/// Contacts of Keap that are looked up in Intercom: one call to Keap, and one to Intercom for each
/// fifteen of them.
const MATCHING_SAMPLE: usize = 150;

/// What a sample says about equal external ids: a stranger may carry the number of a Keap contact.
async fn matching(parts: &Parts, settings: &Settings) -> Finding {
    let (sample, found) = sample(parts).await.map_err(|failure| failure.to_string())?;
    let carriers: Vec<(&Contact, &Candidate)> = sample
        .iter()
        .filter_map(|contact| Some((contact, found.iter().find(|one| one.belongs_to(contact.id))?)))
        .collect();
    let agree = carriers.iter().filter(|(contact, found)| found.agrees_with(contact)).count();
    let differ = carriers.len() - agree;
    let counts = format!(
        "of {} contacts of Keap, Intercom has {} by external id: {agree} agree in e-mail, name or phone, {differ} do not",
        sample.len(),
        carriers.len()
    );
    Ok(match (differ, settings.r#match.trust_external_id) {
        _ if !parts.intercom.searches_external_ids() => {
            "equal external ids are not counted, because Intercom's search does not take them"
                .into()
        }
        (0, _) => counts,
        (_, true) => {
            format!("{counts}; these are overwritten, because match.trust_external_id is on")
        }
        (_, false) => format!(
            "{counts}; these are held, unless match.trust_external_id is on: set it only if the former worker wrote the external ids"
        ),
    })
}

/// The first contacts of Keap that have an e-mail, and what Intercom shows for them.
async fn sample(parts: &Parts) -> Result<(Vec<Contact>, Vec<Candidate>), Failure> {
    let query = PageQuery {
        from: None,
        until: None,
        place: Place::Start,
        page_size: MATCHING_SAMPLE,
        show: Show::Everything,
    };
    let page = parts.keap.page(Lane::Urgent, &query).await?;
    let is_usable = |row| match row {
        Row::Contact(contact) => contact.email().is_some().then_some(contact),
        Row::Unreadable { .. } => None,
    };
    // A page is as long as was asked for, unless Keap ignores that.
    let sample: Vec<Contact> =
        page.rows.into_iter().take(MATCHING_SAMPLE).filter_map(is_usable).collect();
    let wanted = sample
        .iter()
        .filter_map(|contact| Some(Wanted { keap: contact.id, email: contact.email()?.clone() }));
    let mut found = Vec::new();
    for part in parts.intercom.searches(wanted.collect()) {
        match parts.intercom.search(Lane::Urgent, &part).await {
            Ok(some) => found.extend(some),
            // Intercom refuses one of these addresses: the others are a sample, too.
            Err(Failure::Never { .. }) => {}
            Err(failure) => return Err(failure),
        }
    }
    Ok((sample, found))
}

/// The proxy in use.
fn way(remote: &Remote) -> String {
    remote.proxy().map(|proxy| format!(", through {proxy}")).unwrap_or_default()
}

fn limits(remote: &Remote) -> String {
    remote
        .headroom()
        .iter()
        .map(|limit| format!(", {}: {} of {} calls left", limit.name, limit.available, limit.limit))
        .collect::<Vec<_>>()
        .concat()
}
