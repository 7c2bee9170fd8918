//! The messages between a program and Postgres, for what stands between the two.
#![allow(dead_code)] // Each test or example uses only a part.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use url::Url;

/// The first message of a program that wants TLS.
pub(crate) const SSL_REQUEST: u32 = 80_877_103;

pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Where the server listens.
#[derive(Clone)]
pub(crate) struct Server {
    folder: Option<String>,
    host: String,
    port: u16,
    pub database: String,
}

impl Server {
    pub(crate) fn of(url: &Url) -> Self {
        let folder = url.query_pairs().find(|(name, _)| name == "host");
        Self {
            folder: folder.map(|(_, host)| host.into_owned()),
            host: url.host_str().unwrap_or_default().to_owned(),
            port: url.port().unwrap_or(5432),
            database: url.path().trim_start_matches('/').to_owned(),
        }
    }

    /// The folder of the server's socket, or its host.
    pub(crate) fn place(&self) -> &str {
        self.folder.as_deref().unwrap_or(&self.host)
    }

    pub(crate) async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        Ok(match &self.folder {
            Some(folder) => {
                let path = format!("{folder}/.s.PGSQL.{}", self.port);
                Box::new(UnixStream::connect(path).await?)
            }
            None => Box::new(TcpStream::connect((self.host.as_str(), self.port)).await?),
        })
    }
}

/// The address of `url`'s database through a listener at this port of loopback, without TLS.
pub(crate) fn through(url: &Url, port: u16) -> Url {
    let mut through = url.clone();
    through.set_query(Some("sslmode=disable"));
    // The address of a database has a host, so both succeed.
    let _ = through.set_host(Some("127.0.0.1"));
    let _ = through.set_port(Some(port));
    through
}

/// The next message: its letter and its body.
pub(crate) async fn read(
    stream: &mut (impl AsyncRead + Unpin + ?Sized),
) -> io::Result<(u8, Vec<u8>)> {
    let kind = stream.read_u8().await?;
    Ok((kind, body_of(stream).await?))
}

/// What follows the letter of a message, or the whole first message, which has no letter.
pub(crate) async fn body_of(stream: &mut (impl AsyncRead + Unpin + ?Sized)) -> io::Result<Vec<u8>> {
    let length = stream.read_u32().await? as usize;
    let mut body = vec![0; length.checked_sub(4).ok_or(io::ErrorKind::InvalidData)?];
    stream.read_exact(&mut body).await?;
    Ok(body)
}

pub(crate) fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = body.len() as u32 + 4;
    [&[kind], length.to_be_bytes().as_slice(), body].concat()
}
