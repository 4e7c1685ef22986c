//! Which entries a change reaches: databases, other keys than the first, whole databases.

use larder_integration_tests::client::Client;
use larder_integration_tests::larder::{Larder, Settings, TRACKED_NAME};
use larder_integration_tests::redis::Redis;
use larder_integration_tests::reply::Reply;
use larder_integration_tests::wait;

/// T1: one client's database must not become another's, and neither may its values.
#[test]
fn t1_each_client_has_its_own_database() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    let mut direct = origin.connect();
    for database in 0..16 {
        direct.pipeline(&[&format!("SELECT {database}"), &format!("SET k {database}")]);
    }
    let mut clients: Vec<Client> = (0..32).map(|_| larder.connect()).collect();
    for round in 0..20 {
        for (number, client) in clients.iter_mut().enumerate() {
            let database = (number + round) % 16;
            // Nobody waits for the answer of SELECT: the position in the stream counts.
            let select = format!("SELECT {database}");
            let replies = client.pipeline(&["GET k", &select, "GET k", "STRLEN k", "GETEX k", "GET k"]);
            let value = Reply::bulk(&database.to_string());
            assert_eq!(
                (&replies[2], &replies[4], &replies[5]),
                (&value, &value, &value),
                "client {number}, round {round}"
            );
        }
    }
}

/// T1: an invalidation names a key but no database, so it must reach every database's entry.
#[test]
fn t1_a_change_in_any_database_is_seen() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    let (mut direct, mut client) = (origin.connect(), larder.connect());
    for version in 0..10 {
        for database in [0, 3, 15] {
            let select = format!("SELECT {database}");
            direct.say(&select);
            client.say(&select);
            let value = format!("{version}-{database}");
            assert_eq!(direct.say(&format!("SET k {value}")), Reply::ok());
            wait::until("the change is seen in its database", || client.say("GET k") == Reply::bulk(&value));
        }
    }
    client.say("SELECT 3");
    assert_eq!(client.say("GET k"), Reply::bulk("9-3"));
}

/// T7: FLUSHALL and FLUSHDB push a null and not a list of keys.
#[test]
fn t7_a_flush_at_the_origin_clears_every_entry() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    for flush in ["FLUSHALL", "FLUSHDB", "FLUSHALL ASYNC", "FLUSHDB SYNC"] {
        let mut client = larder.connect();
        for number in 0..50 {
            client.say(&format!("SET k:{number} v"));
            client.say(&format!("GET k:{number}"));
        }
        client.say("HSET h f v");
        larder.warm(&mut client, "GET k:0");
        larder.warm(&mut client, "HGETALL h");
        assert_eq!(origin.say(flush), Reply::ok());
        wait::until("one entry is gone", || client.say("GET k:0") == Reply::Null);
        // One push told of all of them.
        for number in 0..50 {
            assert_eq!(client.say(&format!("GET k:{number}")), Reply::Null, "{flush}: k:{number}");
        }
        assert_eq!(client.say("HGETALL h"), Reply::Array(vec![]));
    }
}

/// T7: one's own flush is seen at once, in the databases that it means and by everybody.
#[test]
fn t7_a_flush_through_the_proxy_is_seen_at_once() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    let (mut writer, mut reader) = (larder.connect(), larder.connect());
    for (flush, elsewhere) in [("FLUSHDB", Reply::bulk("3")), ("FLUSHALL", Reply::Null)] {
        for _ in 0..50 {
            writer.pipeline(&["SET k 0", "SELECT 3", "SET k 3", "SELECT 0"]);
            reader.pipeline(&["SELECT 3", "GET k", "GET k", "SELECT 0", "GET k", "GET k"]);
            assert_eq!(writer.say(flush), Reply::ok());
            assert_eq!(reader.say("GET k"), Reply::Null, "{flush}");
            assert_eq!(reader.pipeline(&["SELECT 3", "GET k", "SELECT 0"])[1], elsewhere, "{flush}");
        }
    }
}

