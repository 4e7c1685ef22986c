//! What Larder tells of itself over the Redis protocol: LARDER and its subcommands, and the commands that Redis
//! clients and tools ask first.

mod clients;
mod command;
mod explain;

use std::collections::BTreeMap;

use larder_integration_tests::client::Protocol;
use larder_integration_tests::larder::{Larder, Settings};
use larder_integration_tests::redis::Redis;
use larder_integration_tests::reply::Reply;
use larder_integration_tests::wait;

use explain::explained;

/// A map reply with texts as keys.
fn map(reply: &Reply) -> BTreeMap<String, Reply> {
    let items = reply.items().unwrap_or_else(|| panic!("no map: {reply:?}"));
    items.chunks(2).map(|pair| (pair[0].text().expect("a name"), pair[1].clone())).collect()
}

#[test]
fn help_names_every_subcommand_and_nothing_else_is_taken() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    let help = format!("{:?}", larder.say("LARDER HELP"));
    for name in ["EXPLAIN", "FLUSH", "HOTKEYS", "INVALIDATE", "LADDER", "NODES", "STALENESS", "STATS", "HELP"] {
        assert!(help.contains(&format!("+{name}")), "{name} in {help}");
    }
    for (command, words) in [
        ("LARDER", "wrong number of arguments for 'larder' command"),
        ("LARDER BOGUS", "unknown subcommand 'BOGUS'. Try LARDER HELP."),
        ("LARDER EXPLAIN", "wrong number of arguments for 'larder|explain' command"),
        ("LARDER INVALIDATE", "wrong number of arguments for 'larder|invalidate' command"),
        ("LARDER STATS x", "wrong number of arguments for 'larder|stats' command"),
        ("LARDER NODES x", "wrong number of arguments for 'larder|nodes' command"),
        ("LARDER HOTKEYS x", "not an integer"),
        ("LARDER HOTKEYS 0", "must be positive"),
        ("LARDER HOTKEYS -1", "must be positive"),
        ("LARDER HOTKEYS 1 2", "wrong number of arguments for 'larder|hotkeys' command"),
    ] {
        let reply = larder.say(command);
        assert!(reply.error().is_some_and(|error| error.contains(words)), "{command}: {reply:?}");
    }
}

#[test]
fn the_hottest_key_comes_first() {
    let origin = Redis::start();
    let larder = Larder::start_with(&Settings::new(origin.address()).section("workers: 2"));
    let mut clients = [larder.connect(), larder.connect()];
    let mut readings = Vec::new();
    for n in 0..40 {
        readings.extend([format!("GET cold:{n}"), "GET warm".to_owned(), "GET hot".to_owned(), "GET hot".to_owned()]);
    }
    let readings: Vec<&str> = readings.iter().map(String::as_str).collect();
    for client in &mut clients {
        for _ in 0..5 {
            client.pipeline(&readings);
        }
    }
    let mut told = Vec::new();
    // Published by each worker now and then; halved every ten seconds, which keeps the order.
    wait::until("both workers have told", || {
        let reply = larder.say("LARDER HOTKEYS");
        let pair = |pair: &Reply| {
            let pair = pair.items().expect("a pair");
            (pair[0].text().expect("a key"), pair[1].integer().expect("a count"))
        };
        told = reply.items().expect("a list").iter().map(pair).collect::<Vec<_>>();
        told.first().is_some_and(|(key, reads)| key == "hot" && *reads > 350)
    });
    assert_eq!(told.len(), 10, "as many as without an argument");
    assert_eq!(told[1].0, "warm", "{told:?}");
    assert!(told.is_sorted_by(|a, b| a.1 >= b.1), "{told:?}");
    assert_eq!(larder.say("LARDER HOTKEYS 1").items().map(<[Reply]>::len), Some(1));
}

#[test]
fn invalidate_drops_what_it_is_told_and_says_how_many() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    let mut client = larder.connect();
    client.pipeline(&["SET a 1", "SET b 2", "SET c 3"]);
    for read in ["GET a", "STRLEN a", "GET b", "GET c"] {
        larder.warm(&mut client, read);
    }
    assert_eq!(client.say("LARDER INVALIDATE a b nothing"), Reply::Integer(2));
    assert_eq!(client.say("LARDER INVALIDATE a b nothing"), Reply::Integer(0));
    let misses = larder.misses();
    assert_eq!(client.pipeline(&["GET a", "GET b", "GET c"]), ["1", "2", "3"].map(Reply::bulk));
    assert_eq!(larder.misses(), misses + 2.0, "only those two were gone");
    assert_eq!(origin.say("GET a"), Reply::bulk("1"), "nothing changes at the origin");
    assert_eq!(larder.metrics().sum_where("larder_cache_invalidations_total", "operator"), 2.0);
}

#[test]
fn flush_empties_the_near_cache_and_nothing_else() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    let mut client = larder.connect();
    client.pipeline(&["SET a 1", "SELECT 1", "SET a other"]);
    larder.warm(&mut client, "GET a");
    let mut second = larder.connect();
    larder.warm(&mut second, "GET a");
    assert_eq!(second.say("LARDER FLUSH"), Reply::ok());
    assert_eq!(larder.metrics().sum("larder_cache_keys"), 0.0);
    assert_eq!(explained(&mut second, "GET a", "entry of a"), "none");
    let misses = larder.misses();
    assert_eq!((second.say("GET a"), client.say("GET a")), (Reply::bulk("1"), Reply::bulk("other")));
    assert_eq!(larder.misses(), misses + 2.0);
    larder.warm(&mut second, "GET a");
    assert_eq!(origin.say("DBSIZE"), Reply::Integer(1));
    assert_eq!(Larder::start_with(&Settings::memory()).say("LARDER FLUSH"), Reply::ok(), "nothing to do is no error");
}

#[test]
fn stats_are_a_map_of_numbers_in_both_protocols() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    for protocol in Protocol::BOTH {
        let mut client = larder.connect_with(protocol);
        larder.warm(&mut client, "GET k");
        let reply = client.say("LARDER STATS");
        assert_eq!(matches!(reply, Reply::Map(_)), protocol == Protocol::Resp3, "{reply:?}");
        let stats = map(&reply);
        for name in ["cache_hits_total", "cache_misses_total", "cache_fills_total", "clients", "commands_total"] {
            assert!(stats.get(name).and_then(Reply::integer).is_some_and(|value| value > 0), "{name}: {stats:?}");
        }
        let ratio = stats["cache_hit_ratio"].text().expect("a share").parse::<f64>().expect("a number");
        assert!(ratio > 0.0 && ratio < 1.0, "{ratio}");
    }
}
