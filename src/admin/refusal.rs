//! What is said instead: a status, and as JSON what is wrong and what would help.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// A request that is not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    status: StatusCode,
    error: String,
    remedy: String,
}

impl Refusal {
    fn new(status: StatusCode, error: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { status, error: error.into(), remedy: remedy.into() }
    }

    /// 400: what was sent is not understood, or names what there is not.
    pub fn bad(error: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error, remedy)
    }

    /// 401: the token is missing or another one.
    pub fn unauthorized(error: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, error, remedy)
    }

    /// 403: a web page of somebody else's may be behind it.
    pub fn forbidden(error: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, error, remedy)
    }

    /// 404: there is no such path.
    pub fn unknown(error: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, error, remedy)
    }

    /// 405: the path takes another method.
    pub fn wrong_method(error: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, error, remedy)
    }

    /// 408: the body did not come in time.
    pub fn too_slow(error: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, error, remedy)
    }

    /// 413: the body is too large.
    pub fn too_large(error: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, error, remedy)
    }

    /// 415: the body is something else than JSON.
    pub fn no_json(error: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, error, remedy)
    }

    /// 503: not now.
    pub fn busy(error: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, error, remedy)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = json!({"error": self.error, "remedy": self.remedy});
        let mut response =
            (self.status, [(header::CONTENT_TYPE, super::pages::JSON)], format!("{body}\n")).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            let challenge = header::HeaderValue::from_static("Bearer realm=\"larder\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}
