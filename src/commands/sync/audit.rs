//! `sync --audit`: which linked contacts differ in Intercom from what was settled. It writes
//! nothing.

use serde_json::json;

use crate::commands::look::count;
use crate::commands::{Ended, NOTHING_DONE, SOME_FAILED, WELL, exit};
use crate::sync::Context;
use crate::sync::users::{Standing, compare_all};

pub(super) async fn audit(context: &Context, is_json: bool) -> Ended {
    let mut differ = Vec::new();
    let walked = compare_all(context, None, |user, standing| {
        let Standing::Differs(keap) = standing else {
            return;
        };
        let intercom = &user.id;
        if is_json {
            differ.push(
                json!({ "keapContactId": keap.get(), "intercomContactId": intercom.as_str() }),
            );
        } else {
            outln!("{keap} differs from its Intercom contact {intercom}");
        }
    })
    .await;
    let walk = match walked {
        Ok(walk) => walk,
        Err(halt) => {
            errln!("Stopped: {halt}");
            return exit(NOTHING_DONE);
        }
    };
    if is_json {
        let compared = walk.compared;
        out!("{}\n", json!({ "compared": compared, "differ": differ }));
    } else {
        let compared = i64::try_from(walk.compared).unwrap_or(i64::MAX);
        outln!("{} compared, {} differ.", count(compared, "contact"), walk.changed);
        if walk.changed > 0 {
            outln!("`keap-intercom-sync sync --audit --repair` settles each field by its owner.");
        }
    }
    exit(if walk.changed > 0 { SOME_FAILED } else { WELL })
}
