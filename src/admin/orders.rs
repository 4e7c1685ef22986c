//! What is done: POST with a JSON body.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::sync::oneshot;

use super::pages::answer;
use super::refusal::Refusal;
use crate::app::App;
use crate::orders::{Order, Outcome};
use crate::{config, operator};

/// Bytes of a body.
const MOST_BYTES: usize = 1 << 20;
/// How long a body may take to come.
const BODY: Duration = Duration::from_secs(10);
/// How long a reload is waited for; checking a configuration opens files and does nothing slower.
const RELOAD: Duration = Duration::from_secs(30);

const PURGE: &str = r#"send {"key": "..."}, {"keys": ["...", ...]}, {"prefix": "..."} or {"all": true}; "upstream": "name" may stand beside a key or prefix"#;
const LOG: &str = r#"send {"level": "debug", "for": "5m"}; without "for" it holds until the next one, or a reload that changes log.level"#;
const LADDER: &str = r#"send {"upstream": "main", "rung": "reject", "for": "30s"}; without "for" it holds until {"upstream": "main", "rung": "auto"}"#;

/// What goes from the near-cache. One of the first four.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Purge {
    key: Option<String>,
    keys: Option<Vec<String>>,
    prefix: Option<String>,
    all: Option<bool>,
    /// Where the keys belong; by default where the routes say, and every upstream for a prefix.
    upstream: Option<String>,
}

/// A rung for an upstream.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ladder {
    upstream: String,
    /// The rung's name, or `auto`.
    rung: String,
    #[serde(rename = "for")]
    lasts: Option<String>,
}

/// Levels of the log.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Log {
    level: String,
    #[serde(rename = "for")]
    lasts: Option<String>,
}

