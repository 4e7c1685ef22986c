//! One Larder in front of all of an application's stores, as the application uses them (`clients/redis_py_stores.py`).

use larder_integration_tests::client_script::run;
use larder_integration_tests::larder::{Larder, Settings};
use larder_integration_tests::memcached::Memcached;
use larder_integration_tests::redis::Redis;
use larder_integration_tests::replicated::Replicated;
use larder_integration_tests::reply::Reply;

use super::keys;

const ROUTES: &str = "\
routes:
  - {keys: ['session:*'], upstream: main, read_from: replica-preferred}
  - {keys: ['api:*'], upstream: api, cache: {ttl: 500ms}}
  - {keys: ['coord:*'], upstream: locks, cache: {enabled: false}, stale: never}
  - {keys: ['local:*'], upstream: local}
";

#[test]
fn sessions_an_api_cache_locks_and_local_data_are_each_in_their_store_and_nowhere_else() {
    let sessions = Replicated::start(2);
    let nodes = [Memcached::start(), Memcached::start(), Memcached::start()];
    let locks = Redis::start();
    let addresses: Vec<_> = nodes.iter().map(|node| format!("\"{}\"", node.address())).collect();
    let patient = "connect_timeout: 2s, command_timeout: 10s";
    let settings = Settings::with_replicas(&sessions)
        .beside(&format!("api: {{kind: memcached, endpoints: [{}], {patient}}}", addresses.join(", ")))
        .beside(&format!("locks: {{kind: redis, endpoints: [\"{}\"], {patient}}}", locks.address()))
        .beside("local: {kind: memory, max_memory: 16mb}")
        .section(ROUTES);
    let larder = Larder::start_with(&settings);
    larder.until_normal();
    run("redis_py_stores.py", larder.address());

    let mut expected: Vec<String> = (0..20).map(|number| format!("session:{number}")).collect();
    expected.sort_unstable();
    assert_eq!(keys(&sessions.primary), expected);
    assert_eq!(keys(&locks), ["coord:count", "coord:leader", "coord:mixed"]);

    // Each key of the ring on one node, as plain bytes with no flags.
    let mut expected: Vec<String> = (2..200).map(|number| format!("api:item:{number}")).collect();
    expected.extend(["api:new", "api:hits", "api:mixed"].map(str::to_owned));
    let mut counts = [0; 3];
    for key in &expected {
        let found: Vec<_> = nodes.iter().map(|node| node.connect().get(key)).collect();
        assert_eq!(found.iter().flatten().count(), 1, "{key}: {found:?}");
        for (count, found) in counts.iter_mut().zip(&found) {
            *count += u64::from(found.is_some());
        }
    }
    let held: Vec<u64> = nodes.iter().map(|node| node.connect().stat("curr_items")).collect();
    assert_eq!(held, counts, "and nothing else");
    assert!(counts.iter().all(|count| *count > 20), "{counts:?}");
    assert_eq!(nodes.iter().find_map(|node| node.connect().get("api:item:2")), Some((0, "newer".to_owned())));
    assert_eq!(nodes.iter().find_map(|node| node.connect().get("api:hits")), Some((0, "41".to_owned())));

    let metrics = larder.metrics();
    assert_eq!(metrics.sum("larder_memory_upstream_keys"), 2.0);
    assert_eq!(
        larder.say("MGET local:flags local:mixed"),
        Reply::Array(vec![Reply::bulk("on!"), Reply::bulk("piped")])
    );
}

#[test]
fn a_database_that_memcached_does_not_have_is_emptied_elsewhere_all_the_same() {
    let (main, node) = (Redis::start(), Memcached::start());
    let settings = Settings::new(main.address())
        .beside(&format!("api: {{kind: memcached, endpoints: [\"{}\"]}}", node.address()))
        .section("routes:\n  - {keys: ['api:*'], upstream: api}\n  - {keys: ['*'], upstream: main}\n");
    let larder = Larder::start_with(&settings);
    larder.until_normal();
    let mut client = larder.connect();
    let replies =
        client.pipeline(&["SET a 0", "SET api:a 0", "SELECT 1", "SET a 1", "FLUSHDB", "EXISTS a", "GET api:a"]);
    assert_eq!(replies[4..6], [Reply::ok(), Reply::Integer(0)]);
    assert!(replies[6].error().is_some_and(|error| error.contains("DB index")), "{replies:?}");
    let replies = client.pipeline(&["SELECT 0", "GET a", "GET api:a", "FLUSHDB", "EXISTS a", "EXISTS api:a"]);
    assert_eq!(replies[1..3], [Reply::bulk("0"), Reply::bulk("0")]);
    assert_eq!(replies[3..], [Reply::ok(), Reply::Integer(0), Reply::Integer(0)]);
}
