//! The samples as OpenMetrics text, version 1.0.0 (<https://prometheus.io/docs/specs/om/open_metrics_spec/>).
//!
//! metrics-exporter-prometheus 0.18 writes the older format only. The two differ little: a family is named without the `_total` of its
//! counter or the `_info` of its constant, the parts of a histogram are one family, a bound is written with its fraction, and the page says
//! where it ends.

use std::fmt::Write;

use super::{Kind, Sample};

/// The ends of the names of a histogram's parts, of which the first comes first.
const PARTS: [&str; 3] = ["_seconds_bucket", "_seconds_sum", "_seconds_count"];

/// Writes the page.
pub fn render(samples: &[Sample]) -> String {
    let mut page = String::new();
    let mut before = "";
    for sample in samples {
        let (family, kind) = family(sample);
        if family != before {
            before = family;
            // Writing to a string cannot fail.
            let _ = write!(page, "# TYPE {family} {kind}\n# HELP {family} {}\n", escaped(sample.help));
        }
        page.push_str(sample.name);
        if !sample.labels.is_empty() {
            let label = |(name, value): &(&str, String)| match *name {
                "le" => format!("le=\"{}\"", bound(value)),
                _ => format!("{name}=\"{}\"", escaped(value)),
            };
            let labels: Vec<String> = sample.labels.iter().map(label).collect();
            let _ = write!(page, "{{{}}}", labels.join(","));
        }
        let _ = writeln!(page, " {}", sample.value);
    }
    page.push_str("# EOF\n");
    page
}

/// The family that a sample belongs to, and its type.
fn family(sample: &Sample) -> (&'static str, &'static str) {
    if let Some(part) = PARTS.iter().find(|part| sample.name.ends_with(**part)) {
        return (&sample.name[..sample.name.len() - part.len() + "_seconds".len()], "histogram");
    }
    match sample.kind {
        Kind::Counter => (sample.name.strip_suffix("_total").unwrap_or(sample.name), "counter"),
        Kind::Gauge => match sample.name.strip_suffix("_info") {
            Some(family) => (family, "info"),
            None => (sample.name, "gauge"),
        },
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// A bound is a floating-point number also where it is whole.
fn bound(le: &str) -> String {
    if le.bytes().all(|byte| byte.is_ascii_digit()) { format!("{le}.0") } else { le.to_owned() }
}
