//! Behaviour of Keap that its documentation leaves open (`docs/api/keap.md`, "Unknown behaviour").
//! Each possible answer is a switch of the stand-in, and the daemon must work with all of them.

use std::sync::Arc;

use sqlx::PgPool;

use crate::sim::{
    Compression, IdsAsNumbers, Keap, KeapKnobs, Rounding, StampForm, TokenStyle, people,
};
use crate::world::{World, until};

/// Many kinds of change under one answer: a first run, single edits, a bulk edit across pages,
/// edits between pages, and late rows.
async fn live_through(world: &World, what: &str) {
    let worker = world.worker().await;
    let settle = async || {
        // The overlap is zero here, so the cursor settles after the two seconds for Keap's
        // rounding. The worker measures them by the clock of its process.
        tokio::time::sleep(std::time::Duration::from_millis(2200)).await;
        worker.sync().await;
    };
    worker.sync().await;
    worker.work_off().await;
    for id in [3, 90] {
        world.keap.edit(id, |person| person.given_name = Some(format!("Edited{id}")));
    }
    worker.sync().await;
    world.keap.bulk_edit(world.keap.ids(), |person| person.family_name = Some("Bulk".into()));
    world.keap.knobs(|knobs| {
        knobs.between_pages = Some(Arc::new(|keap: &Keap, call| {
            let n = i64::try_from(call % 7).unwrap();
            keap.edit(n * 11 + 1, |person| person.given_name = Some(format!("During{n}")));
        }));
    });
    worker.sync().await;
    world.keap.knobs(|knobs| knobs.between_pages = None);
    world.keap.add(people::invented(99_999, people::Shape::Plain));
    settle().await;
    settle().await;
    worker.work_off().await;
    let verdict = crate::sim::verify::verify(&world.keap, &world.intercom);
    assert!(verdict.agrees(), "{what}: {verdict:?}");
    assert!(world.held().await.is_empty(), "{what}");
    worker.stop().await;
}

async fn with(pool: PgPool, what: &str, answer: impl FnOnce(&mut KeapKnobs)) {
    let mut world = World::with_people(pool, 120).await;
    world.set("KEAP__PAGE_SIZE", "25");
    world.keap.knobs(answer);
    // A front end that compresses stands before both.
    let compression = world.keap.knobs(|knobs| knobs.compression);
    world.intercom.knobs(|knobs| knobs.compression = compression);
    live_through(&world, what).await;
}

/// Each row is a test: an answer, as a switch of the stand-in.
macro_rules! unknowns {
    ($($name:ident: $answer:expr;)*) => {
        $(#[sqlx::test]
        async fn $name(pool: PgPool) {
            with(pool, stringify!($name), $answer).await;
        })*
    };
}

unknowns! {
    both_bounds_include_their_instant: |_| {};
    the_start_excludes_its_instant: |knobs| knobs.inclusive_start = false;
    the_end_excludes_its_instant: |knobs| knobs.inclusive_end = false;
    both_bounds_exclude_their_instant: |knobs| (knobs.inclusive_start, knobs.inclusive_end) = (false, false);
    hidden_milliseconds_are_compared: |knobs| knobs.compare_millis = true;
    hidden_milliseconds_are_compared_and_bounds_exclude: |knobs| (knobs.compare_millis, knobs.inclusive_start, knobs.inclusive_end) = (true, false, false);
    stamps_are_rounded_down: |knobs| knobs.rounding = Rounding::Floor;
    stamps_are_rounded_up: |knobs| knobs.rounding = Rounding::Ceil;
    stamps_are_rounded_down_and_milliseconds_compared: |knobs| (knobs.rounding, knobs.compare_millis) = (Rounding::Floor, true);
    tokens_are_last_ids: |knobs| knobs.token_style = TokenStyle::LastId;
    tokens_are_whole_urls: |knobs| knobs.token_style = TokenStyle::FullUrl;
    tokens_end_with_null: |knobs| knobs.token_style = TokenStyle::Null;
    filters_do_not_combine: |knobs| knobs.combine_filters = false;
    filters_do_not_combine_and_tokens_are_urls: |knobs| (knobs.combine_filters, knobs.token_style) = (false, TokenStyle::FullUrl);
    the_id_filter_is_ignored: |knobs| knobs.ignore_contact_id_filter = true;
    nothing_is_sorted_by_stamp: |knobs| knobs.order_by_update_time = false;
    nothing_is_sorted_by_stamp_and_filters_do_not_combine: |knobs| (knobs.order_by_update_time, knobs.combine_filters) = (false, false);
    pages_are_smaller_than_asked_for: |knobs| knobs.max_page_size_effective = Some(10);
    empty_pages_come_with_a_token: |knobs| knobs.empty_page_with_token = 2;
    ids_are_numbers: |knobs| knobs.ids_as_numbers = IdsAsNumbers::Always;
    ids_change_their_type: |knobs| knobs.ids_as_numbers = IdsAsNumbers::Alternate;
    unknown_fields_come_along_and_nulls_are_left_out: |knobs| (knobs.unknown_extra_fields, knobs.omit_nulls) = (true, true);
    changes_become_visible_late: |knobs| knobs.visibility_delay_ms = 700;
    tokens_are_numbers: |knobs| knobs.token_style = TokenStyle::Number;
    filters_do_not_combine_and_tokens_are_numbers: |knobs| (knobs.combine_filters, knobs.token_style) = (false, TokenStyle::Number);
    stamps_have_an_offset: |knobs| knobs.stamp_form = StampForm::Offset;
    stamps_have_an_offset_without_a_colon: |knobs| knobs.stamp_form = StampForm::NoColon;
    stamps_have_no_zone: |knobs| knobs.stamp_form = StampForm::NoZone;
    stamps_are_seconds: |knobs| knobs.stamp_form = StampForm::Seconds;
    stamps_are_milliseconds: |knobs| knobs.stamp_form = StampForm::Millis;
    stamps_are_milliseconds_as_text: |knobs| knobs.stamp_form = StampForm::MillisText;
    stamps_cannot_be_read: |knobs| knobs.stamp_form = StampForm::Object;
    nulls_stand_among_emails_and_phones: |knobs| knobs.nulls_in_lists = true;
    lists_come_in_the_reverse_order: |knobs| knobs.reverse_lists = true;
    answers_are_compressed_with_gzip: |knobs| knobs.compression = Some(Compression::Gzip);
    answers_are_compressed_with_deflate: |knobs| knobs.compression = Some(Compression::Deflate);
    answers_are_compressed_with_brotli: |knobs| knobs.compression = Some(Compression::Brotli);
}

