//! Replies of real nodes, replies that contradict themselves, and bytes of all kinds.

use super::*;
use proptest::prelude::*;

/// A range as Redis 7 sends it to a RESP2 client, each server as `host port id`.
fn range(first: u16, last: u16, members: &[(&str, u16, &str)]) -> String {
    let mut text = format!("*{}\r\n:{first}\r\n:{last}\r\n", members.len() + 2);
    for (host, port, id) in members {
        text += &format!("*4\r\n${}\r\n{host}\r\n:{port}\r\n${}\r\n{id}\r\n*0\r\n", host.len(), id.len());
    }
    text
}

fn reply(ranges: &[String]) -> Vec<u8> {
    format!("*{}\r\n{}", ranges.len(), ranges.concat()).into_bytes()
}

fn member(id: &str, host: &str, port: u16) -> Member {
    Member { id: id.into(), host: host.into(), port }
}

fn read(ranges: &[String]) -> Shards {
    Shards::of(&reply(ranges), "asked").unwrap()
}

#[test]
fn ranges_are_read_in_the_order_of_their_slots() {
    let shards = read(&[
        range(5461, 16383, &[("h2", 7001, "b"), ("h3", 7002, "c")]),
        range(0, 5460, &[("127.0.0.1", 7000, "a")]),
    ]);
    let expected = [
        Range { first: 0, last: 5460, primary: member("a", "127.0.0.1", 7000), replicas: Vec::new() },
        Range { first: 5461, last: 16383, primary: member("b", "h2", 7001), replicas: vec![member("c", "h3", 7002)] },
    ];
    assert_eq!(shards.ranges, expected);
    assert!(shards.complete());
    assert_eq!(shards.find(5460).map(|range| range.first), Some(0));
    assert_eq!(shards.find(5461).map(|range| range.first), Some(5461));
    assert_eq!(shards.find(16383).map(|range| range.first), Some(5461));
}

#[test]
fn slots_without_an_owner_are_in_no_range() {
    let shards = read(&[range(10, 20, &[("h", 1, "a")])]);
    assert!(!shards.complete());
    assert_eq!((shards.find(9), shards.find(21)), (None, None));
    assert_eq!(read(&[]).find(0), None);
}

#[test]
fn a_node_without_a_host_is_where_it_was_asked() {
    let hosts = |host: &str, metadata: &str| {
        let text = format!("*1\r\n*3\r\n:0\r\n:1\r\n*4\r\n{host}:7000\r\n$1\r\na\r\n{metadata}");
        Shards::of(text.as_bytes(), "asked").map(|shards| shards.ranges[0].primary.host.clone())
    };
    let ip = "*2\r\n$2\r\nip\r\n$8\r\n10.0.0.1\r\n";
    assert_eq!(hosts("$-1\r\n", ip).unwrap(), "asked");
    assert_eq!(hosts("_\r\n", "%0\r\n").unwrap(), "asked");
    assert_eq!(hosts("$0\r\n\r\n", "*0\r\n").unwrap(), "asked");
    // By hostname, which this node has not been given.
    assert_eq!(hosts("$1\r\n?\r\n", ip).unwrap(), "10.0.0.1");
    assert_eq!(hosts("$1\r\n?\r\n", "%1\r\n$2\r\nip\r\n$3\r\n::1\r\n").unwrap(), "::1");
    assert_eq!(hosts("$1\r\n?\r\n", "*0\r\n").unwrap(), "asked");
    assert_eq!(hosts("$4\r\nhost\r\n", ip).unwrap(), "host");
    assert!(hosts("$3\r\na b\r\n", "*0\r\n").is_err());
    assert!(hosts(":1\r\n", "*0\r\n").is_err());
}

#[test]
fn servers_of_old_versions_are_known_by_their_address() {
    let shards = Shards::of(b"*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$3\r\n::1\r\n:7000\r\n", "asked").unwrap();
    assert_eq!(shards.ranges[0].primary, member("::1:7000", "::1", 7000));
    assert_eq!(shards.ranges[0].primary.to_string(), "[::1]:7000");
}

#[test]
fn a_replica_without_a_port_is_left_out_and_a_primary_without_one_refused() {
    let shards = read(&[range(0, 1, &[("h", 1, "a"), ("h", 0, "b")])]);
    assert_eq!(shards.ranges[0].replicas, []);
    let refused = Shards::of(&reply(&[range(7, 8, &[("h", 0, "a")])]), "asked").unwrap_err();
    assert_eq!(refused.to_string(), "the owner of slot 7 has no usable address");
}

