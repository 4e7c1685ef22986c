//! The script of commands on a cluster: with every key in one slot, Larder in front of a cluster answers what one Redis
//! answers, byte for byte.
//!
//! Left out is what concerns no key or another database: it has its own tests.

use std::collections::BTreeSet;

use larder_integration_tests::client::{Client, Protocol, shown};
use larder_integration_tests::cluster::Cluster;
use larder_integration_tests::larder::{Larder, Settings};
use larder_integration_tests::redis::Redis;
use larder_integration_tests::reply::Reply;
use larder_integration_tests::script::{self, comparison};

type Command = Vec<Vec<u8>>;

/// What a cluster itself answers otherwise.
const ELSEWHERE: [&str; 4] = ["MOVE", "SELECT", "SWAPDB", "COPY"];

/// They have no key, and go with what has.
const TRANSACTION: [&str; 4] = ["MULTI", "EXEC", "DISCARD", "UNWATCH"];

/// The commands of the script that have keys, with all of these in one slot.
fn commands(redis: &Redis) -> Vec<Command> {
    let mut client = redis.connect();
    let mut commands = Vec::new();
    for command in script::commands() {
        let words: Vec<&[u8]> =
            [&b"COMMAND"[..], b"GETKEYS"].into_iter().chain(command.iter().map(Vec::as_slice)).collect();
        let keys = match client.call(&words) {
            Reply::Array(keys) => keys,
            _ if TRANSACTION.iter().any(|name| name.as_bytes().eq_ignore_ascii_case(&command[0])) => Vec::new(),
            _ => continue,
        };
        let keys: BTreeSet<Vec<u8>> =
            keys.into_iter().filter_map(|key| if let Reply::Bulk(key) = key { Some(key) } else { None }).collect();
        let name = String::from_utf8_lossy(&command[0]).to_ascii_uppercase();
        let patterns = |arg: &Vec<u8>| [&b"BY"[..], b"GET"].iter().any(|word| arg.eq_ignore_ascii_case(word));
        // (Larder takes what stands behind STORE for a key, and another slot for the first thing that is wrong.)
        let stores_read_only = name == "SORT_RO" && command.iter().any(|arg| arg == b"STORE");
        // A key within a script's text has no tag.
        let names_keys_itself =
            command.iter().any(|arg| String::from_utf8_lossy(arg).contains("redis.call('SET', 'tx:"));
        if stores_read_only
            || names_keys_itself
            || ELSEWHERE.contains(&&*name)
            || name.starts_with("SORT") && command.iter().any(patterns)
        {
            continue;
        }
        // A value that is the same word is tagged too, which is as good a value.
        let tagged = |arg: Vec<u8>| if keys.contains(&arg) { [b"{t}", &arg[..]].concat() } else { arg };
        let mut args = command.into_iter();
        commands.push(args.next().into_iter().chain(args.map(tagged)).collect());
    }
    commands
}

#[test]
fn in_one_slot_a_cluster_answers_as_one_redis() {
    let cluster = Cluster::start_primaries(3);
    let larder = Larder::start_with(&Settings::cluster(&cluster));
    for protocol in Protocol::BOTH {
        let redis = Redis::start();
        let commands = commands(&Redis::start());
        assert!(commands.len() > 500, "only {} commands", commands.len());
        assert_eq!(larder.say("FLUSHALL"), Reply::ok());
        let (mut bare, mut through) =
            (Client::connect_with(redis.address(), protocol), Client::connect_with(larder.address(), protocol));
        let mut differences = Vec::new();
        for command in &commands {
            let (expected, actual) = (bare.call_raw(command), through.call_raw(command));
            if !comparison::agree(comparison::of(command), &expected, &actual) {
                let [expected, actual] = [expected, actual].map(|bytes| bytes.escape_ascii().to_string());
                differences.push(format!("{}\n   redis: {expected}\n   other: {actual}", shown(command)));
            }
        }
        let count = differences.len();
        differences.truncate(20);
        assert!(count == 0, "{count} of {} replies differ ({protocol:?}):\n{}", commands.len(), differences.join("\n"));
    }
    assert!(larder.hits() > 100.0, "the cache was hardly used");
}
