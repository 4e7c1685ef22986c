//! SCAN over several primaries: every key that was there from beginning to end is returned, whatever happens meanwhile.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use larder_integration_tests::client::{Client, Protocol};
use larder_integration_tests::cluster::{Cluster, slot_of};
use larder_integration_tests::larder::{Larder, Settings};
use larder_integration_tests::reply::Reply;

use crate::show;

/// Above it a number is not safe in a client that has no integers but those of a double.
const SAFE: u64 = 1 << 53;

#[test]
fn scans_over_several_primaries() {
    let cluster = Cluster::start();
    let larder = Larder::start_with(&Settings::cluster(&cluster));
    let cases: &[crate::Case] = &[
        ("every key, once", every_key_comes_once_at_rest),
        ("MATCH, COUNT and TYPE", match_count_and_type_choose),
        ("while other keys come and go", every_key_comes_while_others_come_and_go),
        ("while slots move", every_key_comes_while_slots_move),
        ("a slot that stays half moved", every_key_comes_from_a_slot_half_moved),
        ("while primaries are replaced", every_key_comes_while_primaries_are_replaced),
        ("cursors that are none", cursors_that_are_none),
        ("HSCAN, SSCAN and ZSCAN", scans_of_one_key_are_its_owners),
    ];
    show(&cluster, &larder, cases);
}

/// The keys of a whole scan, in the order in which they came. `between` is called before each step.
fn scan(client: &mut Client, options: &[&str], mut between: impl FnMut()) -> Vec<String> {
    let (mut cursor, mut found) = ("0".to_owned(), Vec::new());
    for _ in 0..100_000 {
        between();
        let reply = client.call(&[&["SCAN", &cursor], options].concat());
        let [next, keys] = reply.items().unwrap_or_else(|| panic!("SCAN {cursor}: {reply:?}")) else {
            panic!("{reply:?}")
        };
        cursor = next.text().expect("a cursor");
        assert!(cursor.parse::<u64>().expect("a number") < SAFE, "{cursor}");
        found.extend(keys.items().expect("a list").iter().filter_map(Reply::text));
        if cursor == "0" {
            return found;
        }
    }
    panic!("the scan does not end");
}

fn fill(client: &mut Client, prefix: &str, count: usize) -> BTreeSet<String> {
    let keys: BTreeSet<String> = (0..count).map(|number| format!("{prefix}{number}")).collect();
    let sets: Vec<&str> = ["MSET"].into_iter().chain(keys.iter().flat_map(|key| [key.as_str(), "v"])).collect();
    assert_eq!(client.call(&sets), Reply::ok());
    keys
}

fn assert_all(found: &[String], wanted: &BTreeSet<String>) {
    let found: BTreeSet<&String> = found.iter().collect();
    let missed: Vec<_> = wanted.iter().filter(|key| !found.contains(key)).collect();
    assert!(
        missed.is_empty(),
        "{} of {} keys were missed: {:?}",
        missed.len(),
        wanted.len(),
        &missed[..missed.len().min(5)]
    );
}

fn every_key_comes_once_at_rest(_: &Cluster, larder: &Larder) {
    for protocol in Protocol::BOTH {
        let mut client = larder.connect_with(protocol);
        let keys = fill(&mut client, "rest:", 500);
        let found = scan(&mut client, &[], || ());
        assert_all(&found, &keys);
        assert_eq!(found.len(), 500, "none comes twice while nothing changes");
    }
    assert_eq!(larder.say("FLUSHALL"), Reply::ok());
    assert_eq!(scan(&mut larder.connect(), &[], || ()), [""; 0]);
}

fn match_count_and_type_choose(_: &Cluster, larder: &Larder) {
    let mut client = larder.connect();
    let keys = fill(&mut client, "string:", 60);
    for number in 0..30 {
        client.say(&format!("SADD set:{number} m"));
    }
    let sets: BTreeSet<String> = (0..30).map(|number| format!("set:{number}")).collect();
    for (options, wanted) in [
        (&["MATCH", "set:*"][..], &sets),
        (&["TYPE", "set"], &sets),
        (&["COUNT", "1000", "TYPE", "string"], &keys),
        (&["COUNT", "1", "MATCH", "string:*", "TYPE", "string"], &keys),
    ] {
        let found = scan(&mut client, options, || ());
        assert_eq!(found.iter().collect::<BTreeSet<_>>(), wanted.iter().collect(), "{options:?}");
    }
    assert_eq!(scan(&mut client, &["MATCH", "none*"], || ()), [""; 0]);
    let refused = client.say("SCAN 0 COUNT 0");
    assert_eq!(refused.error(), Some("ERR syntax error"));
}

