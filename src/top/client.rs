//! Asks a Larder for `/state`.

use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::config::Secret;
use crate::report::state::State;

/// The longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// The largest answer in bytes: many times what all servers of a large cluster come to.
const MOST_BYTES: usize = 64 << 20;

/// Whom to ask, and as whom.
#[derive(Clone, Debug)]
pub struct Client {
    /// `host:port` of the admin address.
    pub admin: String,
    /// What it wants to be shown.
    pub token: Option<Secret>,
}

impl Client {
    /// The state, with those samples of the history that are newer than this one.
    ///
    /// # Errors
    /// Why there is no answer, in words for people.
    pub async fn ask(&self, history_after: u64) -> Result<State, String> {
        match tokio::time::timeout(PATIENCE, self.exchange(history_after)).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("did not answer within {PATIENCE:?}")),
        }
    }

    async fn exchange(&self, history_after: u64) -> Result<State, String> {
        let stream = TcpStream::connect(&self.admin).await.map_err(|error| format!("cannot be reached: {error}"))?;
        // A name could be anybody's, and is refused: the address is not.
        let host = stream.peer_addr().map_err(|error| format!("was lost: {error}"))?;
        let broken = |error: hyper::Error| format!("does not speak HTTP as expected: {error}");
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let driver = tokio::spawn(connection);
        let answer = sender.send_request(self.request(host, history_after)?).await.map_err(broken)?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), MOST_BYTES).collect().await;
        driver.abort();
        match status {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED => return Err("asks for its token: --token-file FILE (admin.token)".to_owned()),
            status => return Err(format!("answers with status {status}")),
        }
        let body = body.map_err(|error| format!("was lost: {error}"))?.to_bytes();
        serde_json::from_slice(&body)
            .map_err(|error| format!("is of another version, or no Larder: /state is not understood: {error}"))
    }

    fn request(&self, host: SocketAddr, history_after: u64) -> Result<Request<Empty<Bytes>>, String> {
        let path = format!("/state?events_after=0&history_after={history_after}");
        let mut request = Request::get(path).header(header::HOST, host.to_string());
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {}", token.expose()));
        }
        request.body(Empty::new()).map_err(|error| format!("cannot be asked: {error}"))
    }
}
