//! What the settings of alarms mean together: their webhooks, and what is missing for mail.

use secrecy::{ExposeSecret, SecretString};
use url::{Host, Url};

use super::error::{Problem, SettingsError, missing};
use super::forms::Form;
use super::keys;
use super::notify_forms::{HookUrl, MailAddress};
use super::origin::Origin;
use super::settings::{Notify, Settings, SmtpTls};

/// A webhook that takes alarms.
#[derive(Debug, Clone)]
pub struct Hook {
    /// `json`, `slack`, `teams` or `discord`.
    pub name: &'static str,
    /// Holds a token. Only its host may be shown.
    pub url: SecretString,
}

impl Hook {
    /// The address to call.
    pub fn address(&self) -> Option<Url> {
        HookUrl::parse(self.url.expose_secret())
    }
}

impl Notify {
    /// The webhooks that are set, in a fixed order.
    pub fn hooks(&self) -> Vec<Hook> {
        let all = [
            ("json", &self.json_url),
            ("slack", &self.slack_url),
            ("teams", &self.teams_url),
            ("discord", &self.discord_url),
        ];
        let set = all.into_iter().filter_map(|(name, url)| Some((name, url.clone()?)));
        set.map(|(name, url)| Hook { name, url }).collect()
    }

    /// The port of the mail server that goes with how the way to it is encrypted.
    pub fn smtp_port(&self) -> u16 {
        let usual = match self.smtp_tls {
            SmtpTls::StartTls => 587,
            SmtpTls::Implicit => 465,
            SmtpTls::Off => 25,
        };
        self.smtp_server.as_ref().and_then(|server| server.port).unwrap_or(usual)
    }
}

impl Settings {
    /// Checks what the settings of alarms mean together. They are checked where somebody is to be
    /// told, so that a single one of them is no mistake.
    pub fn check_alarms(&self) -> Result<(), SettingsError> {
        let name = |path: &str| {
            let key = keys::at(path)?;
            Some(self.origins.get(path).unwrap_or(&Origin::Defaults).name(key))
        };
        let problems = problems(&self.notify, |path| name(path).unwrap_or_default());
        SettingsError::unless_empty(problems)
    }
}

/// `name`: how the person has named a key.
fn problems(notify: &Notify, name: impl Fn(&str) -> String) -> Vec<Problem> {
    let mut problems = Vec::new();
    for hook in notify.hooks() {
        let is_plain = hook.address().is_some_and(|url| url.scheme() == "http" && !is_here(&url));
        if is_plain && !notify.allow_plain {
            problems.push(Problem::Wrong {
                name: name(&format!("notify.{}_url", hook.name)),
                shown: "the value (not shown)".to_owned(),
                expected: format!(
                    "{}; set {} if this is meant",
                    HookUrl::EXPECTED,
                    name("notify.allow_plain")
                ),
            });
        }
    }
    problems.extend(mail(notify, name));
    problems
}

fn mail(notify: &Notify, name: impl Fn(&str) -> String) -> Vec<Problem> {
    let mut problems = Vec::new();
    let credential = (notify.smtp_user.is_some(), notify.smtp_password.is_some());
    let is_asked =
        notify.mail_from.is_some() || !notify.mail_to.is_empty() || credential != (false, false);
    match &notify.smtp_server {
        None if is_asked => problems.push(missing("notify.smtp_server")),
        None => {}
        Some(server) => {
            if notify.mail_from.is_none() {
                problems.push(missing("notify.mail_from"));
            }
            if notify.mail_to.is_empty() {
                problems.push(missing("notify.mail_to"));
            }
            if notify.smtp_tls == SmtpTls::Off && !server.is_here() && !notify.allow_plain {
                problems.push(Problem::Other(format!(
                    "{} is \"off\", and the mail server is not on this machine: choose \"starttls\" or \"implicit\", or set {} if this is meant",
                    name("notify.smtp_tls"),
                    name("notify.allow_plain")
                )));
            }
        }
    }
    match credential {
        (true, false) => problems.push(missing("notify.smtp_password")),
        (false, true) => problems.push(missing("notify.smtp_user")),
        _ => {}
    }
    let wrong = notify.mail_to.iter().any(|address| MailAddress::parse(address).is_none());
    if wrong {
        problems.push(Problem::Wrong {
            name: name("notify.mail_to"),
            shown: "one of the addresses (not shown)".to_owned(),
            expected: MailAddress::EXPECTED.to_owned(),
        });
    }
    problems
}

/// Whether the host of an address is this machine.
fn is_here(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}
