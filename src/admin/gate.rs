//! Who may ask: whoever has the token, and no web page of somebody else's that a browser happens to show.
//!
//! A browser on the operator's machine reaches the loopback address too, and it sends what any page in it asks for. Two things give such a
//! page away: `Origin`, which a browser adds to every POST and which is not ours; and a name in `Host`, by which a page reaches an address
//! that its own DNS server has just made up (DNS rebinding). With a token neither helps it: it does not know the token.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::refusal::Refusal;
use crate::app::App;
use crate::config::Secret;

/// What is shown without a token: whether the process lives and is ready, and the page that asks for the token.
const OPEN: [&str; 3] = ["/", "/livez", "/readyz"];
/// What may be asked for under a name that is no IP address, without a token: it tells nothing of keys, and Prometheus finds its targets by
/// name.
const BY_NAME: [&str; 4] = ["/", "/livez", "/readyz", "/metrics"];

/// Lets a request pass, or refuses it.
pub(super) async fn guard(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let rules = app.rules();
    let token = rules.config.admin.token.as_ref();
    match judge(token, request.method(), request.uri().path(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

fn judge(token: Option<&Secret>, method: &Method, path: &str, headers: &HeaderMap) -> Result<(), Refusal> {
    let looks = method == Method::GET || method == Method::HEAD;
    let host = headers.get(header::HOST).map(|host| host.to_str().unwrap_or_default());
    if let Some(token) = token {
        let open = looks && OPEN.contains(&path);
        if !open && !shows(headers, token) {
            return Err(Refusal::unauthorized(
                "this needs the token of admin.token",
                "send the header Authorization: Bearer TOKEN",
            ));
        }
    } else if let Some(host) = host
        && !(looks && BY_NAME.contains(&path))
        && !is_address(host)
    {
        return Err(Refusal::forbidden(
            format!("the host name {host:?} could be anybody's, and no token is configured"),
            "ask by IP address or as localhost, or set admin.token_file",
        ));
    }
    let origin = headers.get(header::ORIGIN).map(|origin| origin.to_str().unwrap_or_default());
    if let Some(origin) = origin
        && !looks
        && !is_own(origin, host)
    {
        return Err(Refusal::forbidden(
            format!("the web page of {origin:?} is not Larder's own"),
            "use the dashboard of this address, or a client that sends no Origin",
        ));
    }
    Ok(())
}

/// Whether the request has the token. Digests are compared, so that the time it takes tells neither the token nor its length.
fn shows(headers: &HeaderMap, token: &Secret) -> bool {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| {
        let (scheme, given) = value.as_bytes().split_at_checked(7)?;
        scheme.eq_ignore_ascii_case(b"bearer ").then_some(given.trim_ascii())
    });
    let digest = |text: &[u8]| Sha256::digest(text);
    given.is_some_and(|given| digest(given).ct_eq(&digest(token.expose().as_bytes())).into())
}

/// Whether a host with or without a port is an IP address or localhost.
fn is_address(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

fn is_own(origin: &str, host: Option<&str>) -> bool {
    let place = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    place.is_some_and(|place| host.is_some_and(|host| place.eq_ignore_ascii_case(host)))
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn passes(token: Option<&str>, method: Method, path: &str, headers: &[(HeaderName, &'static str)]) -> bool {
        let headers = headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect();
        judge(token.map(Secret::new).as_ref(), &method, path, &headers).is_ok()
    }

    #[test]
    fn with_a_token_everything_but_health_and_the_bare_page_needs_it() {
        const RIGHT: (HeaderName, &str) = (header::AUTHORIZATION, "Bearer s3cret");
        for path in ["/metrics", "/config", "/state", "/nothing"] {
            assert!(!passes(Some("s3cret"), Method::GET, path, &[]), "{path}");
            assert!(passes(Some("s3cret"), Method::GET, path, &[RIGHT]), "{path}");
        }
        for path in ["/purge", "/ladder", "/log", "/reload", "/drain", "/"] {
            assert!(!passes(Some("s3cret"), Method::POST, path, &[]), "{path}");
            assert!(passes(Some("s3cret"), Method::POST, path, &[RIGHT]), "{path}");
        }
        for path in OPEN {
            assert!(passes(Some("s3cret"), Method::GET, path, &[]), "{path}");
        }
        for wrong in ["Bearer s3cre", "Bearer s3cret0", "Bearer ", "Bearer", "Basic s3cret", "s3cret", ""] {
            assert!(!passes(Some("s3cret"), Method::GET, "/state", &[(header::AUTHORIZATION, wrong)]), "{wrong}");
        }
        assert!(passes(Some("s3cret"), Method::GET, "/state", &[(header::AUTHORIZATION, "bearer  s3cret ")]));
    }

    #[test]
    fn a_page_of_another_origin_gives_no_orders() {
        let own = (header::HOST, "127.0.0.1:9180");
        let from = |origin| [own.clone(), (header::ORIGIN, origin)];
        for token in [None, Some("s3cret")] {
            let mut headers = from("http://127.0.0.1:9180").to_vec();
            headers.push((header::AUTHORIZATION, "Bearer s3cret"));
            assert!(passes(token, Method::POST, "/reload", &headers));
            for origin in ["http://evil.example", "null", "http://127.0.0.1:80", "127.0.0.1:9180", ""] {
                headers[1].1 = origin;
                assert!(!passes(token, Method::POST, "/reload", &headers), "{origin}");
            }
        }
        assert!(!passes(None, Method::POST, "/reload", &[(header::ORIGIN, "http://x")]), "no host to compare with");
    }

    #[test]
    fn a_name_that_could_be_anybodys_is_refused_without_a_token() {
        let to = |host| [(header::HOST, host)];
        for host in ["evil.example", "evil.example:9180", "127.0.0.1.evil.example", "", "localhost.evil"] {
            for (method, path) in [(Method::POST, "/drain"), (Method::GET, "/state"), (Method::GET, "/config")] {
                assert!(!passes(None, method, path, &to(host)), "{host}");
            }
            assert!(passes(None, Method::GET, "/metrics", &to(host)) && passes(None, Method::GET, "/", &to(host)));
        }
        for host in ["127.0.0.1", "127.0.0.1:9180", "[::1]:9180", "localhost:9180", "LOCALHOST"] {
            assert!(passes(None, Method::POST, "/drain", &to(host)), "{host}");
        }
        let shown = [(header::HOST, "larder.internal"), (header::AUTHORIZATION, "Bearer t")];
        assert!(passes(Some("t"), Method::POST, "/drain", &shown));
        assert!(passes(None, Method::POST, "/drain", &[]), "no browser leaves Host out");
    }
}
