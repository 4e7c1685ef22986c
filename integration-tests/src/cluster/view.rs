//! What one node says of the cluster: its CLUSTER NODES, parsed.

use std::net::SocketAddr;

/// A node as another, or it itself, sees it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// 40 hex digits.
    pub id: String,
    /// Where clients reach it.
    pub address: SocketAddr,
    /// Whether it is the one that was asked.
    pub myself: bool,
    /// Whether it is a primary.
    pub primary: bool,
    /// Whether the asked one believes it failed or failing.
    pub failed: bool,
    /// Which claim to a slot wins: the highest.
    pub epoch: u64,
    /// First and last slot of each range that it owns.
    pub slots: Vec<(u16, u16)>,
}

impl Seen {
    /// Whether the slot is its own.
    pub fn owns(&self, slot: u16) -> bool {
        self.primary && self.slots.iter().any(|&(first, last)| (first..=last).contains(&slot))
    }
}

/// Parses the reply of CLUSTER NODES. Nodes whose address is not known yet are left out.
pub fn parse(text: &str) -> Vec<Seen> {
    text.lines().filter_map(line).collect()
}

// id ip:port@bus[,name] flags primary-id ping pong epoch link slots...
fn line(line: &str) -> Option<Seen> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [id, address, flags, _, _, _, epoch, _, slots @ ..] = fields.as_slice() else {
        return None;
    };
    let flags: Vec<&str> = flags.split(',').collect();
    let range = |text: &&str| {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        // A slot on the move, as `[7->-id]`, is no range; it stands in one as well while it is owned.
        Some((first.parse().ok()?, last.parse().ok()?))
    };
    Some(Seen {
        id: (*id).to_owned(),
        address: address.split('@').next()?.parse().ok()?,
        myself: flags.contains(&"myself"),
        primary: flags.contains(&"master"),
        failed: flags.iter().any(|flag| matches!(*flag, "fail" | "fail?" | "handshake" | "noaddr")),
        epoch: epoch.parse().ok()?,
        slots: slots.iter().filter_map(range).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_single_slots_and_slots_on_the_move_are_told_apart() {
        let seen = parse(
            "aa 127.0.0.1:7000@17000 myself,master - 0 0 3 connected 0-5 7 [6->-bb]\n\
             bb 127.0.0.1:7001@17001,host slave,fail? aa 0 1 3 connected\n\
             cc :0@0 master,noaddr - 0 0 0 disconnected\n",
        );
        let [first, second] = seen.as_slice() else { panic!("{seen:?}") };
        assert!(first.myself && first.primary && !first.failed && first.epoch == 3);
        assert_eq!([4, 5, 6, 7, 8].map(|slot| first.owns(slot)), [true, true, false, true, false]);
        assert!(!second.myself && !second.primary && second.failed);
    }
}
