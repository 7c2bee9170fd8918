//! A stand-in for a pooler in transaction mode: each transaction runs in another of its two
//! sessions. It takes turns, as no real pooler does, so that nothing works by chance.
//!
//! It opens its sessions without a password, which is enough for `tests/with-postgres`.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::postgres_wire::{SSL_REQUEST, Server, Stream, message, read, through};

/// What a pooler does with settings in the start of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Options {
    /// PgBouncer as it is installed.
    Refused,
    /// PgBouncer with `ignore_startup_parameters = extra_float_digits,options`, and most others.
    Ignored,
}

const SESSIONS: usize = 2;

struct Pooler {
    server: Server,
    user: String,
    options: Options,
    places: Semaphore,
    idle: Mutex<VecDeque<Box<dyn Stream>>>,
}

/// A session while a client has it.
struct Lent<'a> {
    stream: Box<dyn Stream>,
    _place: SemaphorePermit<'a>,
}

/// The address of a new pooler before the database of `url`, with the user and the password of
/// `url`.
pub(crate) async fn start(url: &str, options: Options) -> url::Url {
    let mut pooled: url::Url = url.parse().unwrap();
    let pooler = Arc::new(Pooler {
        server: Server::of(&pooled),
        user: pooled.username().to_owned(),
        options,
        places: Semaphore::new(SESSIONS),
        idle: Mutex::default(),
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    pooled.set_query(None);
    pooled.set_host(Some("127.0.0.1")).unwrap();
    pooled.set_port(Some(listener.local_addr().unwrap().port())).unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let pooler = Arc::clone(&pooler);
            // A client that goes away ends its task.
            tokio::spawn(async move { pooler.serve(client).await.ok() });
        }
    });
    pooled
}

impl Pooler {
    async fn serve(&self, mut client: TcpStream) -> std::io::Result<()> {
        let start = loop {
            let length = client.read_u32().await?;
            let mut body = vec![0; length as usize - 4];
            client.read_exact(&mut body).await?;
            if body[..4] == SSL_REQUEST.to_be_bytes() {
                client.write_all(b"N").await?;
            } else {
                break String::from_utf8_lossy(&body[4..]).into_owned();
            }
        };
        let has = |name: &str| start.split('\0').step_by(2).any(|key| key == name);
        let refused = ["extra_float_digits", "options"].into_iter().find(|name| has(name));
        if let Some(name) = refused.filter(|_| self.options == Options::Refused) {
            let error =
                format!("SFATAL\0VFATAL\0C08P01\0Munsupported startup parameter: {name}\0\0");
            return client.write_all(&message(b'E', error.as_bytes())).await;
        }
        client.write_all(&message(b'R', &0_u32.to_be_bytes())).await?;
        client.write_all(&message(b'S', b"server_version\x0015.0\0")).await?;
        client.write_all(&message(b'K', &[0; 8])).await?;
        client.write_all(&message(b'Z', b"I")).await?;
        loop {
            let first = read(&mut client).await?;
            if first.0 == b'X' {
                return Ok(());
            }
            let mut lent = self.lend().await?;
            if !transaction(first, &mut client, &mut lent.stream).await? {
                return Ok(());
            }
            self.idle.lock().unwrap().push_back(lent.stream);
        }
    }

    /// The session that has rested longest, or a new one.
    async fn lend(&self) -> std::io::Result<Lent<'_>> {
        let place = self.places.acquire().await.unwrap();
        let idle = {
            let mut idle = self.idle.lock().unwrap();
            // The other one is opened before the first is lent again.
            let all_are_open = idle.len() + SESSIONS - self.places.available_permits() > SESSIONS;
            if all_are_open { idle.pop_front() } else { None }
        };
        let stream = match idle {
            Some(stream) => stream,
            None => self.open().await?,
        };
        Ok(Lent { stream, _place: place })
    }

    async fn open(&self) -> std::io::Result<Box<dyn Stream>> {
        let mut stream = self.server.connect().await?;
        let Self { user, server: Server { database, .. }, .. } = self;
        let parameters =
            format!("user\0{user}\0database\0{database}\0TimeZone\0UTC\0DateStyle\0ISO, MDY\0\0");
        let length = u32::try_from(parameters.len() + 8).unwrap();
        let mut start = [length.to_be_bytes(), 196_608_u32.to_be_bytes()].concat();
        start.extend(parameters.as_bytes());
        stream.write_all(&start).await?;
        loop {
            let (kind, body) = read(&mut stream).await?;
            let asks = kind == b'R' && body[..4] != [0; 4];
            assert!(!asks, "the stand-in of a pooler knows no password: use tests/with-postgres");
            match kind {
                b'Z' => return Ok(stream),
                b'E' => return Err(std::io::ErrorKind::ConnectionRefused.into()),
                _ => {}
            }
        }
    }
}

/// Passes one transaction on, from its first message on. False if it is not known to be over.
async fn transaction(
    first: (u8, Vec<u8>),
    client: &mut TcpStream,
    session: &mut Box<dyn Stream>,
) -> std::io::Result<bool> {
    let mut next = first;
    loop {
        let (kind, body) = next;
        session.write_all(&message(kind, &body)).await?;
        // Only these are answered at once.
        if kind == b'Q' || kind == b'S' {
            loop {
                let (kind, body) = read(session).await?;
                client.write_all(&message(kind, &body)).await?;
                if kind == b'Z' {
                    if body == b"I" {
                        return Ok(true);
                    }
                    break;
                }
            }
        }
        next = read(client).await?;
        if next.0 == b'X' {
            return Ok(false);
        }
    }
}

/// The names of statements that a direct connection prepares and closes, in order: `+name` and
/// `-name`. An unnamed one is `+`.
pub(crate) type Statements = Arc<Mutex<Vec<String>>>;

/// The address of a proxy that only passes on, and the statements that pass it. `url` is the
/// address of the server.
pub(crate) async fn watched(url: &str) -> (url::Url, Statements) {
    let url: url::Url = url.parse().unwrap();
    let server = Server::of(&url);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let watched = through(&url, listener.local_addr().unwrap().port());
    let statements = Statements::default();
    let seen = Arc::clone(&statements);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (from_server, to_server) = tokio::io::split(server.connect().await.unwrap());
            let (from_client, to_client) = client.into_split();
            tokio::spawn(copy(from_server, to_client));
            tokio::spawn(watch(from_client, to_server, Arc::clone(&seen)));
        }
    });
    (watched, statements)
}

async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
) -> std::io::Result<u64> {
    tokio::io::copy(&mut from, &mut to).await
}

async fn watch(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    seen: Statements,
) -> std::io::Result<()> {
    // The first message has no letter.
    let length = from.read_u32().await?;
    let mut start = vec![0; length as usize - 4];
    from.read_exact(&mut start).await?;
    to.write_all(&[length.to_be_bytes().as_slice(), &start].concat()).await?;
    loop {
        let (kind, body) = read(&mut from).await?;
        let name = |text: &[u8]| {
            let name = text.split(|byte| *byte == 0).next().unwrap_or_default();
            String::from_utf8_lossy(name).into_owned()
        };
        match (kind, body.first()) {
            (b'P', _) => seen.lock().unwrap().push(format!("+{}", name(&body))),
            (b'C', Some(b'S')) => seen.lock().unwrap().push(format!("-{}", name(&body[1..]))),
            _ => {}
        }
        to.write_all(&message(kind, &body)).await?;
    }
}