fn every_key_comes_while_others_come_and_go(_: &Cluster, larder: &Larder) {
    let stop = AtomicBool::new(false);
    let mut client = larder.connect();
    let keys = fill(&mut client, "kept:", 400);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut other = larder.connect();
            for round in 0.. {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                fill(&mut other, &format!("passing:{round}:"), 50);
                let gone: Vec<String> = (0..50).map(|number| format!("passing:{round}:{number}")).collect();
                let del: Vec<&str> = ["DEL"].into_iter().chain(gone.iter().map(String::as_str)).collect();
                other.call(&del);
            }
        });
        for _ in 0..5 {
            assert_all(&scan(&mut client, &["COUNT", "7"], || ()), &keys);
        }
        stop.store(true, Ordering::Relaxed);
    });
}

fn every_key_comes_while_slots_move(cluster: &Cluster, larder: &Larder) {
    let mut client = larder.connect();
    let keys = fill(&mut client, "moving:", 300);
    let slots: Vec<u16> = keys.iter().take(6).map(|key| slot_of(key)).collect();
    for (round, slot) in slots.into_iter().enumerate() {
        let mut steps = 0;
        let primaries = cluster.primaries();
        let found = scan(&mut client, &["COUNT", "10"], || {
            steps += 1;
            // At another step each time.
            if steps == 3 + 4 * round {
                let from = cluster.owner_of_slot(slot);
                let at = primaries.iter().position(|primary| *primary == from).expect("a primary");
                cluster.migrate_slot(slot, from, primaries[(at + 1 + round % 2) % 3]);
            }
        });
        assert_all(&found, &keys);
    }
}

/// Keys that went to a primary which had been scanned, from one which had not, while their slot still belongs to that.
fn every_key_comes_from_a_slot_half_moved(cluster: &Cluster, larder: &Larder) {
    let mut client = larder.connect();
    let keys = fill(&mut client, "half:", 200);
    let mut ids: Vec<(String, usize)> =
        cluster.primaries().into_iter().map(|node| (cluster.id(node).to_owned(), node)).collect();
    ids.sort();
    // From the one that is scanned last to the one that is scanned first.
    let (first, last) = (ids[0].1, ids[2].1);
    let slot = slot_of(keys.iter().find(|key| cluster.owner_of(key) == last).expect("a key there"));
    let mut migration = None;
    let mut steps = 0;
    let found = scan(&mut client, &["COUNT", "10"], || {
        steps += 1;
        if steps == 9 {
            let begun = cluster.begin_migration(slot, last, first);
            assert!(cluster.move_keys(begun) > 0);
            migration = Some(begun);
        }
    });
    let migration = migration.expect("the scan took more steps");
    cluster.finish_migration(migration);
    assert_all(&found, &keys);
}

fn every_key_comes_while_primaries_are_replaced(cluster: &Cluster, larder: &Larder) {
    let mut client = larder.connect();
    let keys = fill(&mut client, "replaced:", 300);
    for at in [2, 12, 20] {
        let mut steps = 0;
        let found = scan(&mut client, &["COUNT", "10"], || {
            steps += 1;
            if steps == at {
                cluster.fail_over(cluster.primaries()[at % 3]);
            }
        });
        assert_all(&found, &keys);
    }
}

fn cursors_that_are_none(cluster: &Cluster, larder: &Larder) {
    let mut client = larder.connect();
    let keys = fill(&mut client, "odd:", 50);
    for cursor in ["x", "1x", "99999999999999999999999", "1.5", " 1"] {
        let real = cluster.call_on(cluster.primaries()[0], &["SCAN", cursor]);
        assert_eq!(client.call(&["SCAN", cursor]), real, "{cursor:?}");
    }
    // Made up: it may give anything, and must end.
    for cursor in ["1", "12345", "18446744073709551615"] {
        let mut next = cursor.to_owned();
        for step in 0.. {
            assert!(step < 1000, "a scan from {cursor} does not end");
            let reply = client.call(&["SCAN", &next]);
            next = reply.items().and_then(|parts| parts[0].text()).unwrap_or_else(|| panic!("{reply:?}"));
            if next == "0" {
                break;
            }
        }
    }
    assert_all(&scan(&mut client, &[], || ()), &keys);
}

fn scans_of_one_key_are_its_owners(cluster: &Cluster, larder: &Larder) {
    let mut client = larder.connect();
    for primary in cluster.primaries() {
        let key = cluster.key_on(primary, "big:");
        for (name, add) in [("HSCAN", "HSET"), ("SSCAN", "SADD"), ("ZSCAN", "ZADD")] {
            client.call(&["DEL", &key]);
            for number in 0..600 {
                let member = format!("m{number}");
                match name {
                    "HSCAN" => client.call(&[add, &key, &member, "v"]),
                    "SSCAN" => client.call(&[add, &key, &member]),
                    _ => client.call(&[add, &key, "1", &member]),
                };
            }
            let (mut cursor, mut members) = ("0".to_owned(), BTreeSet::new());
            loop {
                let reply = client.call(&[name, &key, &cursor]);
                let parts = reply.items().expect("two parts");
                members.extend(parts[1].items().expect("a list").iter().filter_map(Reply::text));
                cursor = parts[0].text().expect("a cursor");
                if cursor == "0" {
                    break;
                }
            }
            assert_eq!(members.iter().filter(|member| member.starts_with('m')).count(), 600, "{name}");
        }
    }
}
