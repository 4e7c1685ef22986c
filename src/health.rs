//! `larder health`: asks a running Larder how it is, for health checks where there is no shell and no curl.
//!
//! It asks as a stranger would, over HTTP, so it sees what a probe from elsewhere sees. One request, a bounded wait, an exit code.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};

/// Exit code of a Larder that is not well, or not there. 1 is what container engines expect.
const UNWELL: u8 = 1;
/// Longest wait for a connection, and for each piece of the answer. Health checks are asked every few seconds.
const PATIENCE: Duration = Duration::from_secs(2);
/// Of an answer no more than this is read: reasons are a few lines.
const LONGEST: u64 = 64 * 1024;

/// `larder health`.
#[derive(Clone, Debug, Args)]
pub struct Health {
    /// Admin address of the Larder to ask: ip:port. An address for all interfaces, such as 0.0.0.0, is asked on loopback.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9180")]
    pub admin: SocketAddr,

    /// What to ask.
    #[arg(value_enum, default_value_t = Probe::Ready)]
    pub probe: Probe,
}

/// What a health check wants to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Probe {
    /// Does the process answer? Restart it when it does not.
    Live,
    /// Should clients be sent here? Do not restart it when not: what it has cached is what an outage is survived with.
    Ready,
}

impl Probe {
    fn path(self) -> &'static str {
        match self {
            Probe::Live => "/livez",
            Probe::Ready => "/readyz",
        }
    }
}

/// Asks, prints what was answered, and tells by the exit code: 0 if all is well, 1 if not or if nobody answers.
pub fn run(health: &Health) -> ExitCode {
    let address = asked_at(health.admin);
    let path = health.probe.path();
    match ask(address, path) {
        Ok((200, answer)) => {
            // A closed stdout is the reader's choice; the exit code still tells.
            let _ = writeln!(io::stdout(), "{}", answer.trim_end());
            ExitCode::SUCCESS
        }
        Ok((status, answer)) => {
            let _ = writeln!(io::stderr(), "http://{address}{path} says {status}: {}", answer.trim_end());
            ExitCode::from(UNWELL)
        }
        Err(error) => {
            let remedy = "is Larder running, and is this its admin address? --admin ADDR names another one";
            let _ = writeln!(io::stderr(), "http://{address}{path} cannot be asked: {error}; {remedy}");
            ExitCode::from(UNWELL)
        }
    }
}

/// Nobody can connect to "every interface": whoever listens there listens on loopback too.
fn asked_at(admin: SocketAddr) -> SocketAddr {
    let ip = match admin.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, admin.port())
}

/// One GET: the status and the body.
fn ask(address: SocketAddr, path: &str) -> io::Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    // Version 1.0: the answer ends with the connection and comes in one piece.
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    stream.take(LONGEST).read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let mut words = head.split(' ');
    let spoken = words.next().is_some_and(|word| word.starts_with("HTTP/"));
    match words.next().and_then(|word| word.parse().ok()).filter(|_| spoken) {
        Some(status) => Ok((status, body.to_owned())),
        None => Err(io::Error::new(io::ErrorKind::InvalidData, "what answers there does not speak HTTP")),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// Answers one request with these bytes; its address, and what it was asked.
    fn server(answer: &'static [u8]) -> (SocketAddr, thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                asked.push(byte[0]);
            }
            stream.write_all(answer).unwrap();
            String::from_utf8(asked).unwrap()
        });
        (address, asked)
    }

    #[test]
    fn the_status_and_the_reasons_are_taken_from_the_answer() {
        let (address, asked) = server(b"HTTP/1.0 503 Service Unavailable\r\nx: y\r\n\r\ndraining\n");
        assert_eq!(ask(address, Probe::Ready.path()).unwrap(), (503, "draining\n".to_owned()));
        assert!(asked.join().unwrap().starts_with("GET /readyz HTTP/1.0\r\n"));
    }

    #[test]
    fn one_that_speaks_something_else_is_no_larder() {
        for answer in [&b"+PONG\r\n"[..], b"", b"HTTP/1.1\r\n\r\n", b"SSH-2.0 200 OK\r\n"] {
            let (address, _asked) = server(answer);
            assert_eq!(ask(address, "/livez").unwrap_err().kind(), io::ErrorKind::InvalidData, "{answer:?}");
        }
    }

    #[test]
    fn an_address_of_every_interface_is_asked_on_loopback() {
        for (admin, asked) in
            [("0.0.0.0:9180", "127.0.0.1:9180"), ("[::]:9180", "[::1]:9180"), ("10.0.0.1:1", "10.0.0.1:1")]
        {
            assert_eq!(asked_at(admin.parse().unwrap()), asked.parse().unwrap());
        }
    }
}
