//! Who owns which slots, as a node of a cluster tells it: the replies of CLUSTER SLOTS and CLUSTER INFO, read and checked.
//!
//! What a node says decides where writes go, so nothing is taken from a reply that contradicts itself. Pure: bytes in,
//! facts out; asking is the business of others.

use std::fmt;

use crc::{CRC_64_XZ, Crc};

use super::slots::SLOTS;
use crate::resp::view::{Elements, View};

/// The most bytes of a CLUSTER SLOTS reply: a cluster in which every slot is a range of its own, with replicas, has about
/// half of it.
const MAX_BYTES: usize = 16 << 20;

/// The most servers of one range that are taken in.
const MAX_MEMBERS: usize = 256;

/// The owners of the slots, as one node sees them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shards {
    /// In the order of their slots, without overlaps; slots in none of them have no owner.
    pub ranges: Vec<Range>,
}

/// Neighbouring slots with the same owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first slot.
    pub first: u16,
    /// The last slot, itself included.
    pub last: u16,
    /// Who takes its writes.
    pub primary: Member,
    /// Who follows the primary.
    pub replicas: Vec<Member>,
}

/// A server of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Member {
    /// Its node id; `host:port` where the server is too old to tell one.
    pub id: String,
    /// Its host, never empty.
    pub host: String,
    /// Its port, never 0.
    pub port: u16,
}

/// What CLUSTER INFO says, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClusterInfo {
    /// Whether the node takes commands: all slots have owners, and it sees the majority.
    pub ok: bool,
    /// The highest epoch that the node has heard of; it grows with every failover.
    pub current_epoch: u64,
    /// The epoch of the node's own claim to its slots.
    pub my_epoch: u64,
}

/// Why a reply cannot be used, in words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unusable(pub String);

// === impl Shards ===

impl Shards {
    /// Reads the reply to CLUSTER SLOTS of the node at `asked`, a host, which is where a node without a host of its own
    /// is to be reached.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn of(reply: &[u8], asked: &str) -> Result<Self, Unusable> {
        if reply.len() > MAX_BYTES {
            return Err(unusable(format!("{} bytes are more than a CLUSTER SLOTS reply has", reply.len())));
        }
        let mut ranges = Vec::new();
        for range in list(reply, "CLUSTER SLOTS")? {
            // No more than slots: more ranges would overlap.
            if ranges.len() == SLOTS {
                return Err(unusable("there are more ranges than slots"));
            }
            ranges.push(Range::of(range, asked)?);
        }
        ranges.sort_unstable_by_key(|range| range.first);
        for pair in ranges.windows(2) {
            if pair[0].last >= pair[1].first {
                return Err(unusable(format!("slot {} has two owners", pair[1].first)));
            }
        }
        Ok(Self { ranges })
    }

    /// The range that a slot lies in.
    pub fn find(&self, slot: u16) -> Option<&Range> {
        let after = self.ranges.partition_point(|range| range.first <= slot);
        self.ranges[..after].last().filter(|range| slot <= range.last)
    }

    /// Whether every slot has an owner.
    pub fn complete(&self) -> bool {
        self.ranges.iter().map(|range| usize::from(range.last - range.first) + 1).sum::<usize>() == SLOTS
    }

    /// The owners in the order of their ids, each once: the same order for everybody who sees the same cluster.
    pub fn primaries(&self) -> Vec<&Member> {
        let mut primaries: Vec<&Member> = self.ranges.iter().map(|range| &range.primary).collect();
        primaries.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        primaries.dedup_by(|a, b| a.id == b.id);
        primaries
    }

    /// A number for who owns what: equal for everybody who sees the same owners, however a node cuts its ranges, and
    /// in every process, since cursors that were made with it travel.
    pub fn digest(&self) -> u64 {
        static CRC64: Crc<u64> = Crc::<u64>::new(&CRC_64_XZ);
        let mut digest = CRC64.digest();
        let mut ranges = self.ranges.iter().peekable();
        while let Some(range) = ranges.next() {
            let mut last = range.last;
            while let Some(next) = ranges.next_if(|next| next.first == last + 1 && next.primary.id == range.primary.id)
            {
                last = next.last;
            }
            digest.update(&range.first.to_be_bytes());
            digest.update(&last.to_be_bytes());
            digest.update(&(range.primary.id.len() as u64).to_be_bytes());
            digest.update(range.primary.id.as_bytes());
        }
        digest.finalize()
    }
}

