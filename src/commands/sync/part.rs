//! A part of the contacts: by tag, by time, or by a list of ids. Each becomes ids, which are synced
//! as if a person had named them.

mod ids;

use anyhow::{Context as _, bail};
use chrono::{DateTime, Utc};

use super::args::SyncArgs;
use crate::app::Parts;
use crate::commands::look::count;
use crate::commands::stamped::Window;
use crate::config::Settings;
use crate::contact::KeapId;
use crate::keap::KeapClient;
use crate::remote::Lane;

/// Replaces a part by its ids. Says how many there are.
pub(super) async fn find(
    parts: &Parts,
    settings: &Settings,
    args: &mut SyncArgs,
) -> anyhow::Result<()> {
    let ids = match (&args.tag, &args.ids_file, args.since, args.until) {
        (Some(tag), ..) => tagged(&parts.keap, tag).await?,
        (_, Some(path), ..) => ids::read(path)?,
        (_, _, Some(from), Some(until)) => between(parts, settings, from, until).await?,
        _ => return Ok(()),
    };
    if ids.is_empty() {
        bail!("there is no such contact");
    }
    if !args.json {
        errln!("{} to look at.", count(i64::try_from(ids.len()).unwrap_or(i64::MAX), "contact"));
    }
    (args.tag, args.ids_file, args.since, args.until) = (None, None, None, None);
    args.ids = ids;
    Ok(())
}

async fn between(
    parts: &Parts,
    settings: &Settings,
    from: DateTime<Utc>,
    until: DateTime<Utc>,
) -> anyhow::Result<Vec<KeapId>> {
    if until < from {
        bail!("--until lies before --since");
    }
    let window = Window { from, until: Some(until) };
    let found = window.read(&parts.keap, settings.keap.page_size, usize::MAX).await?;
    Ok(found.ids)
}

/// The contacts with a tag, by its id or its name.
async fn tagged(keap: &KeapClient, named: &str) -> anyhow::Result<Vec<KeapId>> {
    let tags = keap.tags().await.context("the tags of Keap cannot be read")?;
    let is_named = |name: &str| name.trim().to_lowercase() == named.trim().to_lowercase();
    let by_id = tags.iter().filter(|tag| tag.id == named.trim()).collect::<Vec<_>>();
    let by_name = tags.iter().filter(|tag| is_named(&tag.name)).collect::<Vec<_>>();
    let tag = match (by_id.as_slice(), by_name.as_slice()) {
        ([tag], _) | ([], [tag]) => tag,
        ([], []) => bail!("Keap has no tag {named:?}; expected its name or its id"),
        (_, several) => {
            let ids: Vec<&str> = several.iter().map(|tag| tag.id.as_str()).collect();
            bail!("several tags have the name {named:?}; name one by its id: {}", ids.join(", "));
        }
    };
    let (mut ids, mut token) = (Vec::new(), None);
    loop {
        // Without a bound, the list shows one contact alone.
        let page = keap.tagged(Lane::Urgent, &tag.id, Some(DateTime::UNIX_EPOCH), token).await?;
        let is_empty = page.applied.is_empty();
        ids.extend(page.applied.into_iter().map(|applied| applied.contact));
        token = page.next_token.filter(|_| !is_empty);
        if token.is_none() {
            break;
        }
    }
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}
