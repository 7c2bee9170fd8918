//! Migrations: applied at a start, and refused when the database is newer than the program.

use sqlx::migrate::{Migration, Migrator};

use super::error::in_words;
use super::{Result, Store, StoreError, Transaction};
use crate::contact::DigestKey;

static MIGRATOR: Migrator = sqlx::migrate!();

/// The lock that is held while migrations run ("keapicsy" in ASCII). Of two programs, one migrates
/// and the other waits.
const MIGRATION_LOCK: i64 = 0x6b65_6170_6963_7379;

/// A transaction without limits of time.
const NO_LIMITS: &str =
    "set local statement_timeout = 0; set local idle_in_transaction_session_timeout = 0";

/// The table of the migrations that are applied, as sqlx makes it.
const MIGRATIONS_TABLE: &str = "create table if not exists _sqlx_migrations (
    version bigint primary key,
    description text not null,
    installed_on timestamptz not null default now(),
    success boolean not null,
    checksum bytea not null,
    execution_time bigint not null
)";

/// The tables that passes write.
const WRITTEN: [&str; 30] = [
    "keap_intercom_sync_logs",
    "contact_link",
    "contact_due",
    "contact_hold",
    "contact_decision",
    "former_link",
    "sync_mapping",
    "mapping_state",
    "tag_cursor",
    "contact_intent",
    "erasure",
    "erased_email",
    "sync_cursor",
    "intercom_cursor",
    "intercom_due",
    "create_brake",
    "sync_run",
    "sync_tally",
    "sync_lease",
    "sync_batch",
    "keap_hook",
    "sweep_candidate",
    "scope_brake",
    "sync_pause",
    "alarm",
    "alarm_message",
    "alarm_target",
    "sync_plan",
    "plan_contact",
    "plan_count",
];

/// The tables and views that passes read only.
const READ: [&str; 3] = ["sync_digest_key", "contact_held", "_sqlx_migrations"];

/// How the database's schema compares to this program's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SchemaState {
    Current,
    /// Migrations that are still to be applied.
    Behind(usize),
    /// The database has migrations that this program does not know.
    Newer,
}

/// How many migrations this version has.
pub fn migrations() -> usize {
    MIGRATOR.iter().count()
}

impl Store {
    pub async fn schema_state(&self) -> Result<SchemaState> {
        transaction!(self, tx, { state(tx).await })
    }

    /// Applies what is missing and returns how many migrations that were.
    pub async fn migrate(&self) -> Result<usize> {
        // A migration may take longer than any other transaction.
        let mut transaction = self.sessions.begin(NO_LIMITS).await?;
        let migrated = migrate(&mut transaction).await;
        transaction.end(migrated).await
    }

    /// The key of this installation for digests.
    pub async fn digest_key(&self) -> Result<DigestKey> {
        let key: Vec<u8> = transaction!(self, tx, {
            Ok(sqlx::query_scalar("select key from sync_digest_key").fetch_one(&mut **tx).await?)
        })?;
        Ok(DigestKey::new(&key))
    }

    /// Whether this role may migrate: create tables in its schema, and change the existing ones.
    pub async fn may_migrate(&self) -> Result<bool> {
        transaction!(self, tx, {
            Ok(sqlx::query_scalar(
                "select coalesce(has_schema_privilege(current_schema(), 'create'), false)
                    and not exists (select from pg_class
                                     where relnamespace = current_schema()::regnamespace and relkind = 'r'
                                       and (relname = any($1) or relname = '_sqlx_migrations')
                                       and not pg_has_role(relowner, 'member'))",
            )
            .bind(&WRITTEN[..])
            .fetch_one(&mut **tx)
            .await?)
        })
    }

    /// Tables for which this role lacks rights that passes need.
    pub async fn missing_rights(&self) -> Result<Vec<String>> {
        transaction!(self, tx, {
            Ok(sqlx::query_scalar(
                "select name from unnest($1::text[]) as name
                  where not (has_table_privilege(name, 'select') and has_table_privilege(name, 'insert')
                         and has_table_privilege(name, 'update') and has_table_privilege(name, 'delete'))
                 union all
                 select name from unnest($2::text[]) as name where not has_table_privilege(name, 'select')",
            )
            .bind(&WRITTEN[..])
            .bind(&READ[..])
            .fetch_all(&mut **tx)
            .await?)
        })
    }
}