/// `POST /purge`
pub(super) async fn purge(State(app): State<Arc<App>>, headers: HeaderMap, body: Body) -> Result<Response, Refusal> {
    let Purge { key, keys, prefix, all, upstream } = read(&headers, body, PURGE).await?;
    let refuse = |error: String| Refusal::bad(error, "GET /state lists the upstreams");
    let drop_key = |key: &str| operator::invalidate(&app, upstream.as_deref(), key.as_bytes()).map(u64::from);
    let purged = match (key, keys, prefix, all) {
        (Some(key), None, None, None) => drop_key(&key).map_err(refuse)?,
        (None, Some(keys), None, None) => {
            let mut purged = 0;
            for key in &keys {
                purged += drop_key(key).map_err(refuse)?;
            }
            purged
        }
        (None, None, Some(prefix), None) if prefix.is_empty() => {
            return Err(Refusal::bad("an empty prefix is every key", r#"say so: {"all": true}"#));
        }
        (None, None, Some(prefix), None) => {
            aside(move || operator::invalidate_prefix(&app, upstream.as_deref(), prefix.as_bytes()))
                .await
                .map_err(refuse)?
        }
        (None, None, None, Some(true)) if upstream.is_none() => {
            aside(move || Ok(operator::flush(&app))).await.map_err(refuse)?
        }
        (None, None, None, Some(true)) => {
            return Err(Refusal::bad("all is the whole near-cache, of every upstream", "leave upstream out"));
        }
        _ => return Err(Refusal::bad("the body says not, or more than once, what is to go", PURGE)),
    };
    tracing::info!(purged, "POST /purge");
    Ok(answer(&json!({"purged": purged})))
}

/// Walks the near-cache away from this thread, which accepts the clients.
async fn aside(walk: impl FnOnce() -> Result<u64, String> + Send + 'static) -> Result<u64, String> {
    let walked = tokio::task::spawn_blocking(walk).await;
    walked.unwrap_or_else(|error| Err(format!("a defect of Larder, please report it: {error}")))
}

/// `POST /ladder`
pub(super) async fn ladder(State(app): State<Arc<App>>, headers: HeaderMap, body: Body) -> Result<Response, Refusal> {
    let Ladder { upstream, rung, lasts } = read(&headers, body, LADDER).await?;
    let done = match (&*rung, lasts.as_deref()) {
        ("auto", None) => operator::auto(&app, Some(&upstream)),
        ("auto", Some(_)) => return Err(Refusal::bad("auto has no end, so \"for\" says nothing", LADDER)),
        (rung, lasts) => operator::force(&app, &upstream, rung, lasts),
    };
    done.map_err(|error| Refusal::bad(error, LADDER))?;
    Ok(answer(&json!({"upstream": upstream, "rung": rung, "for": lasts})))
}

/// `POST /log`
pub(super) async fn log(State(app): State<Arc<App>>, headers: HeaderMap, body: Body) -> Result<Response, Refusal> {
    let Log { level, lasts } = read(&headers, body, LOG).await?;
    let refuse = |error: String| Refusal::bad(error, LOG);
    match &lasts {
        None => app.logs.set_level(&level).map_err(refuse)?,
        Some(text) => {
            let time = config::duration(text).map_err(|error| refuse(format!("for: {error}")))?;
            app.logs.set_level_for(&level, time).map_err(refuse)?;
        }
    }
    tracing::info!(level, "POST /log");
    Ok(answer(&json!({"level": level, "for": lasts})))
}

/// `POST /reload`: answers when it is done, or refused.
pub(super) async fn reload(State(app): State<Arc<App>>) -> Result<Response, Refusal> {
    let (told, outcome) = oneshot::channel();
    give(&app, Order::Reload { by: "POST /reload", told })?;
    match tokio::time::timeout(RELOAD, outcome).await {
        Ok(Ok(Outcome::Loaded { changed, needs_restart })) => {
            Ok(answer(&json!({"reloaded": true, "changed": changed, "needs_restart": needs_restart})))
        }
        Ok(Ok(Outcome::Refused(errors))) => {
            let body = json!({
                "error": "the configuration is refused; what was in effect stays in effect",
                "remedy": "correct the file (larder --config FILE --check), then reload again",
                "errors": errors,
            });
            Ok((StatusCode::UNPROCESSABLE_ENTITY, answer(&body)).into_response())
        }
        Ok(Err(_)) => {
            Err(Refusal::busy("the process ends, and reloads nothing any more", "reload the one that follows it"))
        }
        Err(_) => Err(Refusal::busy(format!("the reload took longer than {RELOAD:?}"), "see the log, or GET /state")),
    }
}

/// `POST /drain`: answers at once.
pub(super) async fn drain(State(app): State<Arc<App>>) -> Result<Response, Refusal> {
    give(&app, Order::Drain { by: "POST /drain" })?;
    Ok((StatusCode::ACCEPTED, answer(&json!({"draining": true}))).into_response())
}

fn give(app: &App, order: Order) -> Result<(), Refusal> {
    match app.orders.give(order) {
        true => Ok(()),
        false => Err(Refusal::busy("the process is busy with other orders, or ends", "try again")),
    }
}

/// Reads a body that must be JSON.
async fn read<T: DeserializeOwned>(headers: &HeaderMap, body: Body, remedy: &str) -> Result<T, Refusal> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let name = kind.split(';').next().unwrap_or_default().trim();
    if !name.eq_ignore_ascii_case("application/json") {
        return Err(Refusal::no_json(
            "the body is not declared as JSON",
            "send the header Content-Type: application/json",
        ));
    }
    let bytes = tokio::time::timeout(BODY, to_bytes(body, MOST_BYTES)).await;
    let bytes = bytes.map_err(|_| Refusal::too_slow("the body did not come in time", "send it at once"))?;
    let limit = format!("send at most {MOST_BYTES} bytes, in several requests if need be");
    let bytes = bytes.map_err(|error| Refusal::too_large(format!("the body cannot be read: {error}"), limit))?;
    serde_json::from_slice(&bytes).map_err(|error| Refusal::bad(format!("the body is not understood: {error}"), remedy))
}
