//! What a command needs while it is at work: where its requests go, where its reply goes, and the time.

use std::sync::Arc;

use super::Server;
use super::deadlines;
use super::expiry::Life;
use super::meta::{self, Reply, Request};
use crate::clock::Micros;
use crate::keyvalue::{Now, Refusal};
use crate::resp::{Proto, encode};

/// Words in a `SERVER_ERROR` that are about the node, and not about the command.
const ILL: [&str; 5] = ["unavailable", "connect", "timeout", "timed out", "down"];

/// One command's place at the node.
#[derive(Debug)]
pub(super) struct Desk<'a> {
    /// Requests on their way to the node.
    pub out: &'a mut Vec<u8>,
    /// How many of them this command has put there, hence how many replies it is owed.
    pub asked: usize,
    pub server: &'a Arc<Server>,
    pub proto: Proto,
    /// The command's reply; written when all is known, and only then.
    pub reply: &'a mut Vec<u8>,
}

/// Under which condition a value is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Guard {
    /// None.
    Any,
    /// The key is not there.
    Absent,
    /// The key is there.
    Present,
    /// This is still the value.
    Unchanged(u64),
}

/// A value as it is stored.
#[derive(Clone, Copy, Debug)]
pub(super) struct Item<'a> {
    pub value: &'a [u8],
    pub life: Life,
    /// The client's own flags. What Larder writes itself has none: other clients read plain bytes.
    pub flags: u32,
}

