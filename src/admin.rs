//! The admin page: plain HTTP for those who look after the process.
//!
//! It runs on the control thread, never on a worker: a slow scrape delays no command, and a worker that is busy delays
//! no scrape. Only the composition root knows it.

use std::io;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, Uri, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;

use crate::app::App;
use crate::{config, metrics};

/// What Prometheus expects of the text format.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4";
const PLAIN: &str = "text/plain; charset=utf-8";

const INDEX: &str = "\
larder admin

  /metrics   every metric, in the text format of Prometheus (docs/metrics.md lists them)
  /livez     200 while the process runs
";

/// Binds the admin address. `None` when it is the default one and cannot be had: nobody asked for it, so Larder runs
/// without.
///
/// # Errors
/// An address that was asked for cannot be had: what is wrong, and what would help.
pub async fn bind(config: &config::Admin) -> Result<Option<TcpListener>, String> {
    let address = config.address;
    match TcpListener::bind(address).await {
        Ok(listener) => Ok(Some(listener)),
        Err(error) if !config.configured => {
            tracing::warn!("no admin page: cannot listen on {address}: {error}; --admin ADDR sets another address");
            Ok(None)
        }
        Err(error) => {
            let remedy = match error.kind() {
                io::ErrorKind::AddrInUse => {
                    "; another process listens there: stop it, or choose another address with --admin"
                }
                io::ErrorKind::PermissionDenied => "; ports below 1024 need privileges: choose a higher one",
                _ => "",
            };
            Err(format!("cannot listen on {address} (admin.address): {error}{remedy}"))
        }
    }
}

/// Takes a socket that listens already.
///
/// # Errors
/// It cannot be used.
pub fn adopt(socket: std::net::TcpListener) -> Result<TcpListener, String> {
    let adopted = socket.set_nonblocking(true).and_then(|()| TcpListener::from_std(socket));
    adopted.map_err(|error| format!("the socket of the admin page cannot be used: {error}"))
}

/// Serves the admin page, for ever.
pub async fn serve(listener: TcpListener, app: Arc<App>) {
    let routes = Router::new()
        .route("/", get(|| async { ([(header::CONTENT_TYPE, PLAIN)], INDEX) }))
        .route("/metrics", get(metrics_page))
        .route("/livez", get(|| async { ([(header::CONTENT_TYPE, PLAIN)], "ok\n") }))
        .fallback(unknown)
        .with_state(app);
    if let Err(error) = axum::serve(listener, routes).await {
        tracing::error!("the admin page ended: {error}");
    }
}

async fn metrics_page(State(app): State<Arc<App>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, TEXT_FORMAT)], metrics::render(&metrics::samples(&app)))
}

async fn unknown(uri: Uri) -> impl IntoResponse {
    let text = format!("there is no {}; GET / lists what there is\n", uri.path());
    (StatusCode::NOT_FOUND, [(header::CONTENT_TYPE, PLAIN)], text)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::config::{Admin, Config};

    /// The answer to a GET, head and body.
    async fn answer(path: &str) -> String {
        let app = crate::process::assemble(Config::embedded(), "test".to_owned())
            .expect("the embedded configuration is good");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let server = tokio::spawn(serve(listener, Arc::new(app)));
        let mut client = tokio::net::TcpStream::connect(address).await.expect("it listens");
        let request = format!("GET {path} HTTP/1.1\r\nHost: larder\r\nConnection: close\r\n\r\n");
        client.write_all(request.as_bytes()).await.expect("it reads");
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.expect("it answers in text");
        server.abort();
        answer
    }

    #[tokio::test]
    async fn metrics_come_in_the_text_format() {
        let answer = answer("/metrics").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(answer.contains("content-type: text/plain; version=0.0.4\r\n"), "{answer}");
        assert!(answer.contains("\nlarder_commands_total 0\n"), "{answer}");
    }

    #[tokio::test]
    async fn a_living_process_says_ok() {
        let answer = answer("/livez").await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\nok\n"), "{answer}");
    }

    #[tokio::test]
    async fn an_unknown_path_is_told_where_the_list_is() {
        let answer = answer("/state?x=1").await;
        assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
        assert!(answer.ends_with("there is no /state; GET / lists what there is\n"), "{answer}");
        assert!(super::INDEX.contains("/metrics") && super::INDEX.contains("/livez"));
    }

    #[tokio::test]
    async fn a_taken_address_is_an_error_only_where_it_was_asked_for() {
        let taken = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = taken.local_addr().expect("it is bound");
        let by_default = bind(&Admin { address, configured: false }).await;
        assert!(matches!(by_default, Ok(None)), "{by_default:?}");
        let error = bind(&Admin { address, configured: true }).await.expect_err("it is taken");
        assert!(error.contains("admin.address") && error.contains("--admin"), "{error}");
    }
}
