//! CLUSTER and its relatives: Larder as a Redis Cluster of one node, or as a server that is no cluster.
//!
//! The nodes behind Larder are never shown: a client that knew of them would go past Larder, and its writes past the
//! cache. With `cluster_facade: true` one node owns every slot, and stands where this client has connected to; READONLY,
//! READWRITE and ASKING, which cluster clients send out of habit, are welcome and change nothing. Otherwise the answer is
//! that of a server without cluster support, whatever the upstream is.

use std::fmt::Write;
use std::sync::{Arc, PoisonError};

use super::Request;
use super::config::listening;
use crate::app::App;
use crate::config::Address;
use crate::origin::Node;
use crate::resp::{Proto, encode};
use crate::serve::forward;
use crate::upstream::slots::{SLOTS, slot_of};

/// Redis's words.
const DISABLED: &str = "ERR This instance has cluster support disabled";
const INVALID_SLOT: &str = "ERR Invalid slot";
const INVALID_SLOT_OR_COUNT: &str = "ERR Invalid slot or number of keys";

/// The port of a node's cluster bus is that of its clients plus this; nobody listens there.
const BUS: u32 = 10_000;

/// CLUSTER HELP: Redis's text, as far as it is true here.
const HELP: &[&str] = &[
    "CLUSTER <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "COUNT-FAILURE-REPORTS <node-id>",
    "    Return number of failure reports for <node-id>.",
    "COUNTKEYSINSLOT <slot>",
    "    Return the number of keys in <slot>.",
    "GETKEYSINSLOT <slot> <count>",
    "    Return key names stored by current node in a slot.",
    "INFO",
    "    Return information about the cluster.",
    "KEYSLOT <key>",
    "    Return the hash slot for <key>.",
    "MYID",
    "    Return the node id.",
    "NODES",
    "    Return cluster configuration seen by node. Output format:",
    "    <id> <ip:port> <flags> <master> <pings> <pongs> <epoch> <link> <slot> ...",
    "REPLICAS <node-id>",
    "    Return <node-id> replicas.",
    "SLOTS",
    "    Return information about slots range mappings. Each range is made of:",
    "    start, end, master and replicas IP addresses, ports and ids",
    "SHARDS",
    "    Return information about slot range mappings and the nodes associated with them.",
    "LINKS",
    "    Return information about all network links between this node and its peers.",
    "    Output format is an array where each array element is a map containing attributes of a link",
    "HELP",
    "    Prints this help.",
];

/// The one node, as this client sees it.
#[derive(Debug)]
struct Face {
    id: String,
    /// Empty for a client on a Unix socket: it is where it already is.
    host: String,
    port: u16,
    tls: bool,
}

/// `CLUSTER subcommand ...`, `READONLY`, `READWRITE`, `ASKING`
pub(super) fn cluster(request: &mut Request<'_>) {
    if !request.session.worker.rules().config.cluster_facade {
        return request.error(DISABLED);
    }
    match request.spec.short_name() {
        "asking" | "readonly" | "readwrite" => request.ok(),
        "count-failure-reports" => of_this_node(request, |out| encode::integer(out, 0)),
        "countkeysinslot" => keys_in_slot(request, INVALID_SLOT),
        "getkeysinslot" => keys_in_slot(request, INVALID_SLOT_OR_COUNT),
        "help" => {
            encode::array(request.out(), HELP.len());
            HELP.iter().for_each(|line| encode::simple(request.out(), line));
        }
        "info" => text(request, &info()),
        "keyslot" => {
            let slot = slot_of(request.command.opt(2).unwrap_or_default());
            encode::integer(request.out(), slot.into());
        }
        "links" => encode::array(request.out(), 0),
        "myid" => {
            let id = request.app().run_id.clone();
            encode::bulk(request.out(), id.as_bytes());
        }
        "nodes" => {
            let nodes = Face::of(request).nodes();
            text(request, &nodes);
        }
        "replicas" | "slaves" => of_this_node(request, |out| encode::array(out, 0)),
        "shards" => {
            let (face, proto) = (Face::of(request), request.proto());
            face.shards(proto, request.out());
        }
        "slots" => {
            let (face, proto) = (Face::of(request), request.proto());
            face.slots(proto, request.out());
        }
        _ => {
            let name = request.spec.name.replace('|', " ").to_ascii_uppercase();
            request.error(&format!(
                "ERR Larder does not serve {name}: the cluster that it shows is one node that owns every slot, and stays so"
            ));
        }
    }
}

fn text(request: &mut Request<'_>, text: &str) {
    let proto = request.proto();
    encode::verbatim(request.out(), proto, "txt", text.as_bytes());
}

/// Answers a question about a node by its id: there is but this one.
fn of_this_node(request: &mut Request<'_>, answer: impl FnOnce(&mut Vec<u8>)) {
    let id = request.text(2);
    if id == request.app().run_id {
        return answer(request.out());
    }
    request.error(&format!("ERR Unknown node {id}"));
}