// F11
#[sqlx::test]
async fn a_change_that_becomes_visible_within_the_overlap_is_found_by_the_poll(pool: PgPool) {
    let mut world = World::with_people(pool, 30).await;
    world.set("POLL__OVERLAP_SECONDS", "4");
    let worker = world.worker().await;
    worker.sync().await;
    // Contact 5 is changed first and shown last, when the cursor has already passed its stamp.
    world.keap.edit(5, |person| person.given_name = Some("Late".into()));
    world.keap.hide_until(5, world.keap.clock().now_ms() + 3_000);
    world.keap.clock().advance_ms(1_100);
    world.keap.edit(6, |person| person.given_name = Some("Early".into()));

    worker.sync().await;
    assert_eq!(world.user(6).name.as_deref().map(|name| name.starts_with("Early")), Some(true));
    assert_eq!(world.user(5).name.as_deref().map(|name| name.starts_with("Late")), Some(false));

    until("the late change is found", async || {
        worker.sync().await;
        world.user(5).name.as_deref().is_some_and(|name| name.starts_with("Late"))
    })
    .await;
    assert_eq!(
        world.intercom.count("update"),
        2,
        "an unchanged contact that is read again is not written"
    );
}

// F19
#[sqlx::test]
async fn a_page_token_that_repeats_stops_the_walk_and_not_the_daemon(pool: PgPool) {
    let mut world = World::with_people(pool, 100).await;
    world.set("KEAP__PAGE_SIZE", "20");
    world.keap.knobs(|knobs| {
        (knobs.combine_filters, knobs.ignore_contact_id_filter, knobs.repeat_token) =
            (false, true, true);
    });
    let worker = world.worker().await;

    let halt = worker.try_sync().await.unwrap_err();
    assert!(halt.to_string().contains("same page token twice"), "{halt}");

    world.keap.knobs(|knobs| knobs.repeat_token = false);
    worker.sync().await;
    world.assert_agrees();
}

// F20
#[sqlx::test]
async fn page_tokens_that_are_always_refused_end_the_walk_with_an_error(pool: PgPool) {
    let mut world = World::with_people(pool, 100).await;
    world.set("KEAP__PAGE_SIZE", "20");
    world.keap.knobs(|knobs| (knobs.ignore_contact_id_filter, knobs.expire_tokens) = (true, true));
    let worker = world.worker().await;
    let mut ended = None;

    for _ in 0..10 {
        if let Err(halt) = worker.try_sync().await {
            ended = Some(halt);
            break;
        }
    }
    assert!(ended.expect("the walk must end").to_string().contains("page tokens again and again"));

    world.keap.knobs(|knobs| knobs.expire_tokens = false);
    worker.sync().await;
    world.assert_agrees();
}
