//! A database of one's own on the server of DATABASE_URL, gone afterwards.
#![allow(dead_code)] // Each user needs a part.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use sqlx::postgres::{PgConnection, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection};
use url::Url;
use uuid::Uuid;

/// Postgres needs a moment to count what connections did that were closed.
const COUNTED_AFTER: Duration = Duration::from_millis(700);

/// Several, which are dropped together.
#[derive(Default)]
pub struct Databases {
    made: Mutex<Vec<Arc<Database>>>,
}

impl Databases {
    pub async fn create(&self, purpose: &str) -> anyhow::Result<Arc<Database>> {
        let database = Arc::new(Database::create(purpose).await?);
        self.locked().push(Arc::clone(&database));
        Ok(database)
    }

    pub async fn remove(&self) -> anyhow::Result<()> {
        let made = std::mem::take(&mut *self.locked());
        for database in made {
            database.remove().await?;
        }
        Ok(())
    }

    fn locked(&self) -> MutexGuard<'_, Vec<Arc<Database>>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub struct Database {
    server: Url,
    name: String,
    pub url: Url,
    pub pool: PgPool,
}

/// The address of the server, with a database to begin with.
pub fn server() -> anyhow::Result<String> {
    std::env::var("DATABASE_URL")
        .context("DATABASE_URL is not set: start this through tests/with-postgres")
}

impl Database {
    pub async fn create(purpose: &str) -> anyhow::Result<Database> {
        let server = Url::parse(&server()?).context("DATABASE_URL is no URL")?;
        let name = format!("keap_intercom_sync_{purpose}_{}", Uuid::new_v4().simple());
        let mut url = server.clone();
        url.set_path(&name);
        let mut connection = PgConnection::connect(server.as_str())
            .await
            .context("Postgres cannot be reached")?;
        sqlx::query(AssertSqlSafe(format!("create database {name}")))
            .execute(&mut connection)
            .await
            .context("no database could be made")?;
        connection.close().await?;
        let pool = PgPoolOptions::new()
            .max_connections(2)
            .acquire_timeout(Duration::from_secs(10))
            .connect_lazy(url.as_str())?;
        Ok(Database {
            server,
            name,
            url,
            pool,
        })
    }

    /// Transactions committed in it so far, as far as Postgres has counted them: those of open connections may be missing.
    pub async fn commits(&self) -> anyhow::Result<i64> {
        tokio::time::sleep(COUNTED_AFTER).await;
        let mut connection = PgConnection::connect(self.server.as_str()).await?;
        let commits =
            sqlx::query_scalar("select xact_commit from pg_stat_database where datname = $1")
                .bind(&self.name)
                .fetch_one(&mut connection)
                .await?;
        connection.close().await?;
        Ok(commits)
    }

    /// Drops it, whoever is still connected.
    pub async fn remove(&self) -> anyhow::Result<()> {
        self.pool.close().await;
        let mut connection = PgConnection::connect(self.server.as_str()).await?;
        sqlx::query(AssertSqlSafe(format!(
            "drop database if exists {} with (force)",
            self.name
        )))
        .execute(&mut connection)
        .await?;
        connection.close().await?;
        Ok(())
    }
}
