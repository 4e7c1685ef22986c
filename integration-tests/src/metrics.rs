//! What the admin address says under `/metrics`.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// One scrape.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    samples: Vec<(String, String, f64)>,
}

impl Metrics {
    /// Asks `address` for `/metrics`; fails the test on anything but `200`.
    pub fn scrape(address: SocketAddr) -> Self {
        let (status, body) = http(address, "GET", "/metrics");
        assert_eq!(status, 200, "GET /metrics on {address}: {body}");
        Self::parse(&body)
    }

    /// Reads the Prometheus text form: `name{labels} value`, comments left out.
    pub fn parse(text: &str) -> Self {
        let sample = |line: &str| {
            let (series, value) = line.rsplit_once(' ')?;
            let value = value.parse().ok()?;
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            Some((name.to_owned(), labels.trim_end_matches('}').to_owned(), value))
        };
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        Self { samples: lines.filter_map(sample).collect() }
    }

    /// The sum over every label of `name`; 0 when there is none.
    pub fn sum(&self, name: &str) -> f64 {
        self.samples.iter().filter(|(of, _, _)| of == name).map(|(_, _, value)| value).sum()
    }

    /// The sum over the series of `name` whose labels hold this text, as `reason="fenced"`.
    pub fn sum_where(&self, name: &str, label: &str) -> f64 {
        let of = self.samples.iter().filter(|(of, labels, _)| of == name && labels.contains(label));
        of.map(|(_, _, value)| value).sum()
    }

    /// Whether there is any series of that name.
    pub fn has(&self, name: &str) -> bool {
        self.samples.iter().any(|(of, _, _)| of == name)
    }
}

/// One HTTP request without a body; the status and the body of the answer.
pub fn http(address: SocketAddr, method: &str, path: &str) -> (u16, String) {
    try_http(address, method, path).unwrap_or_else(|error| panic!("{method} http://{address}{path}: {error}"))
}

/// The same.
///
/// # Errors
/// What the socket says, or that the answer is no HTTP.
pub fn try_http(address: SocketAddr, method: &str, path: &str) -> io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    // Version 1.0: the answer ends with the connection and comes in one piece.
    let request = format!("{method} {path} HTTP/1.0\r\nHost: {address}\r\nContent-Length: 0\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| io::Error::other(format!("not HTTP: {head}")))?;
    Ok((status, body.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_added_up_and_comments_left_out() {
        let metrics =
            Metrics::parse("# HELP a_total x\n# TYPE a_total counter\na_total{w=\"0\"} 2\na_total{w=\"1\"} 3\nb 1.5\n");
        assert_eq!((metrics.sum("a_total"), metrics.sum("b"), metrics.sum("c")), (5.0, 1.5, 0.0));
        assert_eq!(metrics.sum_where("a_total", "w=\"1\""), 3.0);
        assert!(metrics.has("b") && !metrics.has("c"));
    }
}
