//! The admin address: HTTP for those who look after the process.
//!
//! It runs on the control thread, never on a worker: a slow scrape delays no command, and a worker that is busy delays
//! no scrape. Only the composition root knows it.
//!
//! * `door`: accepts connections and bounds them;
//! * `gate`: who may ask: the token, and no web page of somebody else's;
//! * `pages`: what is shown; `dashboard` is one of them;
//! * `orders`: what is done;
//! * `refusal`: what is said instead.

mod dashboard;
mod door;
mod gate;
mod orders;
mod pages;
mod refusal;

use std::io;
use std::sync::Arc;

use axum::Router;
use axum::http::{Method, Uri};
use axum::middleware;
use axum::routing::{get, post};
use tokio::net::TcpListener;

use crate::app::App;
use crate::config;
use refusal::Refusal;

/// What there is, for whoever asks for something else.
const PATHS: &str = "GET /, /livez, /readyz, /metrics, /config, /state; POST /purge, /ladder, /log, /reload, /drain";

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

/// Serves the admin address, for ever.
pub async fn serve(listener: TcpListener, app: Arc<App>) {
    door::keep(listener, router(app)).await;
}

fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/", get(dashboard::page))
        .route("/livez", get(pages::alive))
        .route("/readyz", get(pages::ready))
        .route("/metrics", get(pages::metrics))
        .route("/config", get(pages::configuration))
        .route("/state", get(pages::state))
        .route("/purge", post(orders::purge))
        .route("/ladder", post(orders::ladder))
        .route("/log", post(orders::log))
        .route("/reload", post(orders::reload))
        .route("/drain", post(orders::drain))
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn_with_state(Arc::clone(&app), gate::guard))
        .with_state(app)
}

async fn unknown(uri: Uri) -> Refusal {
    Refusal::unknown(format!("there is no {}", uri.path()), format!("there is: {PATHS}"))
}

async fn wrong_method(method: Method, uri: Uri) -> Refusal {
    Refusal::wrong_method(format!("{} does not take {method}", uri.path()), format!("there is: {PATHS}"))
}

#[cfg(test)]
mod tests;
