//! Users of Intercom whom Keap does not know: who gets a contact there, and that nobody ever gets
//! two.

mod brake;
mod dry_run;
mod faults;
mod learning;
mod surface;
mod whom;

use keap_intercom_sync::feed::RunReason;
use serde_json::Value;
use sqlx::PgPool;

use super::Stage;
use crate::sim::Seed;
use crate::world::World;

const CREATE: &str = "INTERCOM_TO_KEAP__CREATE";
const TAG: &str = "INTERCOM_TO_KEAP__CREATE_TAG";
const QUIET: &str = "INTERCOM_TO_KEAP__CREATE_RETRY_SECONDS";

pub(super) const BOB: &str = "bob@example.org";

/// Both directions are on, Ann is linked, and all users are brought into Keap. `turn`: what is set
/// before the first sync.
pub(crate) async fn stage(pool: PgPool, turn: impl FnOnce(&mut World)) -> Stage {
    Stage::with(pool, "newest", |world| {
        world.set(CREATE, "users");
        turn(world);
    })
    .await
}

fn bob() -> Seed {
    Seed::with_email(BOB).name("Bob Ray").phone("+16025550188")
}

impl Stage {
    /// A user that Keap does not know.
    pub(super) fn add_bob(&self) -> String {
        self.world.intercom.add_user(bob())
    }

    /// A poll of Intercom, and all that follows of it on both sides.
    pub(crate) async fn bring(&self) {
        self.poll_intercom().await;
        self.worker.sync().await;
        self.worker.sync().await;
    }

    /// The contacts in Keap with this address.
    pub(super) fn in_keap(&self, email: &str) -> Vec<i64> {
        let mut ids = Vec::new();
        self.world.keap.for_each(|id, person| {
            let has_it = |(_, address): &(String, String)| address.eq_ignore_ascii_case(email);
            if person.emails.iter().any(has_it) {
                ids.push(id);
            }
        });
        ids
    }

    /// The only contact in Keap with this address; the user with this id is linked to it.
    pub(super) async fn linked_once(&self, email: &str, user: &str) -> i64 {
        let ids = self.in_keap(email);
        let [id] = ids.as_slice() else { panic!("Keap has {ids:?} for one user") };
        let carried = self.world.intercom.contact(user).unwrap().external_id;
        assert_eq!(carried, Some(id.to_string()), "the link is not made");
        let linked: Option<i64> = sqlx::query_scalar(
            "select keap_contact_id from contact_link where intercom_contact_id = $1",
        )
        .bind(user)
        .fetch_optional(&self.world.pool)
        .await
        .unwrap();
        assert_eq!(linked, Some(*id));
        assert_eq!(open_creates(&self.world).await, 0, "the intent of the create is left");
        assert_eq!(self.waiting().await, 0, "the user still waits");
        *id
    }

    /// Users that are looked at in their turn, or wait.
    pub(crate) async fn waiting(&self) -> i64 {
        waiting(&self.world).await
    }

    /// The only user that waits for a person, and why.
    async fn held_user(&self) -> (String, String) {
        let held = self.worker.store.held_newcomers().await.unwrap();
        assert_eq!(held.len(), 1, "{held:?}");
        (held[0].intercom_contact_id.clone(), held[0].code.clone())
    }

    pub(crate) fn creates(&self) -> usize {
        self.world.keap.count("create")
    }

    /// The time has passed for which a create without an answer is left alone, and for which a user
    /// waits.
    async fn later(&self) {
        later(&self.world).await;
    }

    /// The rows of the log about a contact: action and direction.
    async fn log_of(&self, id: i64) -> Vec<(String, String)> {
        sqlx::query_as("select action, sync_direction from keap_intercom_sync_logs where keap_contact_id = $1 order by created_at")
            .bind(id.to_string())
            .fetch_all(&self.world.pool)
            .await
            .unwrap()
    }

    async fn audit_all(&self) {
        self.audit(RunReason::Manual).await;
        self.worker.sync().await;
        self.worker.sync().await;
    }
}

async fn open_creates(world: &World) -> i64 {
    sqlx::query_scalar(
        "select count(*) from contact_intent where side = 'keap' and kind = 'create'",
    )
    .fetch_one(&world.pool)
    .await
    .unwrap()
}

async fn waiting(world: &World) -> i64 {
    sqlx::query_scalar("select count(*) from intercom_due where code is distinct from 'in_keap'")
        .fetch_one(&world.pool)
        .await
        .unwrap()
}

async fn later(world: &World) {
    for sql in
        ["update contact_intent set deadline = now()", "update intercom_due set not_before = now()"]
    {
        sqlx::query(sql).execute(&world.pool).await.unwrap();
    }
}

/// The bodies of the creates, and what `duplicate_option` said.
fn bodies(stage: &Stage) -> Vec<(Value, bool)> {
    let calls = stage.world.keap.ledger().into_iter().filter(|call| call.kind == "create");
    calls
        .map(|call| {
            let again = call.query.contains("duplicate_option=Email");
            (call.body.unwrap_or_default(), again)
        })
        .collect()
}
