//! Where Larder listens, for clients and for its operator; addresses in general.

use super::fault::{Wrong, shown};
use super::secret::{Secret, secret};
use super::section::{Item, Section};
use super::tree::Value;
use super::units;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

/// One address for clients.
#[derive(Clone, Debug, PartialEq)]
pub struct Listener {
    /// Where to listen; port 0 lets the system choose. Required. A TCP address other than loopback needs `tls` or
    /// [`Config::allow_insecure`](super::Config::allow_insecure).
    pub address: Address,
    /// TLS for clients. Default: none. Set it as soon as clients connect over a network.
    pub tls: Option<ListenerTls>,
}

/// `host:port`, `[ipv6]:port`, or `unix:/path`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// A TCP address.
    Tcp {
        /// A name or an IP address; IPv6 without its brackets.
        host: String,
        /// The port; 0 only for listeners.
        port: u16,
    },
    /// The path of a Unix domain socket, absolute.
    Unix(PathBuf),
}

/// The files of a TLS listener, all in PEM form. Relative paths start at the working directory.
#[derive(Clone, Debug, PartialEq)]
pub struct ListenerTls {
    /// The certificate chain, the server's own first. Required.
    pub cert: PathBuf,
    /// The private key of `cert`. Required.
    pub key: PathBuf,
    /// Authorities that client certificates must come from. Default: clients need no certificate.
    pub client_ca: Option<PathBuf>,
}

/// The HTTP address for metrics and state.
#[derive(Clone, Debug, PartialEq)]
pub struct Admin {
    /// Default: `127.0.0.1:9180`. Anyone who reaches it can read and steer the proxy, so anything but loopback needs
    /// a token, or [`Config::allow_insecure`](super::Config::allow_insecure).
    pub address: SocketAddr,
    /// True when the address was asked for. The default one may be given up when it is taken; one that was asked for may not.
    pub configured: bool,
    /// What clients of the admin address must show (`Authorization: Bearer ...`), from `token` or the content of `token_file`. Default:
    /// none. Set it where others than the operator reach the address.
    pub token: Option<Secret>,
}

const ADDRESS: &str = "write host:port such as 127.0.0.1:6380, \"[::1]:6380\", or unix:/path/of/socket";

// === impl Listener ===

impl Listener {
    /// A listener without TLS.
    pub fn plain(address: Address) -> Listener {
        Listener { address, tls: None }
    }

    pub(super) fn read(item: Item<'_>, faults: &super::fault::Faults) -> Listener {
        let mut section = Section::open(item.node, item.path, item.mark, faults);
        let address = section.required("address", "add address: 127.0.0.1:6380", address);
        let tls = section.optional_section("tls").map(ListenerTls::read);
        section.finish();
        Listener { address: address.unwrap_or(Address::placeholder()), tls }
    }
}

impl ListenerTls {
    fn read(mut section: Section<'_>) -> ListenerTls {
        let cert = section.required("cert", "add the path of a PEM certificate", path);
        let key = section.required("key", "add the path of the certificate's PEM key", path);
        let client_ca = section.optional("client_ca", path);
        section.finish();
        ListenerTls { cert: cert.unwrap_or_default(), key: key.unwrap_or_default(), client_ca }
    }
}

// === impl Address ===

impl Address {
    /// Stands where a faulty address was reported; such a configuration is never used.
    pub(super) fn placeholder() -> Address {
        Address::Tcp { host: "127.0.0.1".to_owned(), port: 0 }
    }

    /// The path of a Unix socket.
    pub fn unix_path(&self) -> Option<&std::path::Path> {
        match self {
            Address::Unix(path) => Some(path),
            Address::Tcp { .. } => None,
        }
    }

    /// True for what only this machine can reach: Unix sockets, `localhost`, 127.0.0.0/8 and `::1`.
    pub fn is_local(&self) -> bool {
        match self {
            Address::Unix(_) => true,
            Address::Tcp { host, .. } if host.eq_ignore_ascii_case("localhost") => true,
            Address::Tcp { host, .. } => host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback()),
        }
    }

    /// The address in text, or what is wrong with the text.
    pub(super) fn from_text(text: &str) -> Result<Address, Wrong> {
        let wrong = |problem: &str| Wrong::new(format!("\"{}\" {problem}", shown(text)), ADDRESS);
        if let Some(path) = text.strip_prefix("unix:") {
            // The kernel keeps a socket path in 108 bytes with a zero at the end.
            return match path {
                path if !path.starts_with('/') => Err(wrong("has no absolute path")),
                path if path.len() > 107 => Err(wrong("has a path longer than 107 bytes")),
                path if path.contains('\0') => Err(wrong("has a zero byte in its path")),
                path => Ok(Address::Unix(path.into())),
            };
        }
        if text.contains('@') {
            // What stands before it may be a password: it is not repeated.
            let problem = "there is a user or a password in the address";
            return Err(Wrong::new(
                problem,
                "write host:port alone, and username and password as keys of the upstream",
            ));
        }
        if text.contains("://") {
            return Err(wrong("is a URL; an address is wanted here"));
        }
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => match rest.split_once("]:") {
                Some((host, port)) if host.parse::<std::net::Ipv6Addr>().is_ok() => (host, port),
                _ => return Err(wrong("is not an IPv6 address in brackets with a port")),
            },
            None => match text.rsplit_once(':') {
                Some((host, _)) if host.contains(':') => {
                    return Err(wrong("needs brackets around an IPv6 address"));
                }
                Some((host, port)) if is_host(host) => (host, port),
                Some(_) => return Err(wrong("has no valid host name before the colon")),
                None => return Err(wrong("has no port")),
            },
        };
        let port = match port.parse::<u16>() {
            Ok(number) if port.bytes().all(|b| b.is_ascii_digit()) => number,
            _ => return Err(wrong("has no port between 0 and 65535")),
        };
        Ok(Address::Tcp { host: host.to_owned(), port })
    }
}