async fn state(tx: &mut Transaction) -> Result<SchemaState> {
    // Each account has a schema. Tables of another schema on the search path belong to others.
    let (schema, exists): (Option<String>, bool) = sqlx::query_as(
        "select current_schema()::text, to_regclass(quote_ident(current_schema()) || '._sqlx_migrations') is not null",
    )
    .fetch_one(&mut **tx)
    .await?;
    if schema.is_none() {
        return Err(StoreError::Schema(
            "no schema of its search_path exists; create it first: create schema NAME authorization ROLE".into(),
        ));
    }
    let applied: Vec<i64> = if exists {
        sqlx::query_scalar("select version from _sqlx_migrations where success order by version")
            .fetch_all(&mut **tx)
            .await?
    } else {
        Vec::new()
    };
    let known: Vec<i64> = MIGRATOR.iter().map(|migration| migration.version).collect();
    if applied.iter().any(|version| !known.contains(version)) {
        return Ok(SchemaState::Newer);
    }
    Ok(match known.len() - applied.len() {
        0 => SchemaState::Current,
        behind => SchemaState::Behind(behind),
    })
}

/// Applies what is missing: all of it, or nothing.
///
/// The library's own runner has two habits that a pooler forbids: a lock that belongs to a session,
/// and statements with names. Its table is kept, so that each release reads what another has
/// written.
async fn migrate(tx: &mut Transaction) -> Result<usize> {
    sqlx::query("select pg_advisory_xact_lock($1)").bind(MIGRATION_LOCK).execute(&mut **tx).await?;
    // In the same transaction: behind a pooler, a second one may get no session while others wait
    // for the lock.
    let behind = match state(tx).await? {
        SchemaState::Current => return Ok(0),
        SchemaState::Newer => {
            return Err(StoreError::Schema(
                "it was migrated by a newer keap-intercom-sync; install that version, or restore the database from before".into(),
            ));
        }
        SchemaState::Behind(behind) => behind,
    };
    let failed = |error| failed("the table of the migrations", error);
    sqlx::raw_sql(MIGRATIONS_TABLE).execute(&mut **tx).await.map_err(failed)?;
    let applied: Vec<(i64, Vec<u8>)> =
        sqlx::query_as("select version, checksum from _sqlx_migrations")
            .fetch_all(&mut **tx)
            .await?;
    for migration in MIGRATOR.iter() {
        match applied.iter().find(|(version, _)| *version == migration.version) {
            None => apply(tx, migration).await?,
            Some((_, checksum)) if *checksum == *migration.checksum => {}
            Some((version, _)) => {
                return Err(StoreError::Schema(format!(
                    "migration {version} was applied with another text than this program has"
                )));
            }
        }
    }
    Ok(behind)
}

async fn apply(tx: &mut Transaction, migration: &Migration) -> Result<()> {
    let what = format!("migration {}", migration.version);
    let failed = |error| failed(&what, error);
    sqlx::raw_sql(migration.sql.clone()).execute(&mut **tx).await.map_err(failed)?;
    sqlx::query(
        "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
         values ($1, $2, true, $3, (extract(epoch from clock_timestamp() - now()) * 1000000000)::bigint)",
    )
    .bind(migration.version)
    .bind(&*migration.description)
    .bind(&*migration.checksum)
    .execute(&mut **tx)
    .await
    .map_err(failed)?;
    Ok(())
}

/// Most of what Postgres refuses here stays refused. A lost connection, a server that stops and a
/// database that is read-only for a while do not.
fn failed(what: &str, error: sqlx::Error) -> StoreError {
    match StoreError::from(error) {
        error if !error.spares_the_session() => error,
        StoreError::Database(error) => {
            StoreError::Schema(format!("a migration failed: {what}: {}", in_words(&error)))
        }
        error => error,
    }
}
