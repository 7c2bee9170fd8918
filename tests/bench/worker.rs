//! A client for comparison. It syncs changed contacts one by one in the original worker's way: it
//! reads the contact from Keap, searches Intercom by e-mail, updates or creates the contact, and
//! adds a row to the log. Sixty-four contacts are under way at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use anyhow::Context;
use reqwest::{Client, Method};
use serde_json::{Value, json};
use sqlx::postgres::{PgPool, PgPoolOptions};

use crate::process::end_with_parent;

/// The first word that makes a process the worker. The first and the last id follow.
pub(crate) const WORD: &str = "worker";
const AT_ONCE: usize = 64;

struct Worker {
    client: Client,
    pool: PgPool,
    keap: (String, String),
    intercom: (String, String),
    next: AtomicI64,
    failed: AtomicU64,
}

/// Syncs the contacts `first..=last`, prints the number of failures, and waits to be killed.
pub(crate) fn run(first: &str, last: &str) -> anyhow::Result<()> {
    end_with_parent();
    let (first, last): (i64, i64) = (first.parse()?, last.parse()?);
    // The client needs a crypto provider.
    let _ = rustls::crypto::ring::default_provider().install_default();
    println!("started");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let failed = runtime.block_on(async {
        let var = |name| std::env::var(name).context(name);
        let worker = Arc::new(Worker {
            client: Client::builder().no_proxy().build()?,
            pool: PgPoolOptions::new().max_connections(8).connect(&var("DATABASE_URL")?).await?,
            keap: (var("KEAP_BASE_URL")?, var("KEAP_API_KEY")?),
            intercom: (var("INTERCOM_BASE_URL")?, var("INTERCOM_ACCESS_TOKEN")?),
            next: AtomicI64::new(first),
            failed: AtomicU64::new(0),
        });
        let lanes: Vec<_> =
            (0..AT_ONCE).map(|_| tokio::spawn(Arc::clone(&worker).lane(last))).collect();
        for lane in lanes {
            lane.await?;
        }
        anyhow::Ok(worker.failed.load(Ordering::Relaxed))
    })?;
    eprintln!("{failed}");
    // The bench reads CPU time and memory of the living process.
    std::thread::sleep(std::time::Duration::from_secs(60));
    Ok(())
}

impl Worker {
    async fn lane(self: Arc<Self>, last: i64) {
        loop {
            let id = self.next.fetch_add(1, Ordering::Relaxed);
            if id > last {
                return;
            }
            if self.sync(id).await.is_err() {
                self.failed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    async fn sync(&self, id: i64) -> anyhow::Result<()> {
        let path = format!(
            "/v2/contacts/{id}?fields=given_name,family_name,email_addresses,phone_numbers"
        );
        let person = self.call(&self.keap, Method::GET, &path, None).await?;
        let email = &person["email_addresses"][0]["email"];
        let query = json!({"query": {"field": "email", "operator": "=", "value": email}});
        let found =
            self.call(&self.intercom, Method::POST, "/contacts/search", Some(query)).await?;
        let name =
            ["given_name", "family_name"].map(|part| person[part].as_str().unwrap_or_default());
        let body = json!({
            "role": "user", "external_id": id.to_string(), "email": email, "name": name.join(" "),
            "phone": person["phone_numbers"][0]["number_e164"],
        });
        let (method, path) = match found["data"][0]["id"].as_str() {
            Some(found) => (Method::PUT, format!("/contacts/{found}")),
            None => (Method::POST, "/contacts".to_owned()),
        };
        let written = self.call(&self.intercom, method, &path, Some(body)).await?;
        sqlx::query(
            "insert into keap_intercom_sync_logs (keap_contact_id, intercom_contact_id, sync_status, sync_direction, synced_at)
             values ($1, $2, 'synced', 'keap_to_intercom', now())",
        )
        .bind(id.to_string())
        .bind(written["id"].as_str())
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    async fn call(
        &self,
        (base, token): &(String, String),
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> anyhow::Result<Value> {
        let mut request = self.client.request(method, format!("{base}{path}")).bearer_auth(token);
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let reply = request.send().await?.error_for_status()?;
        Ok(serde_json::from_slice(&reply.bytes().await?)?)
    }
}
