//! Random worlds: the seed draws the people, the behaviour of both remotes that nobody knows, the
//! settings, the changes and the faults.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use crate::case::{How, Place};
use crate::database::Database;
use crate::life::{Life, Played};
use crate::scene::Scene;
use crate::sim::{
    Compression, Fault, IdsAsNumbers, IntercomKnobs, KeapKnobs, Rounding, StampForm, TimeForm,
    TokenStyle, What,
};

/// How long a round waits for its fault.
const A_ROUND: Duration = Duration::from_secs(10);

pub(crate) async fn play(seed: u64, template: &Database) -> anyhow::Result<Played> {
    let mut rng = StdRng::seed_from_u64(seed);
    let people = rng.random_range(60..90);
    let template = rng.random_bool(0.7).then_some(template);
    let is_two_way = rng.random_bool(0.4);
    let mut scene = if is_two_way {
        Scene::two_way(people, template).await?
    } else {
        Scene::new(people, template).await?
    };
    scene.evidence.keap.knobs(|knobs| draw_keap(&mut rng, knobs));
    scene.evidence.intercom.knobs(|knobs| draw_intercom(&mut rng, knobs));
    if is_two_way {
        scene.evidence.keap.knobs(|knobs| {
            knobs.patch_keeps_entries = rng.random();
            knobs.unchanged_write_bumps = rng.random();
        });
        scene.evidence.intercom.knobs(|knobs| {
            knobs.unchanged_put_bumps = rng.random();
            // A poll of the test must see what was typed last.
            knobs.search_lag_ms = knobs.search_lag_ms.min(500);
        });
    }
    draw_settings(&mut rng, &mut scene);
    let mut life = Life::new(scene, rng.random());
    let lived = rounds(&mut life, &mut rng).await;
    life.finish(lived.map(|()| true)).await
}

async fn rounds(life: &mut Life, rng: &mut StdRng) -> anyhow::Result<()> {
    for round in 0..rng.random_range(2..=4) {
        if round > 0 {
            let number = rng.random_range(3..20);
            life.changes.some(&life.scene.evidence, number);
        }
        disturb(life, rng).await?;
    }
    Ok(())
}

/// One round: a fault, and changes while the daemon suffers from it or is dead.
async fn disturb(life: &mut Life, rng: &mut StdRng) -> anyhow::Result<()> {
    let kind = rng.random_range(0..10);
    let (place, how) = match kind {
        0..=3 => (remote(rng), How::Kill(moment(rng))),
        4 => (Place::Commit, How::Kill(moment(rng))),
        5 => (Place::Commit, How::Cut(moment(rng))),
        6 | 7 => {
            life.mark("a round begins: answers are lost");
            lose_answers(life, rng);
            return pass(life, rng).await;
        }
        8 => return outage(life, rng).await,
        _ => return hand_over(life, rng).await,
    };
    life.mark(format!("a round begins: {place:?} {how:?}"));
    let struck = life.arm(place, rng.random_range(1..30), how);
    if !life.is_running() {
        life.start()?;
    }
    if rng.random_bool(0.4) {
        // Before the first migration there is nothing to ask.
        life.scene.request_sweep().await.ok();
    }
    let has_struck = life.struck(&struck, A_ROUND).await?;
    life.disarm();
    // It may have struck meanwhile.
    if has_struck || struck.is_true() {
        match how {
            How::Kill(_) => life.bury().await?,
            How::Cut(_) => life.cuts += 1,
        }
    }
    life.changes.around_the_last_writes(&life.scene.evidence, 4);
    Ok(())
}

/// The daemon works while things change.
async fn pass(life: &mut Life, rng: &mut StdRng) -> anyhow::Result<()> {
    if !life.is_running() {
        life.start()?;
    }
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(rng.random_range(50..500))).await;
        life.changes.around_the_last_writes(&life.scene.evidence, 2);
        life.changes.some(&life.scene.evidence, 1);
    }
    Ok(())
}

fn remote(rng: &mut StdRng) -> Place {
    if rng.random_bool(0.7) { Place::Intercom } else { Place::Keap }
}

fn moment(rng: &mut StdRng) -> crate::postgres_proxy::Moment {
    use crate::postgres_proxy::Moment;
    if rng.random_bool(0.5) { Moment::Before } else { Moment::After }
}

/// Some calls fail, and some are carried out without an answer.
fn lose_answers(life: &Life, rng: &mut StdRng) {
    for _ in 0..rng.random_range(1..6) {
        let what = match rng.random_range(0..12) {
            0..=3 => What::ApplyThenDrop,
            4 => What::Refuse,
            5 => What::status(500),
            6 => What::Html(503),
            7 => What::status(429),
            8 => What::CutBody(rng.random_range(0..200)),
            9 => What::ApplyThenHang,
            // It lands after the daemon has given up.
            10 => What::Delay(Duration::from_millis(3500)),
            _ => What::ApplyThenDelay(Duration::from_millis(300)),
        };
        let fault = |kind| Fault::on(kind).what(what.clone());
        let (nth, times) = (rng.random_range(1..25), rng.random_range(1..4));
        if rng.random_bool(0.8) {
            let kinds = ["any", "create", "update", "archive", "unarchive", "read", "search"];
            let kind = kinds.choose(rng).copied().unwrap_or("any");
            life.scene.evidence.intercom.fault(fault(kind).nth(nth).times(times));
        } else {
            life.scene.evidence.keap.fault(fault("any").nth(nth).times(times));
        }
    }
}

