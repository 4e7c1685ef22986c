//! Byte streams: TCP, Unix sockets and TLS over TCP, as one type for listeners and upstreams.

use std::io;
use std::path::Path;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig, server::WebPkiClientVerifier};

use crate::config::{Address, ListenerTls, UpstreamTls};

/// A connected stream.
#[derive(Debug)]
pub enum Stream {
    /// Plain TCP.
    Tcp(TcpStream),
    /// A Unix socket.
    Unix(UnixStream),
    /// TLS, either side.
    Tls(Box<tokio_rustls::TlsStream<TcpStream>>),
}

/// Connects to an endpoint, with TLS where `tls` says how.
pub async fn connect(address: &Address, tls: Option<&Arc<ClientTls>>) -> io::Result<Stream> {
    match (address, tls) {
        (Address::Unix(path), _) => Ok(Stream::Unix(UnixStream::connect(path).await?)),
        (Address::Tcp { host, port }, tls) => {
            let stream = TcpStream::connect((host.as_str(), *port)).await?;
            stream.set_nodelay(true)?;
            let Some(tls) = tls else { return Ok(Stream::Tcp(stream)) };
            let name = tls.server_name.clone().unwrap_or_else(|| host.clone());
            let name = ServerName::try_from(name).map_err(io::Error::other)?;
            let stream = TlsConnector::from(Arc::clone(&tls.config)).connect(name, stream).await?;
            Ok(Stream::Tls(Box::new(stream.into())))
        }
    }
}

/// How to speak TLS to an upstream.
#[derive(Debug)]
pub struct ClientTls {
    config: Arc<ClientConfig>,
    server_name: Option<String>,
}

impl ClientTls {
    /// Reads the files that the configuration names. The error says which file is at fault.
    pub fn load(config: &UpstreamTls) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        match &config.ca {
            Some(path) => {
                for certificate in certificates(path)? {
                    roots.add(certificate).map_err(|error| format!("{}: {error}", path.display()))?;
                }
            }
            None => add_system_roots(&mut roots)?,
        }
        let builder = ClientConfig::builder().with_root_certificates(roots);
        let built = match (&config.cert, &config.key) {
            (Some(cert), Some(key)) => builder
                .with_client_auth_cert(certificates(cert)?, private_key(key)?)
                .map_err(|error| format!("{}: {error}", cert.display()))?,
            _ => builder.with_no_client_auth(),
        };
        Ok(Self { config: Arc::new(built), server_name: config.server_name.clone() })
    }
}

/// TLS towards servers whose certificates come from the authorities of the operating system.
pub fn trusting_system() -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    add_system_roots(&mut roots)?;
    Ok(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
}

/// TLS towards nobody: for those who speak without it and have to name something.
pub fn trusting_nobody() -> Result<ClientConfig, String> {
    Ok(ClientConfig::builder().with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

/// The authorities that the operating system trusts, or those of the file that `SSL_CERT_FILE` names, as OpenSSL does.
fn add_system_roots(roots: &mut RootCertStore) -> Result<(), String> {
    let found = rustls_native_certs::load_native_certs();
    // Systems carry some that are malformed by today's rules; the others are as good as ever.
    let (usable, _) = roots.add_parsable_certificates(found.certs);
    if usable > 0 {
        return Ok(());
    }
    let why = found.errors.first().map_or("there are none".to_owned(), ToString::to_string);
    Err(format!("no authorities of the operating system: {why}; name a file with the right one as ca"))
}

/// How to speak TLS to clients. The error says which file is at fault.
pub fn server_tls(config: &ListenerTls) -> Result<Arc<ServerConfig>, String> {
    let builder = match &config.client_ca {
        None => ServerConfig::builder().with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(|error| format!("{}: {error}", path.display()))?;
            }
            let verifier = WebPkiClientVerifier::builder(Arc::new(roots))
                .build()
                .map_err(|error| format!("{}: {error}", path.display()))?;
            ServerConfig::builder().with_client_cert_verifier(verifier)
        }
    };
    let built = builder
        .with_single_cert(certificates(&config.cert)?, private_key(&config.key)?)
        .map_err(|error| format!("{}: {error}", config.cert.display()))?;
    Ok(Arc::new(built))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let place =
        |error: &dyn std::fmt::Display| format!("{}: {error}; a PEM file with certificates is needed", path.display());
    let read: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).map_err(|error| place(&error))?.collect();
    let read = read.map_err(|error| place(&error))?;
    if read.is_empty() { Err(place(&"no certificate in it")) } else { Ok(read) }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_file(path)
        .map_err(|error| format!("{}: {error}; a PEM file with a private key is needed", path.display()))
}

// === impl Stream ===

impl Stream {
    /// What is written from here on leaves with the end of the stream, which must come at once: who reads the last reply has the end
    /// already.
    pub fn hold_back(&self) {
        let socket = match self {
            Self::Tcp(stream) => stream,
            Self::Tls(stream) => stream.get_ref().0,
            Self::Unix(_) => return,
        };
        // Without it the end comes a little later, which is allowed too.
        #[cfg(target_os = "linux")]
        let _ = rustix::net::sockopt::set_tcp_cork(socket, true);
        #[cfg(not(target_os = "linux"))]
        let _ = socket;
    }

    /// Whether the other side has said that it will send no more, though what it has sent before is not read yet.
    pub fn peer_has_closed(&self) -> bool {
        let ready = async {
            match self {
                Self::Tcp(stream) => stream.ready(Interest::READABLE).await,
                Self::Unix(stream) => stream.ready(Interest::READABLE).await,
                Self::Tls(stream) => stream.get_ref().0.ready(Interest::READABLE).await,
            }
        };
        // Looked at once: a stream that is not readable has not closed.
        let polled = pin!(ready).poll(&mut Context::from_waker(Waker::noop()));
        matches!(polled, Poll::Ready(Ok(ready)) if ready.is_read_closed())
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
