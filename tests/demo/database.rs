//! Creates databases on the server of DATABASE_URL and drops them at the end.
#![allow(dead_code)] // The demo and the bench each use a part.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use sqlx::postgres::{PgConnection, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection};
use url::Url;
use uuid::Uuid;

/// Postgres counts the transactions of a closed connection only after a moment.
const COUNTED_AFTER: Duration = Duration::from_millis(700);

/// Several databases that are dropped together.
#[derive(Default)]
pub(crate) struct Databases {
    made: Mutex<Vec<Arc<Database>>>,
}

impl Databases {
    pub(crate) async fn create(&self, purpose: &str) -> anyhow::Result<Arc<Database>> {
        let database = Arc::new(Database::create(purpose).await?);
        self.locked().push(Arc::clone(&database));
        Ok(database)
    }

    pub(crate) async fn remove(&self) -> anyhow::Result<()> {
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

pub(crate) struct Database {
    server: Url,
    name: String,
    pub url: Url,
    pub pool: PgPool,
}

/// The URL of the server, with a database that exists.
pub(crate) fn server() -> anyhow::Result<String> {
    std::env::var("DATABASE_URL")
        .context("DATABASE_URL is not set: start this program with tests/with-postgres")
}

impl Database {
    /// An empty database.
    pub(crate) async fn create(purpose: &str) -> anyhow::Result<Database> {
        Database::make(purpose, "").await
    }

    /// A database with the content of another one, to which nobody is connected.
    pub(crate) async fn copy(purpose: &str, template: &Database) -> anyhow::Result<Database> {
        Database::make(purpose, &format!(" template {}", template.name)).await
    }

    async fn make(purpose: &str, template: &str) -> anyhow::Result<Database> {
        let server = Url::parse(&server()?).context("DATABASE_URL is not a URL")?;
        let name = format!("keap_intercom_sync_{purpose}_{}", Uuid::new_v4().simple());
        let mut url = server.clone();
        url.set_path(&name);
        let mut connection =
            PgConnection::connect(server.as_str()).await.context("cannot connect to Postgres")?;
        sqlx::query(AssertSqlSafe(format!("create database {name}{template}")))
            .execute(&mut connection)
            .await
            .context("cannot create a database")?;
        connection.close().await?;
        let pool = PgPoolOptions::new()
            .max_connections(2)
            .acquire_timeout(Duration::from_secs(10))
            .connect_lazy(url.as_str())?;
        Ok(Database { server, name, url, pool })
    }

    /// The number of transactions committed in it so far. Postgres may not have counted those of
    /// open connections yet.
    pub(crate) async fn commits(&self) -> anyhow::Result<i64> {
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

    /// Drops the database, even if somebody is still connected.
    pub(crate) async fn remove(&self) -> anyhow::Result<()> {
        self.pool.close().await;
        let mut connection = PgConnection::connect(self.server.as_str()).await?;
        sqlx::query(AssertSqlSafe(format!("drop database if exists {} with (force)", self.name)))
            .execute(&mut connection)
            .await?;
        connection.close().await?;
        Ok(())
    }
}
