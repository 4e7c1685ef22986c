//! What is shown.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::refusal::Refusal;
use crate::app::App;
use crate::metrics;
use crate::report::readiness::readiness;
use crate::report::state::{self, Since};

/// What Prometheus expects of its own text format.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4";
/// The same of OpenMetrics (<https://prometheus.io/docs/specs/om/open_metrics_spec/>).
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PLAIN: &str = "text/plain; charset=utf-8";
const YAML: &str = "application/yaml; charset=utf-8";
pub(super) const JSON: &str = "application/json";

/// `GET /livez`: the process runs.
pub(super) async fn alive() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, PLAIN)], "ok\n")
}

/// `GET /readyz`: whether clients should be sent here; 503 if not.
pub(super) async fn ready(State(app): State<Arc<App>>) -> Response {
    let readiness = readiness(&app);
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = json!({"ready": readiness.ready, "stage": app.stage().name(), "reasons": readiness.reasons});
    (status, answer(&body)).into_response()
}

/// `GET /metrics`: in the format that is asked for.
pub(super) async fn metrics(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    let samples = metrics::samples(&app);
    let (format, page) = match wants_open_metrics(&headers) {
        true => (OPEN_METRICS, metrics::openmetrics::render(&samples)),
        false => (TEXT_FORMAT, metrics::render(&samples)),
    };
    ([(header::CONTENT_TYPE, format)], page).into_response()
}

/// `GET /config`: the configuration in effect, without its secrets.
pub(super) async fn configuration(State(app): State<Arc<App>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, YAML)], app.rules().config.to_string())
}

/// `GET /state`: everything that the dashboard shows.
pub(super) async fn state(State(app): State<Arc<App>>, uri: Uri) -> Response {
    match since(uri.query().unwrap_or_default()) {
        Ok(since) => answer(&state::state(&app, since)).into_response(),
        Err(refusal) => refusal.into_response(),
    }
}

/// A JSON document as an answer that nobody keeps.
pub(super) fn answer(body: &impl serde::Serialize) -> Response {
    match serde_json::to_string(body) {
        Ok(text) => {
            let headers = [(header::CONTENT_TYPE, JSON), (header::CACHE_CONTROL, "no-store")];
            (headers, format!("{text}\n")).into_response()
        }
        // What is shown has only text for keys; were it otherwise, the answer says so.
        Err(error) => Refusal::busy(format!("this cannot be shown as JSON: {error}"), "report this").into_response(),
    }
}

/// Whether the client prefers OpenMetrics: it is among what it accepts, and not ruled out by a weight of 0. Prometheus says both, and this
/// one first.
fn wants_open_metrics(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("application/openmetrics-text"));
        let nothing = |part: &str| part.strip_prefix("q=").is_some_and(|q| q.parse::<f32>().is_ok_and(|q| q == 0.0));
        named && !parts.any(nothing)
    })
}

/// Reads `events_after=N` and `history_after=N`.
fn since(query: &str) -> Result<Since, Refusal> {
    const REMEDY: &str = "GET /state takes events_after and history_after, both with a number";
    let mut since = Since::default();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let place = match name {
            "events_after" => &mut since.events_after,
            "history_after" => &mut since.history_after,
            _ => return Err(Refusal::bad(format!("there is no parameter {name:?}"), REMEDY)),
        };
        *place = value.parse().map_err(|_| Refusal::bad(format!("{name}: {value:?} is no number"), REMEDY))?;
    }
    Ok(since)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn openmetrics_is_for_those_who_accept_it() {
        let asked = |accept: &'static str| {
            let headers = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(accept))]);
            wants_open_metrics(&headers)
        };
        assert!(asked("application/openmetrics-text"));
        assert!(asked("application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1"));
        assert!(asked("text/html, Application/OpenMetrics-Text; version=0.0.1"));
        assert!(!asked("text/plain") && !asked("*/*") && !asked("application/openmetrics-text;q=0"));
        assert!(!wants_open_metrics(&HeaderMap::new()));
    }

    #[test]
    fn parameters_are_read_or_refused() {
        assert_eq!(since(""), Ok(Since::default()));
        assert_eq!(since("events_after=7&history_after=9"), Ok(Since { events_after: 7, history_after: 9 }));
        for wrong in
            ["events_after=x", "events_after", "history_after=-1", "after=1", "events_after=99999999999999999999"]
        {
            assert!(since(wrong).is_err(), "{wrong}");
        }
    }
}
