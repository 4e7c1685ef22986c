//! The figures that INFO, LARDER STATS and `/state` show: those of `/metrics`, under the same names without the prefix.

use crate::app::App;
use crate::metrics::{self, Sample};

/// A figure: its name, with the labels in braces (`cache_invalidations_total{cause=push}`), and its value.
pub type Figure = (String, f64);

/// What only `/metrics` shows, for machines: the buckets of a histogram, and the version as a label.
const LEFT_OUT: [&str; 2] = ["_seconds_bucket", "_build_info"];

/// Every figure, in the order of `/metrics`, then the hit ratio.
pub fn figures(app: &App) -> Vec<Figure> {
    let samples = metrics::samples(app);
    let shown = samples.iter().filter(|sample| !LEFT_OUT.iter().any(|end| sample.name.ends_with(end)));
    let mut figures: Vec<Figure> = shown.map(|sample| (name(sample), sample.value)).collect();
    let ratio = hit_ratio(value(&figures, "cache_hits_total"), value(&figures, "cache_misses_total"));
    figures.push(("cache_hit_ratio".to_owned(), ratio));
    figures
}

/// The value of a figure; 0 where there is none.
pub fn value(figures: &[Figure], name: &str) -> f64 {
    figures.iter().find(|(known, _)| known == name).map_or(0.0, |(_, value)| *value)
}

/// A value in digits, without a fraction where it has none.
pub fn digits(value: f64) -> String {
    match whole(value) {
        Some(number) => number.to_string(),
        None => format!("{value:.6}"),
    }
}

/// The integer that a value is, if it is one.
pub fn whole(value: f64) -> Option<i64> {
    // Beyond 2^53 not every integer is an f64; no figure gets there.
    (value.fract() == 0.0 && value.abs() < 9e15).then_some(value as i64)
}

fn name(sample: &Sample) -> String {
    let name = sample.name.strip_prefix("larder_").unwrap_or(sample.name);
    if sample.labels.is_empty() {
        return name.to_owned();
    }
    let labels: Vec<String> = sample.labels.iter().map(|(label, value)| format!("{label}={value}")).collect();
    format!("{name}{{{}}}", labels.join(","))
}

/// The share of cacheable reads that the near-cache answered; 0 before the first.
fn hit_ratio(hits: f64, misses: f64) -> f64 {
    let reads = hits + misses;
    if reads > 0.0 { hits / reads } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Kind;

    #[test]
    fn a_figure_is_named_after_its_metric_with_the_labels_behind() {
        let sample = |labels| Sample { name: "larder_x_total", help: "", kind: Kind::Counter, labels, value: 1.0 };
        assert_eq!(name(&sample(Vec::new())), "x_total");
        let labels = vec![("cause", "push".to_owned()), ("mode", "ttl".to_owned())];
        assert_eq!(name(&sample(labels)), "x_total{cause=push,mode=ttl}");
    }

    #[test]
    fn whole_values_have_no_fraction() {
        assert_eq!(digits(12.0), "12");
        assert_eq!(digits(0.25), "0.250000");
        assert_eq!(hit_ratio(0.0, 0.0), 0.0);
        assert_eq!(hit_ratio(3.0, 1.0), 0.75);
    }
}
