//! Which node of a hash ring a key lies on: ketama, point for point as libmemcached and twemproxy have it.
//!
//! Every node gets points on a circle of 2^32 places, made from its name; a key lies with the node of the first point at or behind
//! its own place. Names and weights are all that counts, not who is up: a node that is down keeps its keys, and they degrade. Were
//! they given to others meanwhile, as clients that eject nodes do, then each client would have to notice at the same moment, and
//! the node that comes back would answer with what it held before.
//!
//! `ring/vectors.txt` holds what the other two said of some hundred rings; the script `ring/regenerate` asks them again.

pub mod hash;

#[cfg(test)]
mod tests;

use crc::{CRC_64_XZ, Crc};

use crate::config::{Distribution, KeyHash};
use hash::{four, hash};

/// A node as the ring knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RingNode {
    /// What its points are made from.
    pub name: String,
    /// Its share, relative to the others'.
    pub weight: u32,
}

/// The points of all nodes; never changed.
#[derive(Clone, Debug)]
pub struct Ring {
    /// Places, in their order, with the index of the node that owns each.
    points: Box<[(u32, u16)]>,
    hash: KeyHash,
    hash_tag: Option<[u8; 2]>,
}

impl Ring {
    /// The ring of these nodes, which are numbered in their order.
    pub fn new(nodes: &[RingNode], rule: &crate::config::Ring) -> Self {
        let total = nodes.iter().map(|node| u64::from(node.weight)).sum();
        let mut points = Vec::new();
        for (number, node) in nodes.iter().enumerate() {
            let groups = rule.groups(node.weight, total, nodes.len());
            for group in 0..groups {
                let name = format!("{}-{group}", node.name);
                match rule.distribution {
                    Distribution::Ketama => points.extend(four(name.as_bytes()).map(|place| (place, number as u16))),
                    Distribution::KetamaUnweighted => points.push((hash(rule.hash, name.as_bytes()), number as u16)),
                }
            }
        }
        // Where two nodes have a point at the same place, the one that is named first has it.
        points.sort_unstable();
        Self { points: points.into(), hash: rule.hash, hash_tag: rule.hash_tag }
    }

    /// A number for who owns what: the same in every process that has this ring, since cursors that were made with it travel.
    pub fn digest(&self) -> u64 {
        static CRC64: Crc<u64> = Crc::<u64>::new(&CRC_64_XZ);
        let mut digest = CRC64.digest();
        for (place, node) in &self.points {
            digest.update(&place.to_be_bytes());
            digest.update(&node.to_be_bytes());
        }
        digest.update(self.hash_tag.as_ref().map_or(b"", |tag| &tag[..]));
        digest.update(format!("{:?}", self.hash).as_bytes());
        digest.finalize()
    }

    /// The index of the node that a key lies on.
    #[inline]
    pub fn owner(&self, key: &[u8]) -> u16 {
        let place = hash(self.hash, self.hashed(key));
        let behind = self.points.partition_point(|(point, _)| *point < place);
        self.points.get(behind).or(self.points.first()).map_or(0, |(_, node)| *node)
    }

    /// How many points a node has, by its index.
    pub fn points_of(&self, node: usize) -> usize {
        self.points.iter().filter(|(_, owner)| usize::from(*owner) == node).count()
    }

    /// What of a key decides where it lies: what stands between the first opening and the next closing character of the hash tag, if
    /// that is anything; else all.
    fn hashed<'a>(&self, key: &'a [u8]) -> &'a [u8] {
        let Some([open, close]) = self.hash_tag else { return key };
        let Some(start) = key.iter().position(|byte| *byte == open) else { return key };
        let behind = &key[start + 1..];
        match behind.iter().position(|byte| *byte == close) {
            None | Some(0) => key,
            Some(end) => &behind[..end],
        }
    }
}
