//! The proxy on the way to the remotes: our own setting, else the variables that other programs
//! follow too.

use std::collections::BTreeMap;

use config::ValueKind;
use secrecy::{ExposeSecret, SecretString};

use super::error::Problem;
use super::forms::{Form, ProxyUrl};
use super::settings::Settings;
use super::values::Values;

/// Our own setting, in a settings file and in the environment.
const OWN: &str = "network.proxy";
const OWN_ENV: &str = "NETWORK__PROXY";
/// The variables that name a proxy for https addresses; the first that is set counts. `HTTP_PROXY`
/// is for plain HTTP, in which this program calls nobody but this machine.
const VARIABLES: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
/// The variables that name hosts without a proxy; the first that is set counts.
const EXCEPTIONS: [&str; 2] = ["NO_PROXY", "no_proxy"];

/// A proxy that the settings name, and where it counts.
#[derive(Debug, Clone)]
pub struct ProxySetting {
    /// The name of the setting or variable.
    pub name: &'static str,
    /// May hold a password.
    pub url: SecretString,
    /// It was set for this program alone, so it counts for addresses on this machine too.
    pub is_own: bool,
    /// Hosts that are reached without it, as `NO_PROXY` lists them.
    pub except: String,
}

impl Settings {
    /// The proxy that the settings or the usual variables name; `None` without one.
    pub fn proxy(&self) -> Option<ProxySetting> {
        let own = self.values.secret(OWN).map(|url| (OWN_ENV, url));
        let is_own = own.is_some();
        let usual = || VARIABLES.iter().find_map(|name| Some((*name, self.values.secret(name)?)));
        let (name, url) = own.or_else(usual)?;
        let url = ProxyUrl::parse(url.expose_secret()).filter(|url| url != "off")?;
        let except = EXCEPTIONS.iter().find_map(|name| self.values.text(name));
        let except = except.unwrap_or_default().to_owned();
        Some(ProxySetting { name, url: url.into(), is_own, except })
    }
}

/// Takes over what the usual variables say. `Some`: what is wrong with them. They count only where
/// our own setting is missing.
pub(super) fn add_variables(
    values: &mut Values,
    env: &BTreeMap<String, String>,
) -> Option<Problem> {
    let set = |names: &[&'static str]| {
        names.iter().find_map(|name| {
            let text = env.get(*name).filter(|text| !text.is_empty())?;
            Some((*name, text.clone()))
        })
    };
    if let Some((name, text)) = set(&EXCEPTIONS) {
        values.put(name, ValueKind::String(text));
    }
    let (name, text) = set(&VARIABLES).filter(|_| !values.has(OWN))?;
    if ProxyUrl::parse(&text).is_none() {
        return Some(Problem::Wrong {
            name: name.to_owned(),
            shown: "the value (not shown, as it may hold a password)".to_owned(),
            expected: format!("{}; {OWN_ENV} replaces it", ProxyUrl::EXPECTED),
        });
    }
    values.put_secret(name, text.into());
    None
}
