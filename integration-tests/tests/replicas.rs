//! Routes with `read_from: replica-preferred`: reads go to replicas where they can, may be old there, and fill nothing;
//! everything else is the primary's.

use std::thread;
use std::time::Duration;

use larder_integration_tests::client::{Client, Protocol};
use larder_integration_tests::cluster::Cluster;
use larder_integration_tests::larder::{Larder, Settings};
use larder_integration_tests::redis::Redis;
use larder_integration_tests::replicated::Replicated;
use larder_integration_tests::reply::Reply;
use larder_integration_tests::sentinel::SentinelSet;
use larder_integration_tests::wait;

/// Keys under `old:` may be old, and nothing else.
const ROUTES: &str = "routes: [{keys: ['old:*'], read_from: replica-preferred}, {keys: ['*']}]";

fn with_routes(settings: Settings) -> Settings {
    settings.section(ROUTES).upstream("command_timeout: 500ms").upstream("connect_timeout: 500ms")
}

/// How many times a server was asked for a command since its statistics were reset.
fn calls(server: &Redis, command: &str) -> u64 {
    let stats = server.say("INFO commandstats").text().unwrap_or_default();
    let line = stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
    line.and_then(|rest| rest.split(',').next()?.parse().ok()).unwrap_or(0)
}

/// What a replica has is seen as soon as it has it.
fn eventually(client: &mut Client, words: &str, reply: &Reply) {
    wait::until(words, || client.say(words) == *reply);
}

/// The same of each kind of upstream: reads of the route go to the replicas, with none of them cached.
fn reads_go_to_replicas(larder: &Larder, primary: &Redis, replicas: &[&Redis], key: &str) {
    for protocol in Protocol::BOTH {
        let mut client = larder.connect_with(protocol);
        assert_eq!(client.call(&["SET", key, "1"]), Reply::ok());
        let get = format!("GET {key}");
        wait::until("a replica is read from", || {
            let before: u64 = replicas.iter().map(|replica| calls(replica, "get")).sum();
            client.say(&get);
            replicas.iter().map(|replica| calls(replica, "get")).sum::<u64>() > before
        });
        for server in replicas.iter().chain([&primary]) {
            server.say("CONFIG RESETSTAT");
        }
        let fills = larder.metrics().sum("larder_cache_fills_total");
        eventually(&mut client, &get, &Reply::bulk("1"));
        for _ in 0..20 {
            assert_eq!(client.call(&["GET", key]), Reply::bulk("1"));
            assert_eq!(client.call(&["STRLEN", key]), Reply::Integer(1));
            assert_eq!(client.call(&["SORT_RO", &format!("{key}none")]).items().map(<[Reply]>::len), Some(0));
        }
        let asked: u64 = replicas.iter().map(|replica| calls(replica, "get") + calls(replica, "strlen")).sum();
        assert!(asked >= 40, "each read goes to a replica, {asked} did");
        assert_eq!((calls(primary, "get"), calls(primary, "strlen")), (0, 0), "nothing was read from the primary");
        assert_eq!(larder.metrics().sum("larder_cache_fills_total"), fills, "nothing was cached");
        // Writes, and what may write, are the primary's.
        assert_eq!(client.call(&["APPEND", key, "2"]), Reply::Integer(2));
        assert_eq!(client.call(&["EVAL", "return redis.call('GET', KEYS[1])", "1", key]), Reply::bulk("12"));
        assert_eq!(client.call(&["GETEX", key, "PERSIST"]), Reply::bulk("12"));
        assert_eq!((calls(primary, "append"), calls(primary, "eval"), calls(primary, "getex")), (1, 1, 1));
        eventually(&mut client, &get, &Reply::bulk("12"));
        assert_eq!(client.call(&["DEL", key]), Reply::Integer(1));
        eventually(&mut client, &get, &Reply::Null);
    }
    // Other keys are read from the primary, cached and coherent, as ever.
    let mut client = larder.connect();
    let other = key.replace("old:", "new:");
    client.call(&["SET", &other, "v"]);
    larder.warm(&mut client, &format!("GET {other}"));
    // A command with keys of both routes must not be old.
    let both = client.call(&["SUNION", &format!("{{{key}}}a"), &format!("{{{key}}}b")]);
    assert_eq!(both.items().map(<[Reply]>::len), Some(0), "{both:?}");
}

