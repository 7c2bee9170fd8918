//! Asks the daemon that runs on this machine, over its own HTTP surface.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::Context;
use reqwest::StatusCode;
use serde_json::Value;

use crate::config::Settings;

/// A daemon that is alive answers at once, also while a remote or Postgres does not.
const PATIENCE: Duration = Duration::from_secs(3);

/// What `GET path` answers there: the status and the JSON document.
pub async fn daemon(settings: &Settings, path: &str) -> anyhow::Result<(StatusCode, Value)> {
    let url = format!("http://{}{path}", address(settings));
    // The client wants one, also for plain HTTP; that it is installed already is no error.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder()
        .timeout(PATIENCE)
        .no_proxy()
        .build()?;
    let answer = async {
        let response = client.get(&url).send().await?;
        Ok::<_, reqwest::Error>((response.status(), response.bytes().await?))
    };
    let (status, body) = answer
        .await
        .with_context(|| format!("no daemon answers at {url}"))?;
    let document = serde_json::from_slice(&body)
        .with_context(|| format!("what answers at {url} is not keap-intercom-sync"))?;
    Ok((status, document))
}

/// Where a daemon with these settings is reached from its own machine.
pub fn address(settings: &Settings) -> SocketAddr {
    let mut address = settings.http.listen;
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}
