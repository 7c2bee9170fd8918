//! A mail server: it speaks SMTP with STARTTLS, with TLS from the first byte or without TLS, asks
//! for a credential, and refuses, hangs up or keeps silent on command.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufStream};
use tokio::net::{TcpListener, TcpStream};

use crate::loopback_proxy::tls_acceptor;

/// The authority that vouches for the mail server. It was made for the tests, and nobody has its
/// key.
pub(crate) const AUTHORITY: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tls/mail-authority.pem");

/// How the way to the server is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Plain,
    StartTls,
    Implicit,
}

/// What the server does wrong, and at which command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wrong {
    Nothing,
    Answers(&'static str, &'static str),
    HangsUp(&'static str),
    /// It takes the connection and says nothing.
    Silent,
}

/// What a client has said, and whether it was encrypted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Heard {
    pub commands: Vec<(bool, String)>,
    /// The bodies of the mails that were taken.
    pub mails: Vec<String>,
}

pub(crate) struct MailServer {
    pub port: u16,
    heard: Arc<Mutex<Heard>>,
    wrong: Arc<Mutex<Wrong>>,
}

#[derive(Clone)]
struct Talk {
    way: Way,
    /// `AUTH PLAIN` with this argument is right.
    credential: Option<&'static str>,
    heard: Arc<Mutex<Heard>>,
    wrong: Arc<Mutex<Wrong>>,
}

impl MailServer {
    pub(crate) async fn start(way: Way, credential: Option<&'static str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (heard, wrong) = (Arc::default(), Arc::new(Mutex::new(Wrong::Nothing)));
        let talk = Talk { way, credential, heard: Arc::clone(&heard), wrong: Arc::clone(&wrong) };
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(talk.clone().serve(stream));
            }
        });
        Self { port, heard, wrong }
    }

    pub(crate) fn does(&self, wrong: Wrong) {
        *self.wrong.lock().unwrap() = wrong;
    }

    pub(crate) fn heard(&self) -> Heard {
        self.heard.lock().unwrap().clone()
    }
}

/// How a conversation goes on.
enum Next {
    Ends,
    TurnsToTls,
}

impl Talk {
    async fn serve(self, stream: TcpStream) {
        if *self.wrong.lock().unwrap() == Wrong::Silent {
            return std::future::pending().await;
        }
        if self.way == Way::Implicit {
            if let Ok(stream) = tls_acceptor("mail").accept(stream).await {
                self.converse(&mut BufStream::new(stream), true, true).await;
            }
            return;
        }
        let mut plain = BufStream::new(stream);
        if let Some(Next::TurnsToTls) = self.converse(&mut plain, false, true).await
            && let Ok(stream) = tls_acceptor("mail").accept(plain.into_inner()).await
        {
            self.converse(&mut BufStream::new(stream), true, false).await;
        }
    }

    /// `None`: the connection has ended.
    async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: &mut BufStream<S>,
        is_tls: bool,
        greets: bool,
    ) -> Option<Next> {
        if greets {
            say(stream, "220 mail.test ready").await?;
        }
        loop {
            let line = hear(stream).await?;
            self.heard.lock().unwrap().commands.push((is_tls, line.clone()));
            let verb = line.split([' ', ':']).next().unwrap_or_default().to_uppercase();
            let wrong = *self.wrong.lock().unwrap();
            match wrong {
                Wrong::HangsUp(at) if verb == at => return None,
                Wrong::Answers(at, answer) if verb == at => {
                    say(stream, answer).await?;
                    continue;
                }
                _ => {}
            }
            match verb.as_str() {
                "EHLO" => {
                    let tls =
                        if self.way == Way::StartTls && !is_tls { "250-STARTTLS\r\n" } else { "" };
                    let auth =
                        if self.credential.is_some() { "250-AUTH PLAIN LOGIN\r\n" } else { "" };
                    say(stream, &format!("250-mail.test\r\n{tls}{auth}250 8BITMIME")).await?;
                }
                "STARTTLS" => {
                    say(stream, "220 go ahead").await?;
                    return Some(Next::TurnsToTls);
                }
                "AUTH" => {
                    let is_right =
                        self.credential.is_some_and(|right| line == format!("AUTH PLAIN {right}"));
                    say(
                        stream,
                        if is_right {
                            "235 welcome"
                        } else {
                            "535 5.7.8 canary@example.org is wrong"
                        },
                    )
                    .await?;
                }
                "DATA" => {
                    say(stream, "354 go on").await?;
                    let mut mail = String::new();
                    loop {
                        let line = hear(stream).await?;
                        if line == "." {
                            break;
                        }
                        mail.push_str(&line);
                        mail.push('\n');
                    }
                    self.heard.lock().unwrap().mails.push(mail);
                    say(stream, "250 taken").await?;
                }
                "QUIT" => {
                    say(stream, "221 bye").await?;
                    return Some(Next::Ends);
                }
                _ => say(stream, "250 ok").await?,
            }
        }
    }
}

async fn say<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut BufStream<S>,
    text: &str,
) -> Option<()> {
    stream.write_all(format!("{text}\r\n").as_bytes()).await.ok()?;
    stream.flush().await.ok()
}

async fn hear<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut BufStream<S>) -> Option<String> {
    let mut line = String::new();
    let read = stream.read_line(&mut line).await.ok()?;
    (read > 0).then(|| line.trim_end_matches(['\r', '\n']).to_owned())
}