impl Desk<'_> {
    /// Reads; `flags` says what.
    pub(super) fn get(&mut self, key: &[u8], flags: &str) {
        Request::get(self.out, key).flags(flags).end();
        self.asked += 1;
    }

    /// Sets the time to live, and reads.
    pub(super) fn touch(&mut self, key: &[u8], life: Life, flags: &str) {
        let numbered = if life.exact.is_some() { " c" } else { "" };
        Request::get(self.out, key).flags(flags).flags(numbered).number(b'T', life.seconds).end();
        self.asked += 1;
    }

    /// Stores.
    pub(super) fn set(&mut self, key: &[u8], item: Item<'_>, guard: Guard) {
        let mut request = Request::set(self.out, key, item.value);
        if item.life.seconds != 0 {
            request = request.number(b'T', item.life.seconds);
        }
        if item.flags != 0 {
            request = request.number(b'F', item.flags.into());
        }
        request = match guard {
            Guard::Any => request,
            Guard::Absent => request.flags(" ME"),
            Guard::Present => request.flags(" MR"),
            Guard::Unchanged(cas) => request.only_if(cas),
        };
        // The number of what is written is of use only where somebody has to delete it.
        if item.life.exact.is_some() || !self.server.deadlines.is_empty() {
            request = request.flags(" c");
        }
        request.value(item.value);
        self.asked += 1;
    }

    /// Deletes.
    pub(super) fn delete(&mut self, key: &[u8], cas: Option<u64>) {
        let request = Request::delete(self.out, key);
        match cas {
            None => request.end(),
            Some(cas) => request.only_if(cas).end(),
        }
        self.asked += 1;
    }

    /// Something that is no request for a key.
    pub(super) fn say(&mut self, words: &[u8]) {
        self.out.extend_from_slice(words);
        self.asked += 1;
    }

    /// This version of a key ends then.
    pub(super) fn note(&self, key: &[u8], cas: Option<u64>, at: Option<Micros>) {
        let (Some(cas), Some(at)) = (cas, at) else { return };
        if self.server.deadlines.note(key, cas, at) {
            tokio::spawn(deadlines::keep(Arc::clone(self.server)));
        }
    }

    /// The present instant.
    pub(super) fn now(&self) -> Now {
        self.server.clock.now()
    }

    /// How long a key lives if it ends at `unix_ms`.
    pub(super) fn until(&self, unix_ms: i64) -> Life {
        Life::until(unix_ms, self.now(), Micros::now())
    }

    /// Milliseconds that a key has left by what the node says of it (`t`, `c`): -1 for ever.
    pub(super) fn left_ms(&self, key: &[u8], flags: &meta::Flags) -> i64 {
        match (flags.ttl, self.server.deadlines.left(key, flags.cas, Micros::now())) {
            (_, Some(left)) => i64::try_from(left.0 / 1000).unwrap_or(i64::MAX),
            (None | Some(..0), None) => -1,
            (Some(seconds), None) => seconds.saturating_mul(1000),
        }
    }

    /// Replies with a value.
    pub(super) fn bulk(&mut self, value: &[u8]) {
        encode::bulk(self.reply, value);
    }

    /// Replies with nothing.
    pub(super) fn null(&mut self) {
        encode::null(self.reply, self.proto);
    }

    /// Replies with a number.
    pub(super) fn integer(&mut self, value: i64) {
        encode::integer(self.reply, value);
    }

    /// What is appended does not fit behind what is there.
    pub(super) fn too_large(&self) -> Refusal {
        Refusal::of(format!(
            "ERR the whole value would be larger than the item limit (-I) of memcached at {}, or there is no room for it; \
             the key is as it was",
            self.server.address
        ))
    }

    /// Replies with the node's error, in words that say which node and what to do.
    pub(super) fn fail(&mut self, reply: &Reply<'_>) {
        let said = String::from_utf8_lossy(reply.value);
        let address = &self.server.address;
        let lower = said.to_ascii_lowercase();
        let text = if lower.contains("too large") {
            format!(
                "ERR the value is larger than the item limit (-I) of memcached at {address}; an older value is gone"
            )
        } else if lower.contains("out of memory") {
            format!("OOM memcached at {address} has no room: {said}")
        } else if ILL.iter().any(|word| lower.contains(word)) {
            // A proxy of others speaks for a node that it cannot reach.
            format!("MASTERDOWN memcached at {address}: {said}")
        } else {
            format!("ERR memcached at {address}: {said}")
        };
        encode::error(self.reply, &text);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::{self, Address};
    use crate::upstream::memcached::meta::{Flags, Kind};
    use crate::upstream::{Breaker, breaker};

    /// What the client is told when the node says this.
    fn told(said: &str) -> String {
        let server = Arc::new(Server::new(Address::Unix("/run/node".into()), None, Duration::from_secs(1)));
        let (mut out, mut reply) = (Vec::new(), Vec::new());
        let mut desk = Desk { out: &mut out, asked: 0, server: &server, proto: Proto::Resp2, reply: &mut reply };
        desk.fail(&Reply { kind: Kind::ServerError, value: said.as_bytes(), flags: Flags::default() });
        String::from_utf8(reply).expect("text")
    }

    fn counts_for_the_breaker(said: &str) -> bool {
        let settings = config::Breaker {
            failure_threshold: 1,
            error_rate: 0.1,
            window: Duration::from_secs(10),
            min_requests: 1,
            reset_timeout: Duration::from_secs(5),
            half_open_probes: 1,
        };
        breaker::signal(told(said).as_bytes(), &Breaker::new(settings, Arc::default())).is_some()
    }

    #[test]
    fn what_is_about_the_command_does_not_count_for_the_breaker() {
        for said in [
            "object too large for cache",
            "out of memory storing object",
            "out of memory writing get response",
            "Out of memory during read",
            "while deleting an item",
            "",
        ] {
            assert!(!counts_for_the_breaker(said), "{said}");
        }
    }

    #[test]
    fn what_says_that_the_node_is_ill_counts_for_the_breaker() {
        for said in ["unavailable", "Connection refused", "timeout", "backend timed out", "server is down"] {
            assert!(counts_for_the_breaker(said), "{said}");
        }
    }

    #[test]
    fn every_error_of_the_node_names_it_and_has_a_code_that_clients_know() {
        for (said, code) in [
            ("object too large for cache", "-ERR "),
            ("out of memory storing object", "-OOM "),
            ("timeout", "-MASTERDOWN "),
            ("something else", "-ERR "),
        ] {
            let told = told(said);
            assert!(told.starts_with(code) && told.contains("/run/node") && told.ends_with("\r\n"), "{told}");
        }
    }
}
