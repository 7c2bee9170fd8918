//! The proxy on the way to a remote: whether there is one, and its name without a password.

use std::fmt;
use std::net::IpAddr;

use hyper::Uri;
use hyper_util::client::proxy::matcher::Matcher;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::failure::BuildError;

/// A proxy that all calls to one remote go through. Its texts show no user and no password.
#[derive(Debug, Clone)]
pub struct Proxy {
    url: SecretString,
    shown: String,
    setting: &'static str,
}

impl Proxy {
    /// The proxy for an address; `None` if calls to that address go there directly.
    ///
    /// - `setting`: the setting or variable that holds `url`.
    /// - `is_own`: it is a setting of this program. A variable that all programs follow does not
    ///   count for an address on this machine.
    /// - `except`: hosts that are reached without a proxy, as `NO_PROXY` lists them.
    pub fn on_the_way_to(
        address: &Url,
        url: &SecretString,
        setting: &'static str,
        is_own: bool,
        except: &str,
    ) -> Option<Self> {
        let mut shown: Url = url.expose_secret().parse().ok()?;
        if is_on_this_machine(address) && !is_own {
            return None;
        }
        // A token in plain HTTP never leaves this machine.
        if address.scheme() == "http" && !is_on_this_machine(&shown) {
            return None;
        }
        let matcher = Matcher::builder().all(url.expose_secret()).no(exceptions(except)).build();
        matcher.intercept(&address.as_str().parse::<Uri>().ok()?)?;
        // These two fail only for a URL that can hold neither.
        let _ = (shown.set_username(""), shown.set_password(None));
        let shown = shown.as_str().trim_end_matches('/').to_owned();
        Some(Self { url: url.clone(), shown, setting })
    }

    /// The setting or variable that names it.
    pub fn setting(&self) -> &'static str {
        self.setting
    }

    /// The rule for the HTTP client.
    pub fn rule(&self) -> Result<reqwest::Proxy, BuildError> {
        // The library's own text may quote the URL.
        reqwest::Proxy::all(self.url.expose_secret()).map_err(|_| BuildError::Proxy(self.setting))
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the proxy {} ({})", self.shown, self.setting)
    }
}

/// Whether the host of an address is this machine.
fn is_on_this_machine(address: &Url) -> bool {
    let Some(host) = address.host_str() else { return false };
    let ip = host.trim_matches(['[', ']']).parse::<IpAddr>();
    ip.is_ok_and(|ip| ip.is_loopback()) || host == "localhost" || host.ends_with(".localhost")
}

/// The list in the form that the library knows: commas, and `.example.com` where other programs
/// also take `*.example.com`.
fn exceptions(list: &str) -> String {
    let each = list.split([',', ' ']).filter(|host| !host.is_empty());
    let each =
        each.map(|host| host.strip_prefix('*').filter(|rest| !rest.is_empty()).unwrap_or(host));
    each.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEAP: &str = "https://api.infusionsoft.com/crm/rest";

    fn proxy(address: &str, url: &str, is_own: bool, except: &str) -> Option<String> {
        let url = SecretString::from(url);
        let setting = if is_own { "NETWORK__PROXY" } else { "HTTPS_PROXY" };
        Proxy::on_the_way_to(&address.parse().unwrap(), &url, setting, is_own, except)
            .map(|proxy| proxy.to_string())
    }

    #[test]
    fn a_proxy_is_named_with_its_setting_and_without_its_password() {
        let url = "http://canary:canary-secret@proxy.example.com:3128";
        let named = "the proxy http://proxy.example.com:3128";
        assert_eq!(proxy(KEAP, url, false, "").unwrap(), format!("{named} (HTTPS_PROXY)"));
        assert_eq!(proxy(KEAP, url, true, "").unwrap(), format!("{named} (NETWORK__PROXY)"));

        let of = Proxy::on_the_way_to(&KEAP.parse().unwrap(), &url.into(), "X", true, "").unwrap();
        assert!(!format!("{of:?}").contains("canary"));
        assert!(
            proxy(KEAP, "socks5h://canary:x@127.0.0.1:1080", false, "")
                .is_some_and(|named| named.contains("socks5h://127.0.0.1:1080"))
        );
    }

    #[test]
    fn hosts_of_no_proxy_are_called_directly() {
        let url = "http://proxy.example.com:3128";
        for except in [
            "*",
            "api.infusionsoft.com",
            "infusionsoft.com",
            ".infusionsoft.com",
            "*.infusionsoft.com",
            "example.org, API.INFUSIONSOFT.COM",
            "example.org infusionsoft.com",
        ] {
            assert_eq!(proxy(KEAP, url, false, except), None, "{except}");
            assert_eq!(proxy(KEAP, url, true, except), None, "{except}");
        }
        for except in ["", "example.org", "soft.com", "api.intercom.io", "infusionsoft.com.evil"] {
            assert!(proxy(KEAP, url, false, except).is_some(), "{except}");
        }
        assert_eq!(proxy("https://10.1.2.3/x", url, false, "10.0.0.0/8"), None);
        assert!(proxy("https://11.1.2.3/x", url, false, "10.0.0.0/8").is_some());
    }

    #[test]
    fn an_address_on_this_machine_is_called_through_a_proxy_only_if_our_own_setting_names_one() {
        let (here, away) = ("http://127.0.0.1:3128", "http://proxy.example.com:3128");
        for address in
            ["http://127.0.0.1:9/crm", "http://localhost:9", "http://[::1]:9", "http://127.9.9.9"]
        {
            assert_eq!(proxy(address, here, false, ""), None, "{address}");
            assert!(proxy(address, here, true, "").is_some(), "{address}");
            assert_eq!(proxy(address, away, true, ""), None, "the token would go out: {address}");
            let secure = address.replace("http:", "https:");
            assert_eq!(proxy(&secure, here, false, ""), None, "{secure}");
            assert!(proxy(&secure, away, true, "").is_some(), "{secure}");
        }
    }
}
