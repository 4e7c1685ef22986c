//! Where traces of some commands go.

use super::fault::{Wrong, shown};
use super::section::Section;
use super::tree::Value;
use super::units;

/// Traces of some commands, sent to an OpenTelemetry collector.
#[derive(Clone, Debug, PartialEq)]
pub struct Traces {
    /// The collector's address for OTLP over HTTP, as `http://127.0.0.1:4318`; `/v1/traces` is added where there is no path. Default: none, nothing
    /// is traced.
    pub endpoint: Option<String>,
    /// Share of the reads from clients' sockets of which the first command is traced. Default: 1%. Raise it for a while to look closer.
    pub sample: f64,
    /// Under which name the traces appear (`service.name`). Default: `larder`.
    pub service_name: String,
}

const ENDPOINT: &str = "write the address of a collector, such as http://127.0.0.1:4318";

// === impl Traces ===

impl Default for Traces {
    fn default() -> Traces {
        Traces { endpoint: None, sample: 0.01, service_name: "larder".to_owned() }
    }
}

impl Traces {
    pub(super) fn read(mut section: Section<'_>) -> Traces {
        let default = Traces::default();
        let traces = Traces {
            endpoint: section.optional("endpoint", endpoint),
            sample: section.value("sample", default.sample, units::share),
            service_name: section.value("service_name", default.service_name, units::text),
        };
        for key in ["sample", "service_name"] {
            if !section.has("endpoint") && section.has(key) {
                let problem = format!("{key} says nothing without endpoint");
                section.report(key, Wrong::new(problem, "add endpoint, or remove it"));
            }
        }
        section.finish();
        traces
    }
}

/// A URL with the scheme http or https, a host, and nobody's name or password.
fn endpoint(value: &Value) -> Result<String, Wrong> {
    let text = units::text(value)?;
    let wrong = |problem: &str| Wrong::new(format!("\"{}\" {problem}", shown(&text)), ENDPOINT);
    let Some(rest) = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://")) else {
        return Err(wrong("begins with neither http:// nor https://"));
    };
    let (authority, path) = rest.split_once('/').map_or((rest, ""), |(authority, path)| (authority, path));
    if authority.contains('@') {
        // What stands before @ may be a password: it is not repeated.
        return Err(Wrong::new(
            "there is a user or a password in the address",
            "set OTEL_EXPORTER_OTLP_HEADERS instead",
        ));
    }
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '?' | '#' | '\\' | '"' | '<' | '>');
    if authority.is_empty() || !rest.chars().all(plain) {
        return Err(wrong("is not the address of a collector"));
    }
    let path = path.trim_end_matches('/');
    let scheme = &text[..text.len() - rest.len()];
    Ok(match path {
        "" => format!("{scheme}{authority}/v1/traces"),
        path => format!("{scheme}{authority}/{path}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, String> {
        endpoint(&Value::Text(text.to_owned())).map_err(|wrong| wrong.problem)
    }

    #[test]
    fn an_endpoint_is_a_url_with_the_path_of_the_protocol() {
        assert_eq!(read("http://127.0.0.1:4318").as_deref(), Ok("http://127.0.0.1:4318/v1/traces"));
        assert_eq!(read("https://otel.example.org/").as_deref(), Ok("https://otel.example.org/v1/traces"));
        assert_eq!(read("http://[::1]:4318/v1/traces").as_deref(), Ok("http://[::1]:4318/v1/traces"));
        assert_eq!(read("http://h/otlp/traces/").as_deref(), Ok("http://h/otlp/traces"));
    }

    #[test]
    fn what_is_no_endpoint_is_refused_without_repeating_a_password() {
        for text in ["127.0.0.1:4318", "grpc://h:4317", "http://", "http:///v1/traces", "http://a b", "http://h?x=1"] {
            assert!(read(text).is_err(), "{text}");
        }
        let wrong = read("http://user:hush@h").unwrap_err();
        assert!(!wrong.contains("hush"), "{wrong}");
    }
}
