//! Erasure: a person goes from Intercom and from every table, that is proved, and nothing brings
//! the person back.

mod absence;
mod answers;
mod back;
mod lanes;
mod newcomers;
mod surface;
mod tables;

use keap_intercom_sync::store::{Door, Erasure};
use sqlx::{AssertSqlSafe, PgPool};

use crate::sim::Standing;
use crate::world::{Worker, World, ann, keap_id};

/// Ann's Keap id. No other number holds it as a part.
const ANN: i64 = 712_345_001;

/// Three people and Ann are synced.
struct Stage {
    world: World,
    worker: Worker,
    /// Ann's Intercom contact.
    user: String,
}

impl Stage {
    async fn new(pool: PgPool) -> Self {
        Self::with(pool, |_| {}).await
    }

    /// `turn`: what is set before the first sync.
    async fn with(pool: PgPool, turn: impl FnOnce(&mut World)) -> Self {
        let mut world = World::with_people(pool, 3).await;
        turn(&mut world);
        world.keap.add_with_id(ANN, ann());
        let worker = world.worker().await;
        worker.sync().await;
        let user = world.user(ANN).id;
        Self { world, worker, user }
    }

    async fn request(&self, accepts_absence: bool) -> Erasure {
        let store = &self.worker.store;
        store.request_erasure(keap_id(ANN), Door::Command, accepts_absence).await.unwrap()
    }

    /// Asks for the erasure of Ann, and lets the daemon do what it can now.
    async fn erase(&self) -> Erasure {
        self.request(false).await;
        self.work_off().await
    }

    /// Steps until nothing has its turn.
    async fn work_off(&self) -> Erasure {
        while self.worker.syncer.urgent_step().await.unwrap() {}
        self.erasure().await.unwrap()
    }

    /// The time of the next attempt has come.
    async fn try_again(&self) -> Erasure {
        sqlx::query("update erasure set not_before = now() where done_at is null")
            .execute(&self.world.pool)
            .await
            .unwrap();
        self.work_off().await
    }

    async fn erasure(&self) -> Option<Erasure> {
        self.worker.store.erasure(keap_id(ANN)).await.unwrap()
    }

    /// How Ann's Intercom contact stands.
    fn standing(&self) -> Standing {
        self.world.intercom.contact(&self.user).unwrap().standing
    }

    fn is_deleted(&self) -> bool {
        matches!(self.standing(), Standing::Deleted { .. })
    }

    /// The rows of all tables that hold one of Ann's ids or her address.
    async fn rows_about_ann(&self) -> Vec<String> {
        rows_with(&self.world, &[&ANN.to_string(), &self.user, "ann@example.org"]).await
    }

    fn clear(&self) {
        self.world.keap.clear_ledger();
        self.world.intercom.clear_ledger();
    }
}

/// The rows of all tables, with every column, that hold one of these texts.
async fn rows_with(world: &World, texts: &[&str]) -> Vec<String> {
    let tables: Vec<String> =
        sqlx::query_scalar("select tablename::text from pg_tables where schemaname = 'public'")
            .fetch_all(&world.pool)
            .await
            .unwrap();
    assert!(tables.len() > 20, "{tables:?}");
    let mut found = Vec::new();
    for table in tables {
        let sql = format!("select row_to_json(t)::text from \"{table}\" t");
        let rows: Vec<String> =
            sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(&world.pool).await.unwrap();
        let hits = rows.into_iter().filter(|row| texts.iter().any(|text| row.contains(text)));
        found.extend(hits.map(|row| format!("{table}: {row}")));
    }
    found
}
