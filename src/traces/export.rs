//! Carries batches of spans to the collector.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use opentelemetry_http::hyper::HyperClient;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use tokio::runtime::Handle;

use crate::net;

/// Longest wait for the collector's answer. The spans of a batch that takes longer are lost.
const PATIENCE: Duration = Duration::from_secs(10);

/// Makes the exporter's requests in Larder's own runtime: the exporter's thread has none.
#[derive(Debug)]
pub(super) struct Courier {
    client: Arc<HyperClient<HttpsConnector<HttpConnector>>>,
    runtime: Handle,
    /// Batches that were taken, and that were not.
    sent: Arc<[AtomicU64; 2]>,
    /// The last batch was not taken, which has been said.
    failing: AtomicBool,
}

impl Courier {
    pub(super) fn new(endpoint: &str, sent: Arc<[AtomicU64; 2]>) -> Result<Self, String> {
        let tls = if endpoint.starts_with("https:") { net::trusting_system() } else { net::trusting_nobody() };
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls?).https_or_http().enable_http1().build();
        let client = Arc::new(HyperClient::new(connector, PATIENCE, None));
        Ok(Self { client, runtime: Handle::current(), sent, failing: AtomicBool::new(false) })
    }

    /// Counts, and says when it begins to fail and when it is well again: not each time.
    fn note(&self, wrong: Option<String>) {
        self.sent[usize::from(wrong.is_some())].fetch_add(1, Ordering::Relaxed);
        match (wrong, self.failing.load(Ordering::Relaxed)) {
            (Some(why), false) => tracing::warn!("traces are lost: the collector (traces.endpoint) {why}"),
            (None, true) => tracing::info!("traces are taken again"),
            _ => return,
        }
        self.failing.fetch_xor(true, Ordering::Relaxed);
    }
}

#[async_trait]
impl HttpClient for Courier {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = Arc::clone(&self.client);
        let sent = self.runtime.spawn(async move { client.send_bytes(request).await });
        let answer = match sent.await {
            Ok(answer) => answer,
            Err(error) => Err(error.into()),
        };
        self.note(match &answer {
            Ok(response) if response.status().is_success() => None,
            Ok(response) => Some(format!("answered {}", response.status())),
            Err(error) => Some(format!("cannot be reached: {error}")),
        });
        answer
    }
}