/// A remote or the database is away for a moment.
async fn outage(life: &mut Life, rng: &mut StdRng) -> anyhow::Result<()> {
    life.mark("a round begins: an outage");
    if !life.is_running() {
        life.start()?;
    }
    tokio::time::sleep(Duration::from_millis(rng.random_range(50..600))).await;
    match rng.random_range(0..3) {
        0 => life.scene.evidence.intercom.stop().await,
        1 => life.scene.evidence.keap.stop().await,
        _ => {
            life.scene.proxy.cut();
            life.cuts += 1;
        }
    }
    life.changes.around_the_last_writes(&life.scene.evidence, 4);
    tokio::time::sleep(Duration::from_millis(rng.random_range(50..600))).await;
    life.scene.evidence.intercom.resume().await;
    life.scene.evidence.keap.resume().await;
    Ok(())
}

/// The daemon stops in order, or another one stands by and takes over.
async fn hand_over(life: &mut Life, rng: &mut StdRng) -> anyhow::Result<()> {
    life.mark("a round begins: a stop or a standby");
    if !life.is_running() {
        life.start()?;
    }
    tokio::time::sleep(Duration::from_millis(rng.random_range(100..900))).await;
    if rng.random_bool(0.5) {
        life.stop().await?;
        life.changes.around_the_last_writes(&life.scene.evidence, 3);
        return life.start();
    }
    let standby = life.start_standby()?;
    life.changes.some(&life.scene.evidence, 4);
    let struck = life.arm(Place::Intercom, rng.random_range(1..8), How::Kill(moment(rng)));
    let has_struck = life.struck(&struck, A_ROUND).await?;
    life.disarm();
    if has_struck || struck.is_true() {
        life.bury().await?;
    } else {
        life.stop().await?;
    }
    life.promote(standby);
    Ok(())
}

fn draw_keap(rng: &mut StdRng, knobs: &mut KeapKnobs) {
    let mut seldom = || rng.random_bool(0.12);
    knobs.inclusive_start = !seldom();
    knobs.inclusive_end = !seldom();
    knobs.compare_millis = seldom();
    knobs.combine_filters = !seldom();
    knobs.order_by_update_time = !seldom();
    knobs.ignore_contact_id_filter = seldom();
    knobs.omit_nulls = seldom();
    knobs.nulls_in_lists = seldom();
    knobs.reverse_lists = seldom();
    knobs.unknown_extra_fields = seldom();
    if seldom() {
        knobs.max_page_size_effective = Some(10);
    }
    if seldom() {
        knobs.ids_cap = Some(25);
    }
    if seldom() {
        knobs.visibility_delay_ms = 700;
    }
    knobs.empty_page_with_token = u32::from(seldom());
    knobs.short_id_lists = u32::from(seldom());
    knobs.compression = seldom().then_some(Compression::Gzip);
    let pick = |all: &[Rounding], rng: &mut StdRng| all.choose(rng).copied();
    let roundings = [Rounding::HalfUp, Rounding::Floor, Rounding::Ceil];
    knobs.rounding = pick(&roundings, rng).unwrap_or(Rounding::HalfUp);
    knobs.stamp_form = [StampForm::Utc, StampForm::Utc, StampForm::Offset, StampForm::Millis]
        .choose(rng)
        .copied()
        .unwrap_or(StampForm::Utc);
    knobs.token_style =
        [TokenStyle::Opaque, TokenStyle::LastId, TokenStyle::FullUrl, TokenStyle::Null]
            .choose(rng)
            .copied()
            .unwrap_or(TokenStyle::Opaque);
    knobs.ids_as_numbers = [IdsAsNumbers::Never, IdsAsNumbers::Always, IdsAsNumbers::Alternate]
        .choose(rng)
        .copied()
        .unwrap_or(IdsAsNumbers::Never);
}

fn draw_intercom(rng: &mut StdRng, knobs: &mut IntercomKnobs) {
    knobs.search_lag_ms = [0, 500, 60_000, 300_000].choose(rng).copied().unwrap_or(60_000);
    knobs.put_email_conflict = rng.random_bool(0.5);
    knobs.remaining_counts_this_call = rng.random_bool(0.5);
    knobs.null_in_data = rng.random_bool(0.2);
    knobs.latency_ms = [0, 0, 5, 25].choose(rng).copied().unwrap_or(0);
    knobs.time_form = [TimeForm::Seconds, TimeForm::Seconds, TimeForm::Text, TimeForm::Iso]
        .choose(rng)
        .copied()
        .unwrap_or(TimeForm::Seconds);
    knobs.compression = rng.random_bool(0.1).then_some(Compression::Gzip);
}

fn draw_settings(rng: &mut StdRng, scene: &mut Scene) {
    let pick = |rng: &mut StdRng, all: &[u32]| all.choose(rng).copied().unwrap_or(20);
    scene.set("KEAP__PAGE_SIZE", pick(rng, &[7, 20, 50, 1000]));
    scene.set("SYNC__RECORD_GROUP", pick(rng, &[1, 5, 10, 250]));
    scene.set("SYNC__CONCURRENCY", pick(rng, &[1, 4, 8, 32]));
    scene.set("LOG_FORMAT", if rng.random_bool(0.5) { "json" } else { "text" });
}
