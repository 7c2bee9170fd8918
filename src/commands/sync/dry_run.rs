//! `sync --dry-run`: decides and prints, and writes nothing.

use super::args::SyncArgs;
use super::previews::Previews;
use super::to_keap::{Created, ToKeapCounts};
use crate::app;
use crate::commands::{Ended, NOTHING_DONE, SOME_FAILED, WELL, exit};
use crate::config::Settings;
use crate::feed::Counts;
use crate::report::DayQuota;
use crate::sync::dry_run::Foretold;
use crate::sync::dry_sweep::SweepBrake;
use crate::sync::preview::Scope;
use crate::sync::{Context, dry_run, dry_sweep};

pub(super) async fn dry_run(context: &Context, settings: &Settings, args: &SyncArgs) -> Ended {
    let second = app::second_direction(settings);
    let to_keap = second.enabled.then(|| ToKeapCounts::new(second.rates));
    let mut previews = Previews::new(args.json, args.verbose, to_keap);
    let (counts, stopped) = if args.sweep {
        sweep(context, args, &mut previews).await
    } else {
        contacts(context, args, &mut previews).await
    };
    let limits = context.keap.remote().headroom();
    let limits = limits.iter().map(|limit| (limit.name.as_str(), limit.limit, limit.available));
    let quota = DayQuota::tightest(limits);
    let calls = context.all_calls();
    let counts = Counts { keap_calls: calls.keap, intercom_calls: calls.intercom, ..counts };
    previews.end(&counts, args.sweep, stopped.as_deref(), quota);
    let named_and_skipped = !args.ids.is_empty() && counts.skipped > 0;
    exit(match stopped {
        Some(_) => NOTHING_DONE,
        None if counts.failed + counts.held > 0 || named_and_skipped => SOME_FAILED,
        None => WELL,
    })
}

async fn contacts(
    context: &Context,
    args: &SyncArgs,
    previews: &mut Previews,
) -> (Counts, Option<String>) {
    let scope = match (args.ids.as_slice(), args.changed, args.since) {
        ([], true, _) => Scope::Changed,
        ([], false, Some(since)) => Scope::Since(since),
        ([], false, None) => Scope::All,
        (ids, ..) => Scope::Ids(ids.to_vec()),
    };
    let shown =
        dry_run::run_while(context, scope, args.verbose, |preview| previews.print(&preview));
    match shown.await {
        Ok(Foretold { counts, created, .. }) => {
            if let Some(users) = created {
                previews.creates(Created { users, brake: context.policy.creating.most });
            }
            (counts, None)
        }
        Err(halt) => (Counts::default(), Some(halt.to_string())),
    }
}

async fn sweep(
    context: &Context,
    args: &SyncArgs,
    previews: &mut Previews,
) -> (Counts, Option<String>) {
    let brake = if args.force { SweepBrake::Lifted } else { SweepBrake::On };
    let swept = dry_sweep::run(context, brake, |preview| {
        previews.print(&preview);
    });
    match swept.await {
        Ok(swept) => (swept.counts, swept.stopped.map(|why| why.to_string())),
        Err(halt) => (Counts::default(), Some(halt.to_string())),
    }
}