#[test]
fn of_a_primary_with_replicas() {
    let servers = Replicated::start(2);
    let larder = Larder::start_with(&with_routes(Settings::with_replicas(&servers)));
    let replicas: Vec<&Redis> = servers.replicas.iter().collect();
    reads_go_to_replicas(&larder, &servers.primary, &replicas, "old:k");
    // Each client has a replica of its own, and several clients use all of them.
    servers.replicas.iter().for_each(|replica| drop(replica.say("CONFIG RESETSTAT")));
    wait::until("both are used", || {
        larder.say("GET old:k");
        servers.replicas.iter().all(|replica| calls(replica, "get") > 0)
    });
}

#[test]
fn of_a_cluster() {
    let cluster = Cluster::start();
    let larder = Larder::start_with(&with_routes(Settings::cluster(&cluster)));
    for primary in cluster.primaries() {
        let key = cluster.key_on(primary, "old:");
        let replica = cluster.replica_of(primary);
        reads_go_to_replicas(&larder, cluster.redis(primary), &[cluster.redis(replica)], &key);
    }
}

#[test]
fn of_a_sentinels_primary() {
    let set = SentinelSet::start();
    let larder = Larder::start_with(&with_routes(Settings::sentinel(&set)));
    let primary = set.primary();
    let replicas: Vec<&Redis> = set
        .server_addresses()
        .into_iter()
        .filter(|address| *address != primary)
        .map(|address| set.server(address))
        .collect();
    reads_go_to_replicas(&larder, set.server(primary), &replicas, "old:k");
}

#[test]
fn a_replica_that_is_gone_or_silent_is_no_error() {
    let mut servers = Replicated::start(1);
    let larder = Larder::start_with(&with_routes(Settings::with_replicas(&servers)));
    let mut client = larder.connect();
    client.say("SET old:k v");
    eventually(&mut client, "GET old:k", &Reply::bulk("v"));
    wait::until("the replica is read from", || {
        client.say("GET old:k");
        calls(&servers.replicas[0], "get") > 0
    });
    // Silent: whoever has asked it is answered by the primary when its time is over.
    servers.replicas[0].freeze();
    assert_eq!(client.say("SET old:k new"), Reply::ok());
    for _ in 0..3 {
        let reply = client.say("GET old:k");
        assert_eq!(reply, Reply::bulk("new"), "the primary's answer");
    }
    servers.replicas[0].thaw();
    eventually(&mut client, "GET old:k", &Reply::bulk("new"));
    // Gone: the same, in the middle of pipelines of many clients.
    thread::scope(|scope| {
        let readers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut client = larder.connect();
                    for _ in 0..300 {
                        let replies = client.pipeline(&["GET old:k", "STRLEN old:k", "GET old:k"]);
                        assert_eq!(replies, [Reply::bulk("new"), Reply::Integer(3), Reply::bulk("new")]);
                    }
                })
            })
            .collect();
        thread::sleep(Duration::from_millis(20));
        servers.replicas[0].kill();
        readers.into_iter().for_each(|reader| reader.join().expect("no reader saw an error"));
    });
    let before = calls(&servers.primary, "get");
    assert_eq!(client.say("GET old:k"), Reply::bulk("new"));
    assert!(calls(&servers.primary, "get") > before, "the primary answers for it");
}

/// It lags, and says what it has; only the routes that allow it ask it.
#[test]
fn t15_a_replica_that_lags_shows_old_data_on_its_routes_only() {
    let servers = Replicated::start(1);
    let larder = Larder::start_with(&with_routes(Settings::with_replicas(&servers)));
    let mut client = larder.connect();
    client.say("MSET old:k 1 new:k 1");
    eventually(&mut client, "GET old:k", &Reply::bulk("1"));
    // Cut off from its primary, it still answers.
    servers.replicas[0].say("REPLICAOF 127.0.0.1 1");
    assert_eq!(client.say("MSET old:k 2 new:k 2"), Reply::ok());
    assert_eq!(client.say("GET new:k"), Reply::bulk("2"));
    assert_eq!(client.say("GET old:k"), Reply::bulk("1"), "as old as the replica");
    assert_eq!(client.say("MGET old:k new:k"), Reply::Array(vec![Reply::bulk("2"), Reply::bulk("2")]));
    // One that says itself that it should not be asked is not.
    servers.replicas[0].say("CONFIG SET replica-serve-stale-data no");
    let replies = client.pipeline(&["GET old:k", "STRLEN old:k", "GET old:k"]);
    assert_eq!(replies, [Reply::bulk("2"), Reply::Integer(1), Reply::bulk("2")], "the primary's answers");
}
