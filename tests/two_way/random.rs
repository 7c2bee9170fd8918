//! Random worlds: people edit both sides, answers are lost, and processes die at any moment. Once
//! all is over, both sides are quiet, and no value is lost that its owner's rule keeps.
//!
//! `TWO_WAY_WORLDS=200` makes more of them, `TWO_WAY_FIRST=17` begins at another seed.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;
use sqlx::PgPool;

use super::owners::fresh;
use crate::mapping::tables;
use crate::sim::{Fault, Person, Rewrite, What};
use crate::world::{Worker, World};

const OWNERS: [&str; 5] = ["keap", "intercom", "newest", "fill", "never"];
const PEOPLE: i64 = 4;
const ROUNDS: usize = 4;

/// A side of a field of a contact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Side {
    Keap,
    Intercom,
}

struct Scene {
    world: World,
    rng: StdRng,
    /// The custom fields in Keap, by the owner that each has.
    fields: BTreeMap<&'static str, i64>,
    /// What people have typed since both sides were quiet, and what each showed then.
    typed: BTreeMap<(i64, &'static str, Side), String>,
    quiet: BTreeMap<(i64, &'static str, Side), Value>,
    words: usize,
    story: Vec<String>,
}

impl Scene {
    async fn new(pool: PgPool, seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut world = World::new(pool).await;
        let mut lines = vec![
            ("email".to_owned(), "email".to_owned(), String::new()),
            ("name".to_owned(), "name".to_owned(), String::new()),
        ];
        let mut fields = BTreeMap::new();
        for owner in OWNERS {
            fields.insert(owner, world.keap.add_custom_field(owner, "TEXT", &[]));
            world.intercom.add_attribute(owner, "string", &[]);
            let places = (format!("custom:{owner}"), format!("attribute:{owner}"));
            lines.push((places.0, places.1, format!("owner = {owner:?}")));
        }
        let lines: Vec<(&str, &str, &str)> =
            lines.iter().map(|(a, b, c)| (a.as_str(), b.as_str(), c.as_str())).collect();
        world.file(&tables(&lines));
        world
            .set("INTERCOM_TO_KEAP__ENABLED", "true")
            .set("SYNC__RECHECK_SECONDS", "1")
            .set("SYNC__MAX_ATTEMPTS", "50");
        world.keap.knobs(|knobs| {
            knobs.patch_keeps_entries = rng.random();
            knobs.unchanged_write_bumps = rng.random();
        });
        world.intercom.knobs(|knobs| {
            knobs.unchanged_put_bumps = rng.random();
            knobs.search_lag_ms = if rng.random() { 0 } else { 300_000 };
            if rng.random() {
                knobs.rewrites = vec![Rewrite::Trim];
            }
        });
        for n in 0..PEOPLE {
            let mut person = Person::named("P", "Lee").email(&format!("p{n}@example.org"));
            for (owner, field) in &fields {
                if rng.random_bool(0.6) {
                    person = person.custom(*field, format!("first {owner} {n}"));
                }
            }
            world.keap.add(person);
        }
        Self {
            world,
            rng,
            fields,
            typed: BTreeMap::new(),
            quiet: BTreeMap::new(),
            words: 0,
            story: Vec::new(),
        }
    }

    /// A person types a new value on one side, later than everything else.
    fn edit(&mut self) {
        let id = self.rng.random_range(1..=PEOPLE);
        let owner = OWNERS[self.rng.random_range(0..OWNERS.len())];
        let side = if self.rng.random() { Side::Keap } else { Side::Intercom };
        for clock in [self.world.keap.clock(), self.world.intercom.clock()] {
            clock.advance_ms(130_000);
        }
        self.words += 1;
        // Some take back what they typed.
        let before = self.quiet.get(&(id, owner, side)).and_then(Value::as_str);
        let text = match before.map(str::to_owned) {
            Some(before) if self.rng.random_bool(0.3) => before,
            _ => format!("word {}", self.words),
        };
        match side {
            Side::Keap => {
                self.world.keap.set_custom(id, self.fields[owner], text.as_str());
            }
            Side::Intercom => {
                let users = self.world.intercom.by_external_id(&id.to_string());
                let Some(user) = users.first() else {
                    return;
                };
                let text = text.clone();
                self.world.intercom.edit(&user.id, |contact| {
                    contact.custom_attributes.insert(owner.into(), text.into());
                });
            }
        }
        self.story.push(format!("{id}.{owner} in {side:?}: {text}"));
        self.typed.insert((id, owner, side), text);
    }

    /// The next write to a side is carried out, and its answer is lost; or it is not carried out.
    fn strike(&mut self) {
        let what = if self.rng.random_bool(0.7) { What::ApplyThenDrop } else { What::Refuse };
        let nth = self.rng.random_range(1..4);
        let kind = ["write", "update", "create"][self.rng.random_range(0..3)];
        self.story.push(format!("{kind} {nth}: {what:?}", what = matches!(what, What::Refuse)));
        let fault = Fault::on(kind).nth(nth).what(what);
        if kind == "write" {
            self.world.keap.fault(fault)
        } else {
            self.world.intercom.fault(fault)
        }
    }

    async fn look(&self, worker: &Worker) {
        // In an hour, people do not edit a contact as often as here.
        let sql = "update contact_link set writes_since = null";
        sqlx::query(sql).execute(&self.world.pool).await.unwrap();
        // A remote that fails halts a side. Somebody looks again.
        let _ = worker.try_sync().await;
        let _ = Box::pin(keap_intercom_sync::sync::users::poll_changed(worker.context())).await;
        while matches!(worker.syncer.urgent_step().await, Ok(true)) {}
    }

    /// A process that looks, and that dies somewhere in it.
    async fn look_and_die(&mut self) {
        let worker = self.world.worker().await;
        let time = Duration::from_millis(self.rng.random_range(1..120));
        self.story.push(format!("a process dies after {time:?} at most"));
        let _ = tokio::time::timeout(time, Box::pin(self.look(&worker))).await;
        worker.stop().await;
    }

    /// Everything works again, until nothing is left to do.
    async fn calm(&mut self) {
        self.world.keap.clear_faults();
        self.world.intercom.clear_faults();
        let worker = self.world.worker().await;
        for turn in 0.. {
            self.world.intercom.reindex_now();
            Box::pin(self.look(&worker)).await;
            self.world.make_retries_due().await;
            let open: i64 = sqlx::query_scalar(
                "select (select count(*) from contact_intent) + (select count(*) from contact_due)",
            )
            .fetch_one(&self.world.pool)
            .await
            .unwrap();
            if open == 0 && turn > 2 {
                break;
            }
            assert!(turn < 60, "{open} rows stay open: {:#?}", self.story);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let writes = |world: &World| (world.keap.count("write"), world.writes());
        let before = writes(&self.world);
        for _ in 0..2 {
            Box::pin(self.look(&worker)).await;
        }
        assert_eq!(writes(&self.world), before, "it does not end: {:#?}", self.story);
        worker.stop().await;
    }

    fn shows(&self, id: i64, owner: &str, side: Side) -> Value {
        match side {
            Side::Keap => {
                let person = self.world.keap.person(id).unwrap();
                person.details.custom_fields.get(&self.fields[owner]).cloned().unwrap_or_default()
            }
            Side::Intercom => self.world.attribute(id, owner),
        }
    }

    /// Checks every field by its owner's rule, and begins anew.
    fn check(&mut self) {
        for id in 1..=PEOPLE {
            for owner in OWNERS {
                let story = format!("{id}.{owner}: {:#?}", self.story);
                let now = [Side::Keap, Side::Intercom].map(|side| self.shows(id, owner, side));
                let typed =
                    [Side::Keap, Side::Intercom].map(|side| self.typed.get(&(id, owner, side)));
                let was = [Side::Keap, Side::Intercom]
                    .map(|side| self.quiet.get(&(id, owner, side)).cloned().unwrap_or_default());
                let last = |side: usize| {
                    typed[side].map_or_else(|| was[side].clone(), |text| text.as_str().into())
                };
                match (owner, typed) {
                    ("never", _) => assert_eq!(now, [last(0), last(1)], "{story}"),
                    ("keap", _) if last(0).is_string() => {
                        assert_eq!(now, [last(0), last(0)], "{story}");
                    }
                    ("intercom", _) if last(1).is_string() => {
                        assert_eq!(now, [last(1), last(1)], "{story}");
                    }
                    ("newest", [Some(_), None]) => assert_eq!(now, [last(0), last(0)], "{story}"),
                    ("newest", [None, Some(_)]) => assert_eq!(now, [last(1), last(1)], "{story}"),
                    ("newest", _) => {
                        assert_eq!(now[0], now[1], "{story}");
                        assert!([last(0), last(1)].contains(&now[0]), "{now:?} {story}");
                    }
                    ("fill", _) => {
                        for side in [0, 1] {
                            let fills = last(side).is_null() && now[side] == now[1 - side];
                            assert!(now[side] == last(side) || fills, "{now:?} {story}");
                        }
                    }
                    // The owner has never had a value.
                    _ => assert_eq!(now, [last(0), last(1)], "{story}"),
                }
                for (side, value) in [Side::Keap, Side::Intercom].into_iter().zip(now) {
                    self.quiet.insert((id, owner, side), value);
                }
            }
        }
        self.typed.clear();
    }
}

#[sqlx::test]
async fn random_worlds_end_quiet_and_lose_nothing_that_a_rule_keeps(pool: PgPool) {
    let number = |name: &str, default: u64| {
        std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let first = number("TWO_WAY_FIRST", 1);
    for seed in first..first + number("TWO_WAY_WORLDS", 4) {
        let mut scene = Scene::new(fresh(&pool).await, seed).await;
        scene.story.push(format!("seed {seed}"));
        scene.calm().await;
        for id in 1..=PEOPLE {
            for owner in OWNERS {
                for side in [Side::Keap, Side::Intercom] {
                    let value = scene.shows(id, owner, side);
                    scene.quiet.insert((id, owner, side), value);
                }
            }
        }
        for _ in 0..ROUNDS {
            for _ in 0..scene.rng.random_range(1..8) {
                match scene.rng.random_range(0..6) {
                    0..=2 => scene.edit(),
                    3 => scene.strike(),
                    4 => scene.look_and_die().await,
                    _ => {
                        let worker = scene.world.worker().await;
                        Box::pin(scene.look(&worker)).await;
                        worker.stop().await;
                    }
                }
            }
            scene.calm().await;
            scene.check();
        }
    }
}
