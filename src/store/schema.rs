//! Migrations: applied at start, refused when the database is newer than the program.

use sqlx::migrate::{MigrateError, Migrator};

use super::{Result, Store, StoreError};
use crate::contact::DigestKey;

static MIGRATOR: Migrator = sqlx::migrate!();

/// Held while migrations run, so that of two programs one migrates and the other waits ("keapicsy" in ASCII).
const MIGRATION_LOCK: i64 = 0x6b65_6170_6963_7379;

/// How the database's schema compares to this program's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SchemaState {
    Current,
    /// Migrations that are still to be applied.
    Behind(usize),
    /// The database has migrations that this program does not know.
    Newer,
}

impl Store {
    pub async fn schema_state(&self) -> Result<SchemaState> {
        let applied: Vec<i64> = transaction!(self, tx, {
            // Each account has a schema: tables of another one further down the search path are not ours.
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
            if !exists {
                return Ok(Vec::new());
            }
            Ok(sqlx::query_scalar(
                "select version from _sqlx_migrations where success order by version",
            )
            .fetch_all(&mut **tx)
            .await?)
        })?;
        let known: Vec<i64> = MIGRATOR.iter().map(|migration| migration.version).collect();
        if applied.iter().any(|version| !known.contains(version)) {
            return Ok(SchemaState::Newer);
        }
        Ok(match known.len() - applied.len() {
            0 => SchemaState::Current,
            behind => SchemaState::Behind(behind),
        })
    }

    /// Applies what is missing and returns how many migrations that were.
    pub async fn migrate(&self) -> Result<usize> {
        // sqlx's own lock belongs to a session, which a transaction-mode pooler does not keep; ours to a transaction.
        let mut lock = self.pool.begin().await?;
        sqlx::query("select pg_advisory_xact_lock($1)")
            .bind(MIGRATION_LOCK)
            .execute(&mut *lock)
            .await?;
        let behind = match self.schema_state().await? {
            SchemaState::Current => return Ok(0),
            SchemaState::Newer => {
                return Err(StoreError::Schema(
                    "it was migrated by a newer keap-intercom-sync; install that version, or restore the database from before".into(),
                ));
            }
            SchemaState::Behind(behind) => behind,
        };
        let mut migrator = sqlx::migrate!();
        migrator.set_locking(false);
        // Under the lock's own transaction: all that is missing comes at once or not at all.
        migrator
            // `run` itself could not be sent between threads.
            .run_direct(None, &mut *lock, false)
            .await
            .map_err(|error| match error {
                MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)
                    if error.as_database_error().is_none() =>
                {
                    StoreError::Database(error)
                }
                error => StoreError::Schema(format!("a migration failed: {error}")),
            })?;
        lock.commit().await?;
        Ok(behind)
    }

    /// The installation's key for digests.
    pub async fn digest_key(&self) -> Result<DigestKey> {
        let key: Vec<u8> = transaction!(self, tx, {
            Ok(sqlx::query_scalar("select key from sync_digest_key")
                .fetch_one(&mut **tx)
                .await?)
        })?;
        Ok(DigestKey::new(&key))
    }

    /// Whether this role may apply what is missing: make tables in its schema, and change those that are there.
    pub async fn may_migrate(&self) -> Result<bool> {
        transaction!(self, tx, {
            Ok(sqlx::query_scalar(
                "select coalesce(has_schema_privilege(current_schema(), 'create'), false)
                    and not exists (select from pg_class
                                     where relnamespace = current_schema()::regnamespace and relkind = 'r'
                                       and relname = any(array['keap_intercom_sync_logs', 'contact_link', 'contact_due', 'sync_cursor', 'sync_run',
                                                               'sync_lease', 'sync_batch', 'keap_hook', 'sweep_candidate', '_sqlx_migrations'])
                                       and not pg_has_role(relowner, 'member'))",
            )
            .fetch_one(&mut **tx)
            .await?)
        })
    }

    /// Tables on which this role may not do what passes need.
    pub async fn missing_rights(&self) -> Result<Vec<String>> {
        transaction!(self, tx, {
            Ok(sqlx::query_scalar(
                "select name from unnest(array['keap_intercom_sync_logs', 'contact_link', 'contact_due', 'sync_cursor', 'sync_run', 'sync_lease', 'sync_batch', 'keap_hook', 'sweep_candidate']) as name
                  where not (has_table_privilege(name, 'select') and has_table_privilege(name, 'insert')
                         and has_table_privilege(name, 'update') and has_table_privilege(name, 'delete'))
                 union all
                 select name from unnest(array['sync_digest_key', '_sqlx_migrations']) as name where not has_table_privilege(name, 'select')",
            )
            .fetch_all(&mut **tx)
            .await?)
        })
    }
}