/// T9: SWAPDB changes what every key of two databases holds and pushes nothing.
#[test]
fn t9_swapdb_through_the_proxy_is_seen_at_once() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    let (mut writer, mut reader) = (larder.connect(), larder.connect());
    writer.pipeline(&["SET k zero", "SELECT 1", "SET k one", "SET only here", "SELECT 0"]);
    for round in 0..20 {
        let (zero, one) = if round % 2 == 0 { ("zero", "one") } else { ("one", "zero") };
        for _ in 0..3 {
            let replies = reader.pipeline(&["SELECT 0", "GET k", "GET only", "SELECT 1", "GET k"]);
            assert_eq!((&replies[1], &replies[4]), (&Reply::bulk(zero), &Reply::bulk(one)), "round {round}");
            assert_eq!(replies[2] == Reply::Null, round % 2 == 0);
        }
        assert_eq!(writer.say("SWAPDB 0 1"), Reply::ok());
    }
}

/// T10: many commands change another key than their first, or several.
const CHANGES: [(&str, &str, &str); 26] = [
    ("RENAME", "SET a 1|SET b 2", "RENAME a b"),
    ("RENAMENX", "SET a 1|DEL b", "RENAMENX a b"),
    ("COPY", "SET a 1|SET b 2", "COPY a b REPLACE"),
    ("MOVE", "SET a 1", "MOVE a 9"),
    ("SMOVE", "SADD a m n|SADD b o", "SMOVE a b m"),
    ("LMOVE", "RPUSH a 1 2|RPUSH b 3", "LMOVE a b LEFT RIGHT"),
    ("RPOPLPUSH", "RPUSH a 1 2|RPUSH b 3", "RPOPLPUSH a b"),
    ("LMPOP", "DEL a|RPUSH b 3 4", "LMPOP 2 a b LEFT"),
    ("ZMPOP", "DEL a|ZADD b 1 x 2 y", "ZMPOP 2 a b MIN"),
    ("BITOP", "SET a x|SET b y|SET c z", "BITOP OR b a c"),
    ("SORT STORE", "RPUSH a 3 1 2|RPUSH b 9", "SORT a STORE b"),
    ("sort store", "RPUSH a 3 1 2|RPUSH b 9", "sort a limit 0 2 desc store b"),
    ("SINTERSTORE", "SADD a 1 2|SADD b 9", "SINTERSTORE b a"),
    ("SUNIONSTORE", "SADD a 1 2|SADD b 9|SADD c 3", "SUNIONSTORE b a c"),
    ("SDIFFSTORE", "SADD a 1 2|SADD b 9", "SDIFFSTORE b a"),
    ("ZUNIONSTORE", "ZADD a 1 x|ZADD b 9 y", "ZUNIONSTORE b 1 a"),
    ("ZINTERSTORE", "ZADD a 1 x|ZADD b 9 y", "ZINTERSTORE b 1 a"),
    ("ZDIFFSTORE", "ZADD a 1 x|ZADD b 9 y", "ZDIFFSTORE b 1 a"),
    ("ZRANGESTORE", "ZADD a 1 x 2 y|ZADD b 9 z", "ZRANGESTORE b a 0 0"),
    ("GEOSEARCHSTORE", "GEOADD a 13 38 p|ZADD b 9 z", "GEOSEARCHSTORE b a FROMLONLAT 13 38 BYRADIUS 9 km"),
    ("GEORADIUS STORE", "GEOADD a 13 38 p|ZADD b 9 z", "GEORADIUS a 13 38 9 km STORE b"),
    ("PFMERGE", "PFADD a x y|PFADD b z", "PFMERGE b a"),
    ("MSET", "SET a 1|SET b 2", "MSET b 3 a 4"),
    ("MSETNX", "DEL a b", "MSETNX b 3 a 4"),
    ("DEL", "SET a 1|SET b 2|SET c 3", "DEL c b a"),
    ("UNLINK", "SET a 1|SET b 2", "UNLINK nothing b a"),
];

/// Every cacheable look at a key, whatever its type is: errors compare as well.
fn looks(key: &str) -> Vec<String> {
    ["GET", "EXISTS", "TYPE", "STRLEN", "HGETALL", "SMEMBERS", "SCARD", "LLEN", "ZCARD"]
        .iter()
        .map(|name| format!("{name} {key}"))
        .chain([format!("LRANGE {key} 0 -1"), format!("ZRANGE {key} 0 -1 WITHSCORES"), format!("MGET {key} other")])
        .collect()
}