#[test]
fn replies_that_contradict_themselves_are_refused() {
    for (ranges, words) in [
        (vec![range(0, 10, &[("h", 1, "a")]), range(10, 20, &[("h", 2, "b")])], "slot 10 has two owners"),
        (vec![range(5, 5, &[("h", 1, "a")]), range(0, 9, &[("h", 2, "b")])], "slot 5 has two owners"),
        (vec![range(9, 8, &[("h", 1, "a")])], "before it begins"),
        (vec![range(0, 16384, &[("h", 1, "a")])], "does not begin with two slots"),
        (vec![range(0, 1, &[])], "the owner of slot 0"),
        (vec!["*0\r\n".into()], "does not begin with two slots"),
        (vec![":1\r\n".into()], "a range is not a list"),
    ] {
        let refused = Shards::of(&reply(&ranges), "asked").unwrap_err().to_string();
        assert!(refused.contains(words), "{refused}");
    }
    let refused = Shards::of(b"-ERR This instance has cluster support disabled\r\n", "asked").unwrap_err();
    assert!(refused.to_string().contains("cluster support disabled"));
    for bytes in ["", "*1\r\n", "+OK\r\n", "*0\r\n*0\r\n", "*9999999\r\n"] {
        assert!(Shards::of(bytes.as_bytes(), "asked").is_err(), "{bytes:?}");
    }
    assert!(Shards::of(&vec![b'*'; MAX_BYTES + 1], "asked").unwrap_err().to_string().contains("more than"));
    assert!(Shards::of("*1\r\n".repeat(100_000).as_bytes(), "asked").is_err(), "nesting is not followed");
}

#[test]
fn the_digest_is_of_who_owns_what_and_of_nothing_else() {
    let two = |first: &str, second: &str, at: u16| {
        read(&[range(0, at, &[("h", 1, first)]), range(at + 1, 16383, &[("i", 2, second)])])
    };
    let digest = two("a", "b", 99).digest();
    // This very number: cursors of other processes and of later versions hold a part of it.
    assert_eq!(digest, DIGEST);
    let cut = read(&[
        range(0, 9, &[("h", 1, "a")]),
        range(10, 99, &[("h", 1, "a"), ("r", 3, "c")]),
        range(100, 16383, &[("elsewhere", 4, "b")]),
    ]);
    assert_eq!(cut.digest(), digest, "cuts, replicas and addresses do not count");
    for other in [two("a", "b", 100), two("b", "a", 99), two("a", "c", 99), Shards::default()] {
        assert_ne!(other.digest(), digest, "{other:?}");
    }
    let gap = read(&[range(0, 98, &[("h", 1, "a")]), range(100, 16383, &[("i", 2, "b")])]);
    assert_ne!(gap.digest(), digest, "a slot without an owner");
}

const DIGEST: u64 = 6_972_389_794_161_138_246;

#[test]
fn owners_stand_in_the_order_of_their_ids() {
    let shards = read(&[
        range(0, 0, &[("h", 1, "b")]),
        range(1, 1, &[("h", 2, "a"), ("h", 3, "0")]),
        range(2, 2, &[("h", 1, "b")]),
    ]);
    let ids: Vec<_> = shards.primaries().iter().map(|member| member.id.as_str()).collect();
    assert_eq!(ids, ["a", "b"]);
}

#[test]
fn cluster_info_says_whether_all_is_well_and_in_which_epoch() {
    let text = "cluster_state:ok\r\ncluster_slots_assigned:16384\r\ncluster_current_epoch:6\r\ncluster_my_epoch:2\r\n";
    let info = ClusterInfo { ok: true, current_epoch: 6, my_epoch: 2 };
    assert_eq!(ClusterInfo::of(format!("${}\r\n{text}\r\n", text.len()).as_bytes()), Ok(info));
    assert_eq!(ClusterInfo::of(format!("={}\r\ntxt:{text}\r\n", text.len() + 4).as_bytes()), Ok(info));
    let fail = text.replace("state:ok", "state:fail");
    let info = ClusterInfo::of(format!("${}\r\n{fail}\r\n", fail.len()).as_bytes());
    assert_eq!(info.map(|info| info.ok), Ok(false));
    for bytes in ["+\r\n", "-ERR This instance has cluster support disabled\r\n", ":1\r\n", "$1\r\nx"] {
        assert!(ClusterInfo::of(bytes.as_bytes()).is_err(), "{bytes:?}");
    }
}

proptest! {
    #[test]
    fn no_reply_panics(
        reply in "([*~%$:+_-][0-9-]{0,5}\r\n|[a-z]{1,4}\r\n|\\*3\r\n:0\r\n:9\r\n|\\*2\r\n\\+h\r\n:1\r\n){0,20}",
    ) {
        let _ = (Shards::of(reply.as_bytes(), "asked"), ClusterInfo::of(reply.as_bytes()));
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = (Shards::of(&bytes, "asked"), ClusterInfo::of(&bytes));
    }

    #[test]
    fn what_is_accepted_has_one_owner_for_each_slot(cuts in prop::collection::vec((0u16..16400, 0u16..300), 0..8)) {
        let ranges: Vec<_> = cuts
            .iter()
            .enumerate()
            .map(|(n, (first, length))| range(*first, first + length, &[("h", 1, &format!("n{n}"))]))
            .collect();
        if let Ok(shards) = Shards::of(&reply(&ranges), "asked") {
            for slot in 0..SLOTS as u16 {
                let owners = cuts.iter().filter(|(first, length)| (*first..=first + length).contains(&slot)).count();
                prop_assert_eq!(owners, usize::from(shards.find(slot).is_some()));
            }
        }
    }
}
