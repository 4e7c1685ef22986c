//! The end of a run: with nobody writing, every form of every key is the origin's, byte for byte (C8).

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use super::history::{FOREIGN_BOUND, Promise, Violation};
use super::link::Way;
use super::unit::{Kind, Unit};
use crate::client::{Client, Protocol};
use crate::wait;

/// Compares what the proxy says with what the origin says. All differences must be gone within the bound for foreign
/// writes, counted from the start: the last push or expiry may still be on its way.
pub fn sweep(proxy: Way, origin: Way, units: &[Unit]) -> Vec<Violation> {
    let mut violations = Vec::new();
    let end = Instant::now() + 2 * FOREIGN_BOUND;
    for protocol in Protocol::BOTH {
        let mut through = Client::connect_with(proxy.address, protocol);
        for unit in units {
            let database = unit.database.to_string();
            through.call(&["SELECT", &database]);
            let mut direct = Direct { address: origin.address, protocol, database, client: None };
            for form in forms(unit) {
                let mut answers = (Vec::new(), Vec::new());
                let agree = wait::holds_within(end.saturating_duration_since(Instant::now()), || {
                    // Twice: the second one comes from the cache where the first one did not.
                    let first = through.call_raw(&form);
                    answers = (through.call_raw(&form), direct.ask(&form));
                    first == answers.1 && answers.0 == answers.1
                });
                if !agree {
                    let [through, direct] = [&answers.0, &answers.1].map(|bytes| bytes.escape_ascii().to_string());
                    let detail = format!(
                        "at rest, {protocol:?}, {}, {form:?} via {:?}: {through} where the origin says {direct}",
                        unit.name, proxy.via
                    );
                    violations.push(Violation { promise: Promise::C8, detail });
                }
            }
        }
    }
    violations
}

/// The connection to the origin. It may be closed while its server is made a replica, late in a failover: then it is made
/// once more, and what is judged is the same.
struct Direct {
    address: SocketAddr,
    protocol: Protocol,
    database: String,
    client: Option<Client>,
}

impl Direct {
    fn ask(&mut self, form: &[&str]) -> Vec<u8> {
        let mut answer = Vec::new();
        wait::until("the origin answers", || {
            let asked = self.client().and_then(|client| {
                client.send(form)?;
                client.try_read()
            });
            match asked {
                Ok((_, bytes)) => answer = bytes,
                Err(_) => self.client = None,
            }
            self.client.is_some()
        });
        answer
    }

    fn client(&mut self) -> io::Result<&mut Client> {
        if self.client.is_none() {
            let mut client = Client::try_connect(self.address)?;
            client.try_call(&["HELLO", self.protocol.number()])?;
            client.try_call(&["SELECT", &self.database])?;
            self.client = Some(client);
        }
        self.client.as_mut().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

fn forms(unit: &Unit) -> Vec<Vec<&str>> {
    let mut forms = Vec::new();
    for key in &unit.keys {
        forms.push(vec!["EXISTS", key]);
        forms.push(vec!["TYPE", key]);
        // An error of the wrong type for one of the two kinds.
        forms.push(vec!["GET", key]);
        forms.push(vec!["HGETALL", key]);
        match unit.kind {
            Kind::Hash => {
                forms.push(vec!["HGET", key, "a"]);
                forms.push(vec!["HMGET", key, "c", "none", "b"]);
                forms.push(vec!["HLEN", key]);
            }
            _ => {
                forms.push(vec!["STRLEN", key]);
                forms.push(vec!["GETRANGE", key, "0", "3"]);
            }
        }
    }
    let every = unit.keys.iter().map(String::as_str);
    forms.push(["MGET"].into_iter().chain(every).collect());
    forms
}
