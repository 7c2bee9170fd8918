//! The arguments of `sync`.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use clap::{ArgGroup, Args};

use crate::commands::since;
use crate::contact::KeapId;

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("scope").required(true).multiple(false).args(["ids", "changed", "all", "since", "sweep", "audit", "tag", "ids_file"]))]
#[command(after_help = "Examples:
  keap-intercom-sync sync 12345 67890          two contacts
  keap-intercom-sync sync --changed            what has changed since the stored cursor
  keap-intercom-sync sync --since 3d           what has changed in the last three days
  keap-intercom-sync sync --since 2026-01-01 --until 2026-01-31
  keap-intercom-sync sync --tag Customer       everybody with a tag of Keap
  keap-intercom-sync sync --ids-file ids.csv   a list: one id on a line, or a CSV with a column `id`
  keap-intercom-sync sync --all --dry-run      what a full sync would do, without doing it
  INTERCOM_TO_KEAP__ENABLED=true keap-intercom-sync sync --all --dry-run
                                               what switching the second direction on would write
  keap-intercom-sync sync --sweep --dry-run    what was deleted or merged in Keap, and what a sweep would do
  keap-intercom-sync sync --audit              which contacts differ in Intercom, or are missing there
  keap-intercom-sync sync --since 2026-01-31 --json

Exit status: 0 all well; 1 some contacts failed, are held, or are not in Keap; 2 nothing could be done, or the work could not be finished; 78 a setting is wrong.")]
pub struct SyncArgs {
    /// Keap contact ids to sync now.
    pub ids: Vec<KeapId>,
    /// Sync what has changed since the stored cursor; where both directions are on, also what has
    /// changed in Intercom.
    #[arg(long)]
    pub changed: bool,
    /// Look at every contact in Keap. A contact that is up to date costs no Intercom call. Where
    /// both directions are on, also compare every user in Intercom.
    #[arg(long, group = "braked")]
    pub all: bool,
    /// Look at every contact that changed since a time: a date (2026-01-31, yesterday), a time
    /// (2026-01-31T09:30, in UTC unless a zone follows), or how long ago (2h, 3d).
    #[arg(long, value_name = "TIME", value_parser = since::parse)]
    pub since: Option<DateTime<Utc>>,
    /// With --since: only contacts whose last change is no later than this. A contact that has
    /// changed again later is left out.
    #[arg(long, value_name = "TIME", requires = "since", value_parser = since::parse)]
    pub until: Option<DateTime<Utc>>,
    /// Sync everybody who has this tag of Keap now, by its name or its id.
    #[arg(long, value_name = "TAG")]
    pub tag: Option<String>,
    /// Sync the contacts of a file (`-`: of the standard input): one Keap id on a line, with # for
    /// comments, or a CSV with a heading and a column `id`, `Keap id` or `Contact Id`.
    #[arg(long, value_name = "FILE")]
    pub ids_file: Option<PathBuf>,
    /// Find linked contacts that were deleted or merged in Keap, and treat them as sweep.deleted
    /// says.
    #[arg(long, group = "braked")]
    pub sweep: bool,
    /// Compare every linked contact in Intercom with what was settled, and list those that are
    /// missing there. Writes nothing without --repair.
    #[arg(long)]
    pub audit: bool,
    /// With --audit: look at those that differ on both sides, and settle each field by its owner.
    /// Read by id those that are missing.
    #[arg(long, requires = "audit", conflicts_with = "dry_run", group = "braked")]
    pub repair: bool,
    /// With --sweep: act however many contacts are gone. With --all: bring a changed mapping to
    /// however many contacts. With --audit --repair: let the users of Intercom that wait into Keap,
    /// however many they are. First read why the brake stopped the run.
    // A conflict with the others would else hide that --sweep, --all or --repair is missing.
    #[arg(long, requires = "braked", conflicts_with_all = ["ids", "changed", "since", "tag", "ids_file"])]
    pub force: bool,
    /// Decide and print; write nothing anywhere. Where both directions are on, it also counts the
    /// writes to Keap, and the days that Keap's quota makes of them.
    #[arg(long)]
    pub dry_run: bool,
    /// With --dry-run: print each field that would change, with its value before. Reads each
    /// contact that would be written, which costs one call to Intercom.
    #[arg(long, requires = "dry_run")]
    pub verbose: bool,
    /// Print one JSON document instead of text. Of a walk, it lists the contacts that are not
    /// synced, with the reason.
    #[arg(long)]
    pub json: bool,
}
