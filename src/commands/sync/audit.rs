//! `sync --audit`: which linked contacts differ in Intercom from what was settled, and which ones
//! Intercom's list misses. It writes nothing.

use chrono::Utc;
use serde_json::{Value, json};

use crate::commands::look::count;
use crate::commands::{Ended, NOTHING_DONE, SOME_FAILED, WELL, exit};
use crate::contact::KeapId;
use crate::sync::users::{Standing, UsersWalk, compare_all};
use crate::sync::{Context, Halt, missing};

pub(super) async fn audit(context: &Context, is_json: bool) -> Ended {
    let mut differ = Vec::new();
    let (walk, missing) = match compare(context, is_json, &mut differ).await {
        Ok(found) => found,
        Err(halt) => {
            errln!("Stopped: {halt}");
            return exit(NOTHING_DONE);
        }
    };
    if is_json {
        let (compared, missing) = (walk.compared, missing.iter().map(|id| id.get()));
        let missing: Vec<i64> = missing.collect();
        out!("{}\n", json!({ "compared": compared, "differ": differ, "missing": missing }));
    } else {
        for keap in &missing {
            outln!("{keap} is linked to a contact that the list of Intercom's users misses");
        }
        outln!("{} compared, {} differ.", count(signed(walk.compared), "contact"), walk.changed);
        if walk.changed > 0 {
            outln!("`keap-intercom-sync sync --audit --repair` settles each field by its owner.");
        }
        if !missing.is_empty() {
            outln!(
                "Missing in the list: {}, perhaps archived, deleted or merged in Intercom. `keap-intercom-sync sync --audit --repair` reads them by id.",
                count(signed(missing.len()), "contact")
            );
        }
    }
    exit(if walk.changed + missing.len() > 0 { SOME_FAILED } else { WELL })
}

/// Compares everybody. Prints who differs, or puts them into `differ`.
async fn compare(
    context: &Context,
    is_json: bool,
    differ: &mut Vec<Value>,
) -> Result<(UsersWalk, Vec<KeapId>), Halt> {
    let (began, mut seen) = (Utc::now(), Vec::new());
    let walk = compare_all(context, None, |user, standing| {
        let keap = match standing {
            Standing::Unlinked => return,
            Standing::Same(keap) | Standing::Differs(keap) => keap,
        };
        seen.push(keap);
        let intercom = &user.id;
        match standing {
            Standing::Differs(_) if is_json => differ.push(
                json!({ "keapContactId": keap.get(), "intercomContactId": intercom.as_str() }),
            ),
            Standing::Differs(_) => outln!("{keap} differs from its Intercom contact {intercom}"),
            _ => {}
        }
    })
    .await?;
    seen.sort_unstable();
    let mut missing = missing(context, &seen, began).await?;
    missing.sort_unstable();
    Ok((walk, missing))
}

fn signed(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
