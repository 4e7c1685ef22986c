//! The end of a run: with nobody writing, every form of every key is the origin's, byte for byte (C8).

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
        let mut direct = Client::connect_with(origin.address, protocol);
        for unit in units {
            for client in [&mut through, &mut direct] {
                client.call(&["SELECT", &unit.database.to_string()]);
            }
            for form in forms(unit) {
                let mut answers = (Vec::new(), Vec::new());
                let agree = wait::holds_within(end.saturating_duration_since(Instant::now()), || {
                    // Twice: the second one comes from the cache where the first one did not.
                    let first = through.call_raw(&form);
                    answers = (through.call_raw(&form), direct.call_raw(&form));
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