/// `COUNTKEYSINSLOT slot`, `GETKEYSINSLOT slot count`: the owner of the slot knows, where the upstream is a cluster. A
/// server that is none has no such lists.
fn keys_in_slot(request: &mut Request<'_>, out_of_range: &str) {
    let numbers: Option<Vec<i64>> = (2..request.command.len()).map(|at| request.integer(at)).collect();
    let Some(numbers) = numbers else {
        return request.error(super::NOT_AN_INTEGER);
    };
    let slot = numbers.first().and_then(|slot| u16::try_from(*slot).ok()).filter(|slot| usize::from(*slot) < SLOTS);
    let Some(slot) = slot.filter(|_| numbers.iter().all(|number| *number >= 0)) else {
        return request.error(out_of_range);
    };
    match owner(request.app(), slot) {
        Some(node) => forward::send_to(request.session, request.state, &node, request.command.wire()),
        None => request.error("ERR Larder cannot tell the keys of a slot: the upstream is no cluster that lists them"),
    }
}

fn owner(app: &App, slot: u16) -> Option<Arc<Node>> {
    let map = app.home_origin()?.map();
    map.redirects().then(|| map.owner_of_slot(slot).map(|primary| Arc::clone(&primary.node)))?
}

/// As of a cluster that was made once and has never changed.
fn info() -> String {
    let mut text = String::new();
    for (name, value) in [
        ("cluster_state", "ok"),
        ("cluster_slots_assigned", "16384"),
        ("cluster_slots_ok", "16384"),
        ("cluster_slots_pfail", "0"),
        ("cluster_slots_fail", "0"),
        ("cluster_known_nodes", "1"),
        ("cluster_size", "1"),
        ("cluster_current_epoch", "1"),
        ("cluster_my_epoch", "1"),
        ("cluster_stats_messages_sent", "0"),
        ("cluster_stats_messages_received", "0"),
        ("total_cluster_links_buffer_limit_exceeded", "0"),
    ] {
        // Writing to a string cannot fail.
        let _ = write!(text, "{name}:{value}\r\n");
    }
    text
}

/// Whether the listener at that address speaks TLS.
fn speaks_tls(app: &App, local: &str) -> bool {
    let names = app.listening.lock().unwrap_or_else(PoisonError::into_inner);
    let port = |name: &str| name.rsplit_once(':').map(|(_, port)| port.to_owned());
    let at = names.iter().position(|name| port(name) == port(local));
    let rules = app.rules();
    at.and_then(|at| rules.config.listeners.get(at)).is_some_and(|listener| listener.tls.is_some())
}

impl Face {
    fn of(request: &Request<'_>) -> Self {
        let app = request.app();
        let local = &request.session.client.local_address;
        let id = app.run_id.clone();
        match local.parse::<Address>() {
            Ok(Address::Tcp { host, port }) => Self { id, host, port, tls: speaks_tls(app, local) },
            _ => Self { id, host: String::new(), port: listening(app).1, tls: false },
        }
    }

    fn slots(&self, proto: Proto, out: &mut Vec<u8>) {
        encode::array(out, 1);
        encode::array(out, 3);
        encode::integer(out, 0);
        encode::integer(out, SLOTS as i64 - 1);
        encode::array(out, 4);
        encode::bulk(out, self.host.as_bytes());
        encode::integer(out, self.port.into());
        encode::bulk(out, self.id.as_bytes());
        encode::map(out, proto, 0);
    }

    fn shards(&self, proto: Proto, out: &mut Vec<u8>) {
        let text = |name: &str, value: &str, out: &mut Vec<u8>| {
            encode::bulk(out, name.as_bytes());
            encode::bulk(out, value.as_bytes());
        };
        encode::array(out, 1);
        encode::map(out, proto, 2);
        encode::bulk(out, b"slots");
        encode::array(out, 2);
        encode::integer(out, 0);
        encode::integer(out, SLOTS as i64 - 1);
        encode::bulk(out, b"nodes");
        encode::array(out, 1);
        encode::map(out, proto, 7);
        text("id", &self.id, out);
        encode::bulk(out, if self.tls { b"tls-port" } else { b"port" });
        encode::integer(out, self.port.into());
        text("ip", &self.host, out);
        text("endpoint", &self.host, out);
        text("role", "master", out);
        encode::bulk(out, b"replication-offset");
        encode::integer(out, 0);
        text("health", "online", out);
    }

    fn nodes(&self) -> String {
        let bus = u32::from(self.port) + BUS;
        format!("{} {}:{}@{bus} myself,master - 0 0 1 connected 0-{}\n", self.id, self.host, self.port, SLOTS - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn face(tls: bool) -> Face {
        Face { id: "ab".repeat(20), host: "::1".into(), port: 6380, tls }
    }

    #[test]
    fn one_node_owns_every_slot() {
        let mut out = Vec::new();
        face(false).slots(Proto::Resp2, &mut out);
        let id = "ab".repeat(20);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            format!("*1\r\n*3\r\n:0\r\n:16383\r\n*4\r\n$3\r\n::1\r\n:6380\r\n$40\r\n{id}\r\n*0\r\n")
        );
        assert_eq!(face(false).nodes(), format!("{id} ::1:6380@16380 myself,master - 0 0 1 connected 0-16383\n"));
    }

    #[test]
    fn a_port_for_tls_is_called_so() {
        let shards = |tls| {
            let mut out = Vec::new();
            face(tls).shards(Proto::Resp3, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert!(shards(true).contains("$8\r\ntls-port\r\n:6380\r\n"));
        assert!(shards(false).contains("$4\r\nport\r\n:6380\r\n"));
    }
}
