//! Mail: one message to all recipients, over a connection of its own.

use std::time::Duration;

use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::{self, AsyncSmtpTransport};
use lettre::{Address, AsyncTransport as _, Tokio1Executor};
use secrecy::ExposeSecret as _;

use super::message::Message;
use super::undelivered::Undelivered;
use crate::config::{MailServer, Notify, SmtpTls};

/// The most characters of a mail. Ten troubles take half of it.
const LONGEST_CHARS: usize = 10_000;

/// A mail server with the addresses.
pub struct Mail {
    server: MailServer,
    port: u16,
    tls: SmtpTls,
    from: Address,
    to: Vec<Address>,
    transport: AsyncSmtpTransport<Tokio1Executor>,
    timeout: Duration,
}

impl Mail {
    /// `None` where no mail server is set; nothing is called yet. An error names the setting.
    pub(super) fn new(notify: &Notify) -> Result<Option<Self>, String> {
        let (Some(server), Some(from)) = (&notify.smtp_server, &notify.mail_from) else {
            return Ok(None);
        };
        let address = |setting: &str, text: &str| -> Result<Address, String> {
            text.parse().map_err(|_| format!("{setting}: an address (not shown) is not understood"))
        };
        let to = notify.mail_to.iter().map(|one| address("NOTIFY__MAIL_TO", one));
        let port = notify.smtp_port();
        Ok(Some(Self {
            server: server.clone(),
            port,
            tls: notify.smtp_tls,
            from: address("NOTIFY__MAIL_FROM", from)?,
            to: to.collect::<Result<_, _>>()?,
            transport: transport(notify, server, port)?,
            timeout: notify.timeout,
        }))
    }

    /// The server, and how the way to it is encrypted.
    pub(super) fn place(&self) -> String {
        let tls = match self.tls {
            SmtpTls::StartTls => "with STARTTLS",
            SmtpTls::Implicit => "with TLS",
            SmtpTls::Off => "without TLS",
        };
        let people = match self.to.len() {
            1 => "1 address".to_owned(),
            more => format!("{more} addresses"),
        };
        format!("{}:{} {tls}, to {people}", self.server.shown_host(), self.port)
    }

    pub(super) async fn send(&self, message: &Message) -> Result<String, Undelivered> {
        let mail = self
            .mail(message)
            .map_err(|_| Undelivered::because("the mail could not be written"))?;
        match tokio::time::timeout(self.timeout, self.transport.send(mail)).await {
            Ok(Ok(response)) => Ok(format!("answered {}", response.code())),
            Ok(Err(error)) => Err(Undelivered::because(in_words(&error))),
            Err(_) => Err(Undelivered::because(format!(
                "no answer within {} ms",
                self.timeout.as_millis()
            ))),
        }
    }

    fn mail(&self, message: &Message) -> Result<lettre::Message, lettre::error::Error> {
        let mut mail = lettre::Message::builder()
            .from(self.from.clone().into())
            .subject(message.title())
            .header(ContentType::TEXT_PLAIN);
        for address in &self.to {
            mail = mail.to(address.clone().into());
        }
        let mut mail = mail.body(message.text(LONGEST_CHARS))?;
        // Nobody's absence note shall answer.
        let name = HeaderName::new_from_ascii_str("Auto-Submitted");
        mail.headers_mut().insert_raw(HeaderValue::new(name, "auto-generated".to_owned()));
        Ok(mail)
    }
}

fn transport(
    notify: &Notify,
    server: &MailServer,
    port: u16,
) -> Result<AsyncSmtpTransport<Tokio1Executor>, String> {
    let parameters = || {
        TlsParameters::new_rustls(server.host.clone())
            .map_err(|error| format!("NOTIFY__SMTP_SERVER: TLS cannot be set up: {error}"))
    };
    let tls = match notify.smtp_tls {
        SmtpTls::StartTls => Tls::Required(parameters()?),
        SmtpTls::Implicit => Tls::Wrapper(parameters()?),
        SmtpTls::Off => Tls::None,
    };
    let mut transport =
        AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(server.host.clone())
            .port(port)
            .tls(tls)
            .timeout(Some(notify.timeout))
            // The name of this machine is nobody's business, and may be no name that DNS knows.
            .hello_name(ClientId::Domain("keap-intercom-sync.localdomain".to_owned()));
    if let (Some(user), Some(password)) = (&notify.smtp_user, &notify.smtp_password) {
        let password = password.expose_secret().to_owned();
        transport = transport.credentials(Credentials::new(user.clone(), password));
    }
    Ok(transport.build())
}

/// Why a mail was not taken. The server's own text may quote an address, so only its code is shown.
fn in_words(error: &smtp::Error) -> String {
    match error.status() {
        Some(code) if error.is_permanent() => format!("refused with {code}"),
        Some(code) => format!("not taken for now, {code}"),
        None if error.is_timeout() => "no answer in time".to_owned(),
        None if error.is_tls() => {
            "TLS failed: see whether the server has a certificate for this name, and NOTIFY__SMTP_TLS".to_owned()
        }
        None if error.is_client() => {
            "the server does not offer what is needed: see NOTIFY__SMTP_TLS and NOTIFY__SMTP_USER".to_owned()
        }
        None if error.is_response() => "the answer is no SMTP".to_owned(),
        None => match root(error) {
            Some(error) => format!("cannot be reached: {}", error.kind()),
            None => "cannot be reached".to_owned(),
        },
    }
}

/// The error of the system behind another one.
fn root(error: &smtp::Error) -> Option<&std::io::Error> {
    let mut cause = std::error::Error::source(error);
    while let Some(one) = cause {
        if let Some(io) = one.downcast_ref::<std::io::Error>() {
            return Some(io);
        }
        cause = one.source();
    }
    None
}
