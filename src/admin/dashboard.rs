//! The dashboard: one page that needs nothing but `/state`.

use std::sync::LazyLock;

use axum::http::header;
use axum::response::IntoResponse;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest, Sha256};

const PAGE: &str = include_str!("dashboard.html");

/// What a browser lets the page do: run the script and apply the style that stand in it, known by their digests, and speak to this
/// address; nothing else.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    let digest = |tag| BASE64_STANDARD.encode(Sha256::digest(inside(tag)));
    format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; img-src data:; connect-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
        digest("script"),
        digest("style"),
    )
});

/// What stands in the page's only element of that name.
fn inside(tag: &str) -> &'static str {
    let (_, rest) = PAGE.split_once(&format!("<{tag}>")).unwrap_or_default();
    rest.split_once(&format!("</{tag}>")).unwrap_or_default().0
}

/// `GET /`
pub(super) async fn page() -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY.as_str()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, PAGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_one_file_with_one_script_and_one_style() {
        for tag in ["script", "style"] {
            assert_eq!(PAGE.matches(&format!("<{tag}")).count(), 1, "{tag}");
            assert!(inside(tag).len() > 500, "{tag}");
        }
        // Neither an address of anybody else's (but for SVG's own name) nor what the policy would stop.
        let foreign = PAGE.match_indices("://").filter(|(at, _)| !PAGE[*at..].starts_with("://www.w3.org/2000/svg"));
        assert_eq!(foreign.count(), 0);
        assert!(!PAGE.contains(" style=\"") && !PAGE.contains(" onclick") && !PAGE.contains("innerHTML"));
    }
}
