//! Accepts connections, few at a time and none for long, so that whoever is slow or many exhausts nothing.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// Connections at a time; more wait in the system's queue until one ends.
const CONNECTIONS: usize = 64;
/// Within this time the head of a request must have come; also how long a connection may lie idle.
const HEAD: Duration = Duration::from_secs(10);
/// A connection that is older gets no further request. A browser or Prometheus makes another one.
const AGE: Duration = Duration::from_secs(60);
/// How long the answer that is under way then may still take.
const FAREWELL: Duration = Duration::from_secs(10);
/// Bytes of a request's head, and of what is read ahead.
const BUFFER: usize = 16 << 10;
/// After the system could not accept (no file descriptor is left).
const PAUSE: Duration = Duration::from_millis(100);

/// Serves whoever connects, for ever.
pub(super) async fn keep(listener: TcpListener, router: Router) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        // It is never closed.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let router = router.clone();
                tokio::spawn(async move {
                    serve(stream, router).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!("admin: cannot accept: {error}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, router: Router) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = pin!(connection);
    // How it ended is of no interest: whoever asked knows it.
    let ended = tokio::time::timeout(AGE, connection.as_mut()).await.is_ok();
    if !ended {
        connection.as_mut().graceful_shutdown();
        let _ = tokio::time::timeout(FAREWELL, connection).await;
    }
}
