//! What a primary of a cluster says of its own slots: those that it owns, and whether some are on their way to it. Read from
//! its own line of CLUSTER NODES, which is newer than what any other node says of it, and the only place where a move that
//! has begun can be seen.
//!
//! ```text
//! id host:port@bus[,name] myself,master - ping pong epoch link 0-5460 7000 [93-<-id] [5000->-id]
//! ```

use super::shards::{Unusable, unusable};
use super::slots::SLOTS;
use crate::resp::view::View;

/// Its slots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    /// Its node id.
    pub id: String,
    /// First and last slot of each range that it owns; none of a replica.
    pub ranges: Vec<(u16, u16)>,
    /// Keys of some slot are being moved to it, which is still another one's.
    pub importing: bool,
    /// The ids of those to whom keys of its slots are being moved.
    pub migrating: Vec<String>,
}

impl Claims {
    /// Reads the reply to CLUSTER NODES.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn of(reply: &[u8]) -> Result<Self, Unusable> {
        let view = View::whole(reply).map_err(|error| unusable(error.to_string()))?;
        let text = match view {
            View::Text(text) => String::from_utf8_lossy(text),
            View::Error(error) => return Err(unusable(String::from_utf8_lossy(error))),
            _ => return Err(unusable("the CLUSTER NODES reply is not a text")),
        };
        let own = text.lines().map(|line| line.split(' ').collect::<Vec<&str>>()).find(|fields| {
            let flags = fields.get(2).unwrap_or(&"");
            flags.split(',').any(|flag| flag == "myself")
        });
        let own = own.ok_or_else(|| unusable("a node does not find itself in CLUSTER NODES"))?;
        let mut claims = Self { id: own[0].to_owned(), ..Self::default() };
        if !own[2].split(',').any(|flag| flag == "master") {
            return Ok(claims);
        }
        for field in own.iter().skip(8).filter(|field| !field.is_empty()) {
            if field.starts_with('[') {
                claims.importing |= field.contains("-<-");
                let to = field.split_once("->-").map(|(_, id)| id.trim_end_matches(']').to_owned());
                claims.migrating.extend(to);
                continue;
            }
            let (first, last) = field.split_once('-').unwrap_or((field, field));
            let slot = |text: &str| text.parse().ok().filter(|slot: &u16| usize::from(*slot) < SLOTS);
            let range = slot(first).zip(slot(last)).filter(|(first, last)| first <= last);
            claims.ranges.push(range.ok_or_else(|| unusable(format!("'{field}' is no range of slots")))?);
        }
        Ok(claims)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(text: &str) -> Result<Claims, Unusable> {
        Claims::of(format!("${}\r\n{text}\r\n", text.len()).as_bytes())
    }

    #[test]
    fn a_primary_tells_its_slots_and_what_is_on_its_way_to_it() {
        let others = "aa 127.0.0.1:7000@17000 master - 0 0 3 connected 0-5 [6-<-bb]\n";
        let own = "bb 127.0.0.1:7001@17001,host myself,master - 0 0 3 connected 6-10 12 [93->-aa] 14-16383\n";
        let claims = of(&format!("{others}{own}")).unwrap();
        let ranges = vec![(6, 10), (12, 12), (14, 16383)];
        let expected = Claims { id: "bb".into(), ranges, importing: false, migrating: vec!["aa".into()] };
        assert_eq!(claims, expected);
        let importing = of("bb :0@0 myself,master - 0 0 3 connected [93-<-aa]\n").unwrap();
        assert_eq!(importing, Claims { id: "bb".into(), importing: true, ..Claims::default() });
        let replica = of("bb :0@0 myself,slave aa 0 0 3 connected\n").unwrap();
        assert_eq!(replica, Claims { id: "bb".into(), ..Claims::default() });
    }

    #[test]
    fn what_contradicts_itself_is_not_taken() {
        for text in [
            "",
            "aa 127.0.0.1:7000@17000 master - 0 0 3 connected 0-5\n",
            "bb :0@0 myself,master - 0 0 3 connected 5-4\n",
            "bb :0@0 myself,master - 0 0 3 connected 0-16384\n",
            "bb :0@0 myself,master - 0 0 3 connected x\n",
        ] {
            assert!(of(text).is_err(), "{text:?}");
        }
        assert!(Claims::of(b"-ERR This instance has cluster support disabled\r\n").is_err());
        assert!(Claims::of(b":1\r\n").is_err());
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(bb :0@0 myself,(master|slave)?)?[ 0-9a-z<>\\[\\]-]{0,40}") {
            let _ = of(&text);
        }

        #[test]
        fn no_bytes_panic(reply in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = Claims::of(&reply);
        }
    }
}
