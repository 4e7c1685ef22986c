//! Which pattern a key belongs to: a path-compressed radix tree over the literal beginnings of the patterns.
//!
//! ```text
//!   *   api:*   api:user:?:lock   session:*   session:root         "" *
//!                                                                 /    \
//!                                                         "api:" *      "session:" *
//!                                                            |              |
//!                                                "user:" ?:lock         "root"
//! ```
//!
//! The rule: a pattern without a wildcard is one key and wins for it; else, of the patterns that match, the one with the longest
//! literal beginning wins. So a lookup walks down as far as the key leads, which costs what the key is long, however many patterns
//! there are. What stands deepest on that way is tried first and its rest of a glob matched, if it is more than `*`; then the next
//! above it. No glob is looked at whose literal beginning is not the key's.

use crate::config::Pattern;
use crate::glob;

/// Stands for "no pattern".
const NONE: u32 = u32::MAX;

/// The patterns of a list, for looking keys up; it answers with their positions in the list.
#[derive(Debug)]
pub struct Tree {
    /// The root first; the children of a node are neighbours, in the order of their first bytes.
    nodes: Box<[Node]>,
    /// The first byte of each node's label, apart so that a node's children are found in one piece of memory.
    firsts: Box<[u8]>,
    /// The labels of all nodes, without their first bytes.
    labels: Box<[u8]>,
    /// For each pattern of the list: what the rest of the key has to match, and what is tried after it.
    tails: Box<[Tail]>,
}

#[derive(Clone, Copy, Debug)]
struct Node {
    /// Where its label begins in `labels`, and its length.
    label: u32,
    length: u16,
    /// How many children it has, and where the first one is.
    children: u16,
    first_child: u32,
    /// The pattern that is exactly the key that leads here.
    exact: u32,
    /// The pattern with wildcards that has the longest literal beginning on the way from the root to here.
    longest: u32,
}

#[derive(Debug)]
struct Tail {
    /// The glob for the rest of the key; `None`: any rest will do.
    glob: Option<Box<[u8]>>,
    /// Length of the literal beginning.
    literal: usize,
    /// The pattern with the next shorter literal beginning.
    shorter: u32,
}

// === building ===

impl Tree {
    /// The tree of these patterns. Of several with the same literal beginning, which a checked configuration does not have, the
    /// first counts.
    pub fn of(patterns: &[Pattern]) -> Tree {
        let mut order: Vec<u32> = (0..patterns.len() as u32).collect();
        order.sort_by_key(|number| &patterns[*number as usize].literal);
        let tails = patterns.iter().map(|pattern| Tail {
            glob: (pattern.tail != b"*").then(|| pattern.tail.as_slice().into()),
            literal: pattern.literal.len(),
            shorter: NONE,
        });
        let mut builder =
            Builder { patterns, nodes: vec![Node::ROOT], firsts: vec![0], labels: Vec::new(), tails: tails.collect() };
        builder.grow(0, &order, 0, NONE);
        Tree {
            nodes: builder.nodes.into(),
            firsts: builder.firsts.into(),
            labels: builder.labels.into(),
            tails: builder.tails.into(),
        }
    }
}

impl Node {
    const ROOT: Node = Node { label: 0, length: 0, children: 0, first_child: 0, exact: NONE, longest: NONE };
}

struct Builder<'a> {
    patterns: &'a [Pattern],
    nodes: Vec<Node>,
    firsts: Vec<u8>,
    labels: Vec<u8>,
    tails: Vec<Tail>,
}