fn all_looks() -> Vec<String> {
    ["a", "b", "c"].into_iter().flat_map(looks).collect()
}

fn prepare(direct: &mut Client, client: &mut Client, state: &str) {
    direct.say("FLUSHALL");
    for command in state.split('|') {
        assert_eq!(direct.say(command).error(), None, "{command}");
    }
    // The pushes of these changes arrive, then everything is in the cache.
    let looks = all_looks();
    wait::until(&format!("the state `{state}` is seen"), || {
        looks.iter().all(|look| client.say(look) == direct.say(look))
    });
}

/// T10 through the proxy: every key that the command changes is right at once, for another client.
#[test]
fn t10_own_changes_of_other_keys_are_seen_at_once() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    let (mut direct, mut writer, mut reader) = (origin.connect(), larder.connect(), larder.connect());
    for (name, state, change) in CHANGES {
        prepare(&mut direct, &mut reader, state);
        let reply = writer.say(change);
        assert_eq!(reply.error(), None, "{name}");
        let seen: Vec<Reply> = all_looks().iter().map(|look| reader.say(look)).collect();
        let right: Vec<Reply> = all_looks().iter().map(|look| direct.say(look)).collect();
        assert_eq!(seen, right, "{name}: {:?}", all_looks());
    }
}

/// T10 at the origin: a push comes for every key.
#[test]
fn t10_foreign_changes_of_other_keys_are_seen() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    let (mut direct, mut reader) = (origin.connect(), larder.connect());
    for (name, state, change) in CHANGES {
        prepare(&mut direct, &mut reader, state);
        assert_eq!(direct.say(change).error(), None, "{name}");
        for look in all_looks() {
            wait::until(&format!("{name}: `{look}` is seen"), || reader.say(&look) == direct.say(&look));
        }
    }
}

/// T10: RESTORE writes a key from bytes, COPY into another database's.
#[test]
fn t10_restore_and_copies_between_databases_are_seen_at_once() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    let (mut writer, mut reader) = (larder.connect(), larder.connect());
    writer.say("SET source value");
    let Reply::Bulk(dump) = writer.say("DUMP source") else { panic!("DUMP gives bytes") };
    for round in 0..20 {
        writer.say(&format!("SET target {round}"));
        assert_eq!((reader.say("GET target"), reader.say("GET target")).1, Reply::bulk(&round.to_string()));
        assert_eq!(writer.call(&[b"RESTORE".as_slice(), b"target", b"0", &dump, b"REPLACE"]), Reply::ok());
        assert_eq!(reader.say("GET target"), Reply::bulk("value"));
        reader.pipeline(&["SELECT 4", "GET target", "GET target"]);
        assert_eq!(writer.say("COPY target target DB 4 REPLACE"), Reply::Integer(1));
        assert_eq!(reader.say("GET target"), Reply::bulk("value"));
        writer.pipeline(&["SELECT 4", "DEL target", "SELECT 0"]);
        assert_eq!(reader.pipeline(&["GET target", "SELECT 0"])[0], Reply::Null);
    }
}