impl Range {
    /// `[first, last, primary, replica, ...]`
    fn of(bytes: &[u8], asked: &str) -> Result<Self, Unusable> {
        let mut parts = View::of(bytes).and_then(View::elements).ok_or_else(|| unusable("a range is not a list"))?;
        let mut slot = || {
            let slot = parts.view().and_then(View::integer).and_then(|slot| u16::try_from(slot).ok());
            slot.filter(|slot| usize::from(*slot) < SLOTS)
                .ok_or_else(|| unusable("a range does not begin with two slots"))
        };
        let (first, last) = (slot()?, slot()?);
        if first > last {
            return Err(unusable(format!("a range ends at slot {last}, before it begins at {first}")));
        }
        let primary = parts.next().and_then(|bytes| Member::of(bytes, asked));
        let primary = primary.ok_or_else(|| unusable(format!("the owner of slot {first} has no usable address")))?;
        // A replica that cannot be reached is one less to read from, and no reason to distrust the rest.
        let replicas = parts.take(MAX_MEMBERS).filter_map(|bytes| Member::of(bytes, asked)).collect();
        Ok(Self { first, last, primary, replicas })
    }
}

// === impl Member ===

impl Member {
    /// `[host, port, id, metadata]`; old servers stop after the port or the id.
    fn of(bytes: &[u8], asked: &str) -> Option<Self> {
        let mut parts = View::of(bytes)?.elements()?;
        let host = parts.view()?;
        let port = parts.view()?.integer().and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0)?;
        let id = parts.view().and_then(View::text).and_then(word);
        let metadata = parts.view();
        let host = match host {
            View::Null | View::Text(b"") => asked,
            // To be called by a hostname that it was not given; Redis 7 adds its address.
            View::Text(b"?") => {
                metadata.and_then(|metadata| metadata.field(b"ip")?.text()).and_then(word).unwrap_or(asked)
            }
            View::Text(host) => word(host)?,
            _ => return None,
        };
        let id = id.map_or_else(|| format!("{host}:{port}"), str::to_owned);
        Some(Self { id, host: host.to_owned(), port })
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

// === impl ClusterInfo ===

impl ClusterInfo {
    /// Reads the reply to CLUSTER INFO.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn of(reply: &[u8]) -> Result<Self, Unusable> {
        let view = View::whole(reply).map_err(|error| unusable(error.to_string()))?;
        let text = match view {
            View::Text(text) => String::from_utf8_lossy(text),
            View::Error(error) => return Err(refused("CLUSTER INFO", error)),
            _ => return Err(unusable("the CLUSTER INFO reply is not a text")),
        };
        let field = |name: &str| {
            let found = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            found.ok_or_else(|| unusable(format!("CLUSTER INFO has no {name}")))
        };
        let epoch = |name: &str| {
            field(name)?.trim().parse().map_err(|_| unusable(format!("CLUSTER INFO has no number for {name}")))
        };
        Ok(Self {
            ok: field("cluster_state")?.trim() == "ok",
            current_epoch: epoch("cluster_current_epoch")?,
            my_epoch: epoch("cluster_my_epoch")?,
        })
    }
}

// === what Sentinel's replies need too ===

pub(super) fn unusable(problem: impl Into<String>) -> Unusable {
    Unusable(problem.into())
}

fn refused(command: &str, error: &[u8]) -> Unusable {
    unusable(format!("{command} was answered with an error: {}", String::from_utf8_lossy(error)))
}

/// The elements of a reply that must be a list.
pub(super) fn list<'a>(reply: &'a [u8], command: &str) -> Result<Elements<'a>, Unusable> {
    match View::whole(reply).map_err(|error| unusable(format!("{command}: {error}")))? {
        View::List(elements) => Ok(elements),
        View::Error(error) => Err(refused(command, error)),
        _ => Err(unusable(format!("the {command} reply is not a list"))),
    }
}

/// A host or an id: printable, without spaces, and of bounded length.
pub(super) fn word(text: &[u8]) -> Option<&str> {
    let plain = !text.is_empty() && text.len() <= 255 && text.iter().all(u8::is_ascii_graphic);
    std::str::from_utf8(text).ok().filter(|_| plain)
}

#[cfg(test)]
mod tests;
