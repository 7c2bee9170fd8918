//! Asks the daemon on this machine, over its HTTP surface.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::Context;
use reqwest::StatusCode;
use serde_json::Value;

use crate::config::Settings;

/// A daemon that is alive answers at once, even while Postgres or a remote does not.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);

/// Sends `GET path` to the daemon. Returns the status and the JSON document.
pub(super) async fn daemon(settings: &Settings, path: &str) -> anyhow::Result<(StatusCode, Value)> {
    let url = format!("http://{}{path}", address(settings));
    // reqwest needs a TLS provider even for plain HTTP. An error means that one is installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().timeout(ANSWER_TIMEOUT).no_proxy().build()?;
    let answer = async {
        let response = client.get(&url).send().await?;
        Ok::<_, reqwest::Error>((response.status(), response.bytes().await?))
    };
    let (status, body) = answer.await.with_context(|| format!("no daemon answers at {url}"))?;
    let document = serde_json::from_slice(&body)
        .with_context(|| format!("another program than keap-intercom-sync answers at {url}"))?;
    Ok((status, document))
}

/// The address at which a daemon with these settings is reached from its own machine.
pub(super) fn address(settings: &Settings) -> SocketAddr {
    let mut address = settings.http.listen;
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}