/// T29: the name of a command has many spellings, its arguments have one; boundaries count.
#[test]
fn t29_one_entry_for_all_spellings_and_one_for_each_argument() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    let mut client = larder.connect();
    client.pipeline(&["SET k value", "HSET ab c 1", "HSET a bc 2", "HSET a b 3", "SET GET 4"]);
    larder.warm(&mut client, "GET k");
    if larder.is_binary() {
        let hits = larder.hits();
        for spelling in ["get k", "GeT k", "gET k"] {
            assert_eq!(client.say(spelling), Reply::bulk("value"));
        }
        client.send_raw(b"get k\r\nGET   \"k\"\r\n").expect("sent");
        assert_eq!((client.read(), client.read()), (Reply::bulk("value"), Reply::bulk("value")));
        assert_eq!(larder.hits() - hits, 5.0, "each spelling is answered from the one entry");
    }
    for _ in 0..3 {
        assert_eq!(client.say("HGET ab c"), Reply::bulk("1"));
        assert_eq!(client.say("HGET a bc"), Reply::bulk("2"));
        assert_eq!(client.say("HMGET a b c"), Reply::Array(vec![Reply::bulk("3"), Reply::Null]));
        assert_eq!(client.say("HMGET a bc"), Reply::Array(vec![Reply::bulk("2")]));
        assert_eq!(client.say("GETRANGE k 0 1"), Reply::bulk("va"));
        assert_eq!(client.say("GETRANGE k 0 10"), Reply::bulk("value"));
        assert_eq!(client.say("GETRANGE k 0 -10"), Reply::bulk("v"));
        assert_eq!(client.say("GET GET"), Reply::bulk("4"));
        assert_eq!(client.say("GET K"), Reply::Null);
        assert_eq!(client.call(&["GET", "k "]), Reply::Null);
        assert_eq!(
            client.call(&["GETRANGE", "k", "0 1", "2"]).error(),
            Some("ERR value is not an integer or out of range")
        );
    }
}

/// T1: where the configuration names a database, every session starts in that one, and RESET leads back to it.
#[test]
fn t1_a_session_starts_in_the_configured_database() {
    let origin = Redis::start();
    let larder = Larder::start_with(&Settings::new(origin.address()).upstream("database: 2"));
    if !larder.is_binary() {
        return;
    }
    let (mut client, mut direct) = (larder.connect(), origin.connect());
    assert_eq!(direct.say("SET k zero"), Reply::ok());
    assert_eq!(client.say("SET k two"), Reply::ok());
    assert_eq!(client.say("GET k"), Reply::bulk("two"));
    assert_eq!((direct.say("GET k"), direct.say("SELECT 2")), (Reply::bulk("zero"), Reply::ok()));
    assert_eq!(direct.say("GET k"), Reply::bulk("two"));
    assert_eq!((client.say("SELECT 0"), client.say("GET k")), (Reply::ok(), Reply::bulk("zero")));
    let list = client.say("CLIENT LIST").text().expect("text");
    assert!(list.contains(" db=0 "), "{list}");
    assert_eq!(client.say("RESET"), Reply::Simple("RESET".to_owned()));
    assert_eq!(client.say("GET k"), Reply::bulk("two"));
    let list = larder.say("CLIENT LIST").text().expect("text");
    assert!(list.lines().all(|line| line.contains(" db=2 ")), "{list}");
}

/// T1: a database that the origin refuses must neither show another's values nor cost others their cache. Larder
/// believes that there are sixteen, because it may not ask.
#[test]
fn t1_a_database_that_the_origin_does_not_have_is_an_error_and_nobody_else_s_business() {
    let origin = Redis::start_with(&["--databases", "4", "--rename-command", "CONFIG", ""]);
    for mode in ["tracking", "ttl"] {
        let larder = Larder::start_with(&Settings::new(origin.address()).upstream(&format!("coherence: {mode}")));
        let mut client = larder.connect();
        assert_eq!(client.say("SET k zero"), Reply::ok());
        larder.warm(&mut client, "GET k");
        let reader = |name: &str| {
            origin.clients().iter().find(|client| client["name"] == name).map(|client| client["id"].clone())
        };
        let before = (reader(TRACKED_NAME), reader("larder-reads"));
        for read in ["GET k", "MGET k other", "EXISTS k"] {
            let mut lost = larder.connect();
            lost.say("SELECT 9");
            for _ in 0..3 {
                let reply = lost.say(read);
                assert!(reply.error().is_some() || !larder.is_binary(), "{mode}: {read} in no database: {reply:?}");
            }
            assert_eq!(client.say("GET missing"), Reply::Null);
            assert_eq!(
                (client.say("SELECT 1"), client.say("GET k"), client.say("SELECT 0")),
                (Reply::ok(), Reply::Null, Reply::ok())
            );
            assert_eq!(client.say("GET k"), Reply::bulk("zero"));
        }
        assert_eq!((reader(TRACKED_NAME), reader("larder-reads")), before, "{mode}: the connection was lost");
    }
}