/// Letters, digits, dots, hyphens and the underscores of container networks; all-numeric names must be IPv4 addresses.
fn is_host(host: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    let numeric = host.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    !host.is_empty() && host.len() <= 253 && host.bytes().all(allowed) && (!numeric || host.parse::<Ipv4Addr>().is_ok())
}

impl FromStr for Address {
    type Err = String;

    /// Reads an address; the error says what is wrong and what would be right.
    fn from_str(text: &str) -> Result<Address, String> {
        Address::from_text(text).map_err(|wrong| format!("{}; {}", wrong.problem, wrong.remedy))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Address::Tcp { host, port } => write!(f, "{host}:{port}"),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

// === impl Admin ===

impl Default for Admin {
    fn default() -> Admin {
        Admin { address: SocketAddr::from((Ipv4Addr::LOCALHOST, 9180)), configured: false, token: None }
    }
}

impl Admin {
    pub(super) fn read(mut section: Section<'_>) -> Admin {
        let address = section.optional("address", |value| units::text(value).and_then(|text| Admin::from_text(&text)));
        let token = secret(&mut section, ["token", "token_file"]);
        if let Some(token) = &token
            && !token.expose().bytes().all(|byte| byte.is_ascii_graphic())
        {
            let key = if section.has("token") { "token" } else { "token_file" };
            let remedy = "write letters, digits and signs only, such as what `openssl rand -hex 32` prints";
            section.report(key, Wrong::new("the token has characters that an HTTP header cannot carry", remedy));
        }
        section.finish();
        Admin { token, ..address.unwrap_or_default() }
    }

    /// An admin address that was asked for.
    pub(super) fn from_text(text: &str) -> Result<Admin, Wrong> {
        let numeric = match text.strip_prefix("localhost:") {
            Some(port) => format!("127.0.0.1:{port}"),
            None => text.to_owned(),
        };
        let address = numeric.parse().map_err(|_| {
            Wrong::new(
                format!("\"{}\" is not an IP address with a port", shown(text)),
                "write ip:port such as 127.0.0.1:9180 or \"[::1]:9180\"",
            )
        })?;
        Ok(Admin { address, configured: true, token: None })
    }
}

// === values ===

/// An address in the file.
pub(super) fn address(value: &Value) -> Result<Address, Wrong> {
    match value {
        Value::Text(text) => Address::from_text(text),
        Value::Integer(port @ 0..=65535) => {
            Err(Wrong::new(format!("{port} is a port without a host"), format!("write 127.0.0.1:{port}")))
        }
        other => Err(units::misplaced(other, "an address", ADDRESS)),
    }
}

/// The path of a Unix socket.
pub(super) fn socket_path(value: &Value) -> Result<PathBuf, Wrong> {
    match address(value)? {
        Address::Unix(path) => Ok(path),
        Address::Tcp { .. } => {
            Err(Wrong::new("this is a TCP address", "write unix: and the absolute path of a socket"))
        }
    }
}

/// An address to connect to: its port is not 0.
pub(super) fn endpoint(value: &Value) -> Result<Address, Wrong> {
    connectable(address(value)?)
}

/// Refuses port 0, which nothing listens on.
pub(super) fn connectable(address: Address) -> Result<Address, Wrong> {
    match address {
        Address::Tcp { port: 0, .. } => {
            Err(Wrong::new("port 0 cannot be connected to", "write the port that the server listens on, such as 6379"))
        }
        address => Ok(address),
    }
}

/// A file path.
pub(super) fn path(value: &Value) -> Result<PathBuf, Wrong> {
    let text = units::text(value)?;
    if text.contains('\0') {
        return Err(Wrong::new("there is a zero byte in the path", "write the path of a file"));
    }
    Ok(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_and_print_the_same() {
        for text in ["127.0.0.1:6379", "redis.example.org:1", "my_redis:6379", "[::1]:6379", "unix:/run/larder.sock"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn faulty_addresses_are_refused() {
        for text in [
            "",
            ":",
            "host",
            "host:",
            ":6379",
            "host:70000",
            "host:-1",
            "host:+1",
            "::1:6379",
            "[::1]",
            "[::1]6379",
            "[x]:1",
            "1.2.3:6379",
            "300.1.1.1:6379",
            "a b:1",
            "*:6379",
            "redis://h:1",
            "unix:",
            "unix:relative",
            "unix:/a\0b",
        ] {
            assert!(text.parse::<Address>().is_err(), "{text:?}");
        }
        for text in ["redis://app:hush@h:6379", "app:hush@h:6379", "hush@h", ":hush@h:6379"] {
            let wrong = Address::from_text(text).expect_err(text);
            assert!(!wrong.problem.contains("hush") && !wrong.remedy.contains("hush"), "{wrong:?}");
        }
        assert!(format!("unix:/{}", "x".repeat(107)).parse::<Address>().is_err());
    }

    #[test]
    fn only_this_machine_is_local() {
        for text in ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "localhost:1", "unix:/x", "[::ffff:127.0.0.1]:1"] {
            assert!(text.parse::<Address>().unwrap().is_local(), "{text}");
        }
        for text in ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "localhost.evil:1"] {
            assert!(!text.parse::<Address>().unwrap().is_local(), "{text}");
        }
    }
}