impl Builder<'_> {
    /// Makes a node of the patterns of `group`, which are sorted and whose literals agree in their first `depth` bytes. `above` is the
    /// pattern with the longest literal on the way to it. Recurses no deeper than a literal is long.
    fn grow(&mut self, node: usize, group: &[u32], depth: usize, above: u32) {
        let literal = |number: u32| self.patterns[number as usize].literal.as_slice();
        let ending = group.partition_point(|number| literal(*number).len() == depth);
        let (own, longer) = group.split_at(ending);
        let mut parts: Vec<(u8, &[u32], usize)> = Vec::new();
        for part in longer.chunk_by(|one, two| literal(*one)[depth] == literal(*two)[depth]) {
            let (first, last) = (literal(part[0]), literal(part[part.len() - 1]));
            // Sorted, so what the outermost two share, all share.
            let shared = first[depth..].iter().zip(&last[depth..]).take_while(|(one, two)| one == two).count();
            parts.push((first[depth], part, depth + shared));
        }
        let labels: Vec<Box<[u8]>> =
            parts.iter().map(|(_, part, end)| literal(part[0])[depth + 1..*end].into()).collect();

        let first_child = self.nodes.len();
        let mut longest = above;
        for &number in own {
            match self.patterns[number as usize].is_exact() {
                true if self.nodes[node].exact == NONE => self.nodes[node].exact = number,
                false if longest == above => longest = number,
                _ => {}
            }
        }
        if longest != above {
            self.tails[longest as usize].shorter = above;
        }
        let this = &mut self.nodes[node];
        (this.longest, this.first_child, this.children) = (longest, first_child as u32, parts.len() as u16);
        for ((byte, ..), label) in parts.iter().zip(&labels) {
            self.firsts.push(*byte);
            self.nodes.push(Node { label: self.labels.len() as u32, length: label.len() as u16, ..Node::ROOT });
            self.labels.extend_from_slice(label);
        }
        for (place, (_, part, end)) in parts.into_iter().enumerate() {
            self.grow(first_child + place, part, end, longest);
        }
    }
}

// === looking up ===

impl Tree {
    /// The position of the pattern that wins for a key.
    #[inline]
    pub fn find(&self, key: &[u8]) -> Option<usize> {
        let (exact, mut number) = self.walk(key);
        if exact != NONE {
            return Some(exact as usize);
        }
        while number != NONE {
            let tail = &self.tails[number as usize];
            if tail.matches(key) {
                return Some(number as usize);
            }
            number = tail.shorter;
        }
        None
    }

    /// The patterns whose literal beginning is the key's, in the order in which they are tried, and whether each matches.
    pub fn tried<'a>(&'a self, key: &'a [u8]) -> impl Iterator<Item = (usize, bool)> + 'a {
        let (exact, longest) = self.walk(key);
        let next = move |number: &u32| Some(self.tails[*number as usize].shorter).filter(|number| *number != NONE);
        let others = std::iter::successors(Some(longest).filter(|number| *number != NONE), next);
        let exact = (exact != NONE).then_some((exact as usize, true));
        exact.into_iter().chain(others.map(|number| (number as usize, self.tails[number as usize].matches(key))))
    }

    /// The pattern that is exactly this key, and the one with the longest literal beginning among the others.
    #[inline]
    fn walk(&self, key: &[u8]) -> (u32, u32) {
        let mut node = &self.nodes[0];
        let mut rest = key;
        while node.children > 0
            && let Some((&byte, behind)) = rest.split_first()
            && let Some(child) = self.child(node, byte)
            && let Some(behind) = behind.strip_prefix(self.label(child))
        {
            (node, rest) = (child, behind);
        }
        (if rest.is_empty() { node.exact } else { NONE }, node.longest)
    }

    #[inline]
    fn child(&self, node: &Node, byte: u8) -> Option<&Node> {
        /// As many are looked through faster than searched.
        const FEW: usize = 16;
        let first = node.first_child as usize;
        let firsts = &self.firsts[first..first + usize::from(node.children)];
        let place = match firsts.len() <= FEW {
            true => firsts.iter().position(|candidate| *candidate == byte),
            false => firsts.binary_search(&byte).ok(),
        };
        place.map(|place| &self.nodes[first + place])
    }

    #[inline]
    fn label(&self, node: &Node) -> &[u8] {
        &self.labels[node.label as usize..node.label as usize + usize::from(node.length)]
    }
}

impl Tail {
    /// Whether a key that begins with the literal matches to its end.
    #[inline]
    fn matches(&self, key: &[u8]) -> bool {
        self.glob.as_ref().is_none_or(|tail| glob::matches(tail, &key[self.literal..]))
    }
}

#[cfg(test)]
mod tests;
