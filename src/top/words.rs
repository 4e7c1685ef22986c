//! Numbers as people read them.

/// A count: `512`, `12.3 k`, `4.56 M`.
pub fn count(n: f64) -> String {
    match n {
        n if n >= 1e6 => format!("{:.2} M", n / 1e6),
        n if n >= 1e4 => format!("{:.1} k", n / 1e3),
        n => format!("{n:.0}"),
    }
}

/// A rate, with a fraction where it is small.
pub fn rate(n: f64) -> String {
    if n > 0.0 && n < 10.0 { format!("{n:.1}") } else { count(n) }
}

/// A share of one.
pub fn percent(share: Option<f64>) -> String {
    share.map_or("-".to_owned(), |share| format!("{:.1} %", share * 100.0))
}

/// A size.
pub fn bytes(n: f64) -> String {
    const UNITS: [(&str, f64); 3] = [("GiB", (1u64 << 30) as f64), ("MiB", (1u64 << 20) as f64), ("KiB", 1024.0)];
    match UNITS.iter().find(|(_, unit)| n >= *unit) {
        Some((name, unit)) => format!("{:.1} {name}", n / unit),
        None => format!("{n:.0} B"),
    }
}

/// A latency, from seconds.
pub fn latency(seconds: Option<f64>) -> String {
    match seconds {
        None => "-".to_owned(),
        Some(seconds) if seconds >= 1.0 => format!("{seconds:.2} s"),
        Some(seconds) if seconds >= 1e-2 => format!("{:.1} ms", seconds * 1e3),
        Some(seconds) if seconds >= 1e-3 => format!("{:.2} ms", seconds * 1e3),
        Some(seconds) => format!("{:.0} us", seconds * 1e6),
    }
}

/// A span of time, in its two largest units.
pub fn span(seconds: f64) -> String {
    let s = seconds.max(0.0) as u64;
    match (s / 86_400, s / 3600 % 24, s / 60 % 60) {
        (0, 0, 0) => format!("{s}s"),
        (0, 0, m) => format!("{m}m {}s", s % 60),
        (0, h, m) => format!("{h}h {m}m"),
        (d, h, _) => format!("{d}d {h}h"),
    }
}

/// The beginning of a text that fits into so many columns; what is shown of keys is ASCII.
pub fn shortened(text: &str, room: usize) -> String {
    if text.len() <= room {
        return text.to_owned();
    }
    let end = text.char_indices().map(|(at, _)| at).take_while(|at| *at < room).last().unwrap_or_default();
    format!("{}~", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!([count(0.0), count(9999.0), count(12_345.0), count(4_560_000.0)], ["0", "9999", "12.3 k", "4.56 M"]);
        assert_eq!([rate(0.0), rate(0.25), rate(12.0)], ["0", "0.2", "12"]);
        assert_eq!([percent(None), percent(Some(0.974))], ["-", "97.4 %"]);
        assert_eq!([bytes(12.0), bytes(1536.0), bytes(268_435_456.0)], ["12 B", "1.5 KiB", "256.0 MiB"]);
        assert_eq!([latency(None), latency(Some(85e-6)), latency(Some(0.0123))], ["-", "85 us", "12.3 ms"]);
        assert_eq!([span(3.9), span(75.0), span(3700.0), span(200_000.0)], ["3s", "1m 15s", "1h 1m", "2d 7h"]);
        assert_eq!([shortened("abcdef", 6), shortened("abcdef", 4), shortened("abc", 0)], ["abcdef", "abc~", "~"]);
    }
}
