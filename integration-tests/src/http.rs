//! One HTTP request on a connection of its own, and the whole answer.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status code.
    pub status: u16,
    /// The lines of its head, in small letters.
    pub head: String,
    /// Its body.
    pub body: String,
}

/// GET, with these further lines of the head.
pub fn look(address: SocketAddr, path: &str, headers: &[&str]) -> Answer {
    exchange(address, "GET", path, headers, "")
}

/// POST with a body that is declared as JSON, and these further lines of the head.
pub fn post(address: SocketAddr, path: &str, headers: &[&str], body: &str) -> Answer {
    let mut headers = headers.to_vec();
    if !body.is_empty() {
        headers.push("Content-Type: application/json");
    }
    exchange(address, "POST", path, &headers, body)
}

fn exchange(address: SocketAddr, method: &str, path: &str, headers: &[&str], body: &str) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap_or_else(|error| panic!("admin address {address}: {error}"));
    stream.set_read_timeout(Some(Duration::from_secs(40))).expect("a timeout over zero is accepted");
    // Version 1.0: the answer ends with the connection and comes in one piece.
    let mut request = format!("{method} {path} HTTP/1.0\r\nContent-Length: {}\r\n", body.len());
    if !headers.iter().any(|line| line.starts_with("Host:")) {
        request += &format!("Host: {address}\r\n");
    }
    headers.iter().for_each(|line| request += &format!("{line}\r\n"));
    stream.write_all(format!("{request}\r\n{body}").as_bytes()).expect("the address takes a request");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("the address answers");
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.unwrap_or_else(|| panic!("not HTTP: {head}"));
    Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
}
