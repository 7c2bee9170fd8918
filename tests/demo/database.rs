//! A database of one's own on the server of DATABASE_URL, gone afterwards.
#![allow(dead_code)] // Each user needs a part.

use std::time::Duration;

use anyhow::Context;
use sqlx::postgres::{PgConnection, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection};
use url::Url;
use uuid::Uuid;

pub struct Database {
    server: Url,
    name: String,
    pub url: Url,
    pub pool: PgPool,
}

impl Database {
    pub async fn create(purpose: &str) -> anyhow::Result<Database> {
        let server = std::env::var("DATABASE_URL")
            .context("DATABASE_URL is not set: start this through tests/with-postgres")?;
        let server = Url::parse(&server).context("DATABASE_URL is no URL")?;
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

    /// Drops it, whoever is still connected.
    pub async fn drop(self) -> anyhow::Result<()> {
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
