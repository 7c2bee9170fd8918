//! A proxy on loopback that tunnels and forwards, as the proxies of companies do, and stand-ins
//! behind TLS to be reached through it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// The authority that vouches for the stand-ins behind TLS. It was made for the tests, and nobody
/// has its key.
pub(crate) const AUTHORITY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tls/authority.pem");

/// What the proxy was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    /// The first line of the request.
    pub line: String,
    /// The value of `Proxy-Authorization`.
    pub credential: Option<String>,
    /// Whether the head names the credential of a remote.
    pub shows_token: bool,
}

#[derive(Clone)]
pub(crate) struct LoopbackProxy {
    pub port: u16,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl LoopbackProxy {
    /// A proxy that knows these names, and asks for this credential if one is given.
    pub(crate) async fn start(names: &[(&str, u16)], credential: Option<&str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Self { port: listener.local_addr().unwrap().port(), asked: Arc::default() };
        let names = names.iter().map(|(name, port)| ((*name).to_owned(), *port)).collect();
        let (names, credential) = (Arc::new(names), credential.map(str::to_owned));
        let asked = Arc::clone(&proxy.asked);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (names, credential) = (Arc::clone(&names), credential.clone());
                tokio::spawn(serve(stream, names, credential, Arc::clone(&asked)));
            }
        });
        proxy
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// The first words of what it was asked for, each once.
    pub(crate) fn targets(&self) -> Vec<String> {
        let two = |asked: Asked| asked.line.split(' ').take(2).collect::<Vec<_>>().join(" ");
        let mut targets: Vec<String> = self.asked().into_iter().map(two).collect();
        targets.sort();
        targets.dedup();
        targets
    }
}

async fn serve(
    mut client: TcpStream,
    names: Arc<BTreeMap<String, u16>>,
    credential: Option<String>,
    log: Arc<Mutex<Vec<Asked>>>,
) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match client.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let text = String::from_utf8_lossy(&head).into_owned();
    let line = text.lines().next().unwrap_or_default().to_owned();
    let header = |name: &str| {
        text.lines().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then(|| value.to_owned())
        })
    };
    let shown = header("proxy-authorization");
    let shows_token = header("authorization").is_some();
    log.lock().unwrap().push(Asked { line: line.clone(), credential: shown.clone(), shows_token });
    if credential.is_some() && shown != credential {
        let refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n";
        let _ = client.write_all(refusal).await;
        return;
    }
    let mut words = line.split(' ');
    let is_tunnel = words.next() == Some("CONNECT");
    let target = words.next().unwrap_or_default().trim_start_matches("http://");
    let target = target.split('/').next().unwrap_or_default();
    let (host, port) = target.split_once(':').unwrap_or((target, "80"));
    let port = names.get(host).copied().or_else(|| port.parse().ok().filter(|_| !is_tunnel));
    let server = match port {
        Some(port) => TcpStream::connect(("127.0.0.1", port)).await,
        None => Err(std::io::Error::other("an unknown name")),
    };
    let Ok(mut server) = server else {
        let _ = client.write_all(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n").await;
        return;
    };
    if is_tunnel {
        let _ = client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await;
    } else {
        let _ = server.write_all(&head).await;
    }
    let _ = copy_bidirectional(&mut client, &mut server).await;
}

/// A TLS server with a certificate of `tests/tls/`, by its name there.
pub(crate) fn tls_acceptor(name: &str) -> TlsAcceptor {
    let pem = |end: &str| {
        let path = format!("{}/tests/tls/{name}.{end}", env!("CARGO_MANIFEST_DIR"));
        std::fs::read(path).unwrap()
    };
    let chain = vec![CertificateDer::from_pem_slice(&pem("pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(&pem("key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

/// Puts TLS, with a certificate for `keap.test` and `intercom.test`, in front of a port. Returns
/// the port to call.
pub(crate) async fn behind_tls(port: u16) -> u16 {
    let acceptor = tls_acceptor("server");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let own = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let (Ok(mut client), Ok(mut server)) =
                    (acceptor.accept(stream).await, TcpStream::connect(("127.0.0.1", port)).await)
                else {
                    return;
                };
                let _ = copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    own
}
