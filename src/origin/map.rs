//! Which node owns which keys, at one moment.

use std::sync::Arc;

use super::Node;
use crate::upstream::ring::Ring;
use crate::upstream::slots::{SLOTS, slot_of};

/// Who owns what; never changed once published.
#[derive(Debug, Default)]
pub struct Map {
    /// Its number; see [`super::Origin::version`].
    pub version: u64,
    /// A number for who owns what, for cursors; the same in every Larder.
    pub digest: u64,
    /// The primaries, in the order of their ids.
    primaries: Vec<Primary>,
    division: Division,
}

/// How keys are shared out among the primaries.
#[derive(Debug, Default)]
enum Division {
    /// The first owns every key.
    #[default]
    One,
    /// Index into the primaries by slot.
    Slots(Box<[u16]>),
    /// The primaries are the nodes of a ring.
    Ring(Ring),
}

/// A primary and its replicas.
#[derive(Clone, Debug)]
pub struct Primary {
    /// The node itself.
    pub node: Arc<Node>,
    /// Those that follow it, for reads that may be old.
    pub replicas: Vec<Arc<Node>>,
}

/// In [`Map::of_slots`]: a slot that nobody serves.
pub const NOBODY: u16 = u16::MAX;

impl Map {
    /// One node owns every key.
    pub fn of_one(primary: Primary) -> Self {
        Self { primaries: vec![primary], ..Self::default() }
    }

    /// Slots are shared out: `slots` holds an index into `primaries` for each of them, or [`NOBODY`].
    pub fn of_slots(primaries: Vec<Primary>, slots: Box<[u16]>, digest: u64) -> Self {
        let division = if slots.len() == SLOTS { Division::Slots(slots) } else { Division::One };
        Self { version: 0, digest, primaries, division }
    }

    /// The primaries are the nodes of `ring`, in its order, whether they are up or not.
    pub fn of_ring(primaries: Vec<Primary>, ring: Ring) -> Self {
        Self { primaries, digest: ring.digest(), division: Division::Ring(ring), ..Self::default() }
    }

    /// Whether commands whose keys lie in different slots have to be split.
    #[inline]
    pub fn is_split(&self) -> bool {
        !matches!(self.division, Division::One)
    }

    /// Whether its nodes may send a command elsewhere: those of a cluster, who own what is theirs only for now.
    #[inline]
    pub fn redirects(&self) -> bool {
        matches!(self.division, Division::Slots(_))
    }

    /// Its ring, if it has one.
    pub fn ring(&self) -> Option<&Ring> {
        match &self.division {
            Division::Ring(ring) => Some(ring),
            Division::One | Division::Slots(_) => None,
        }
    }

    /// Who owns a key.
    #[inline]
    pub fn owner(&self, key: &[u8]) -> Option<&Arc<Node>> {
        self.owning(key).map(|primary| &primary.node)
    }

    /// The same, with its replicas.
    #[inline]
    pub fn owning(&self, key: &[u8]) -> Option<&Primary> {
        match &self.division {
            Division::One => self.primaries.first(),
            Division::Slots(slots) => self.primaries.get(usize::from(slots[usize::from(slot_of(key))])),
            Division::Ring(ring) => self.primaries.get(usize::from(ring.owner(key))),
        }
    }

    /// What a key is shared out by: its slot in a cluster, the number of its node on a ring. Keys of different slots have to be asked
    /// for in different commands.
    #[inline]
    pub fn slot(&self, key: &[u8]) -> u16 {
        match &self.division {
            Division::One => 0,
            Division::Slots(_) => slot_of(key),
            Division::Ring(ring) => ring.owner(key),
        }
    }

    /// Who owns a slot.
    pub fn owner_of_slot(&self, slot: u16) -> Option<&Primary> {
        match &self.division {
            Division::One => self.primaries.first(),
            Division::Slots(slots) => self.primaries.get(usize::from(*slots.get(usize::from(slot))?)),
            Division::Ring(_) => self.primaries.get(usize::from(slot)),
        }
    }

    /// Which of the primaries owns a slot.
    pub fn owner_number(&self, slot: u16) -> Option<usize> {
        let number = match &self.division {
            Division::One => 0,
            Division::Slots(slots) => *slots.get(usize::from(slot))?,
            Division::Ring(_) => slot,
        };
        Some(usize::from(number)).filter(|number| *number < self.primaries.len())
    }

    /// Whether the primaries' own words agree with it: the ranges of slots that each of them claims, in their order.
    pub fn is_as_claimed<'a>(&self, claims: impl Iterator<Item = &'a [(u16, u16)]>) -> bool {
        let Division::Slots(slots) = &self.division else { return true };
        let mut claimed = vec![NOBODY; SLOTS];
        for (primary, ranges) in claims.enumerate() {
            for (first, last) in ranges {
                claimed[usize::from(*first)..=usize::from(*last)].fill(primary as u16);
            }
        }
        **slots == *claimed
    }

    /// Whether every key has an owner.
    pub fn is_complete(&self) -> bool {
        let known = |number: &u16| usize::from(*number) < self.primaries.len();
        let all_known = match &self.division {
            Division::Slots(slots) => slots.iter().all(known),
            Division::One | Division::Ring(_) => true,
        };
        !self.primaries.is_empty() && all_known
    }

    /// Some node, always the same one for a given map: for commands without a key.
    pub fn any(&self) -> Option<&Arc<Node>> {
        self.primaries.first().map(|primary| &primary.node)
    }

    /// Who is asked what concerns no key: in a cluster, whose nodes know of each other, one that may be asked, if there is one; elsewhere
    /// always the same, since what was told to one (a function, a message) is known to no other.
    pub fn spokesman(&self) -> Option<&Arc<Node>> {
        let mut nodes = self.primaries.iter().map(|primary| &primary.node);
        nodes.find(|node| self.redirects() && node.breaker.flows()).or(self.any())
    }

    /// The slot that the spokesman of a ring has beside others.
    pub fn spokesman_slot(&self) -> Option<u16> {
        self.ring().map(|_| 0)
    }

    /// All servers.
    pub fn nodes(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.primaries.iter().flat_map(|primary| std::iter::once(&primary.node).chain(&primary.replicas))
    }

    /// All primaries.
    pub fn primaries(&self) -> &[Primary] {
        &self.primaries
    }

    /// Whether a node has a part in it.
    pub fn contains(&self, node: &Arc<Node>) -> bool {
        self.primaries.iter().any(|primary| {
            Arc::ptr_eq(&primary.node, node) || primary.replicas.iter().any(|replica| Arc::ptr_eq(replica, node))
        })
    }

    /// Whether the node that owns a slot differs from that in `before`.
    pub fn moved(&self, before: &Self, slot: u16) -> bool {
        let number = |map: &Self| map.owner_of_slot(slot).map(|primary| primary.node.number);
        number(self) != number(before)
    }
}
