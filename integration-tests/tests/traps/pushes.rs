//! Invalidations: in which form they come, how often, and what may hold them up.

use std::time::Duration;

use larder_integration_tests::client::{Client, encode};
use larder_integration_tests::larder::{Larder, Settings};
use larder_integration_tests::redis::Redis;
use larder_integration_tests::reply::Reply;
use larder_integration_tests::wait;

/// T8: a push names one key or many, and any bytes can be a key.
#[test]
fn t8_every_key_of_a_push_is_heard() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    let (mut direct, mut client) = (origin.connect(), larder.connect());
    let mut keys: Vec<Vec<u8>> = (0..300).map(|number| format!("key:{number}").into_bytes()).collect();
    for odd in ["", "invalidate", "__redis__:invalidate", "\r\n", ">2\r\n", "*1", "$-1\r\n", "_", "a\0b", "{tag}"] {
        keys.push(odd.as_bytes().to_vec());
    }
    keys.push((0..=255).collect());
    keys.push(vec![b'k'; 50_000]);
    let command = |name: &str| [vec![name.as_bytes().to_vec()], keys.clone()].concat();
    for round in 0..3 {
        for key in &keys {
            direct.call(&[b"SET".as_slice(), key, b"v"]);
        }
        let all_are = |client: &mut Client, value: &Reply| {
            keys.iter().all(|key| {
                client.call(&[b"GET".as_slice(), key]) == *value && client.call(&[b"GET".as_slice(), key]) == *value
            })
        };
        wait::until("every key is seen", || all_are(&mut client, &Reply::bulk("v")));
        // One command, hundreds of keys; and one transaction, one script.
        match round {
            0 => drop(direct.call(&command("DEL"))),
            1 => {
                direct.say("MULTI");
                for key in &keys {
                    direct.call(&[b"UNLINK".as_slice(), key]);
                }
                assert_eq!(direct.say("EXEC").items().map(<[Reply]>::len), Some(keys.len()));
            }
            _ => {
                let script = "for i, k in ipairs(KEYS) do redis.call('DEL', k) end".as_bytes().to_vec();
                let count = keys.len().to_string().into_bytes();
                direct.call(&[vec![b"EVAL".to_vec(), script, count], keys.clone()].concat());
            }
        }
        wait::until("every key is gone", || all_are(&mut client, &Reply::Null));
    }
}

/// T22: after a push the origin no longer tracks the key; each fill must arm it anew.
#[test]
fn t22_each_of_many_changes_in_a_row_is_seen() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    let (mut direct, mut client) = (origin.connect(), larder.connect());
    for version in 0..500 {
        direct.say(&format!("SET k {version}"));
        let value = Reply::bulk(&version.to_string());
        wait::until_within(Duration::from_secs(2), "the change is seen", || client.say("GET k") == value);
        // Cached once more before the next change, sometimes by another form.
        client.say(["GET k", "GETRANGE k 0 -1", "STRLEN k"][version % 3]);
    }
}

/// T23: an origin with a full tracking table evicts keys with a push; that is an invalidation like any other.
#[test]
fn t23_an_overflowing_tracking_table_costs_hits_and_nothing_else() {
    let origin = Redis::start_with(&["--tracking-table-max-keys", "10"]);
    let larder = Larder::start(origin.address());
    let (mut direct, mut client) = (origin.connect(), larder.connect());
    for round in 0..5 {
        for number in 0..200 {
            direct.say(&format!("SET k:{number} {round}"));
        }
        let value = Reply::bulk(&round.to_string());
        for number in 0..200 {
            let get = format!("GET k:{number}");
            wait::until("the change is seen", || client.say(&get) == value);
            assert_eq!(client.say(&get), value);
        }
    }
}

/// T26: a client that does not read its replies must not hold up the pushes that others rely on.
#[test]
fn t26_a_slow_client_does_not_delay_pushes() {
    let origin = Redis::start();
    let settings = Settings::new(origin.address()).section("limits: {max_output: 512mb}");
    let larder = Larder::start_with(&settings);
    let (mut direct, mut client) = (origin.connect(), larder.connect());
    client.call(&[b"SET".as_slice(), b"big", &vec![b'x'; 500_000]]);
    let mut slow: Vec<Client> = (0..4).map(|_| larder.connect()).collect();
    for slow in &mut slow {
        // Fifty megabytes each that nobody takes.
        slow.send_raw(&encode(&["GET", "big"]).repeat(100)).expect("sent");
    }
    for version in 0..200 {
        direct.say(&format!("SET k {version}"));
        let value = Reply::bulk(&version.to_string());
        wait::until_within(Duration::from_secs(3), "the change is seen", || client.say("GET k") == value);
    }
}

/// T49: what is over the limit of an entry passes through whole and is not kept.
#[test]
fn t49_a_reply_over_the_limit_of_an_entry_passes_and_is_not_kept() {
    let origin = Redis::start();
    let settings = Settings::new(origin.address()).section("near_cache: {max_memory: 8mb, max_entry: 100kb}");
    let larder = Larder::start_with(&settings);
    let mut client = larder.connect();
    let value = |length: usize| -> Vec<u8> { (0..length).map(|index| (index % 251) as u8).collect() };
    for length in [5_000_000, 200_000] {
        let value = value(length);
        client.call(&[b"SET".as_slice(), b"large", &value]);
        let hits = if larder.is_binary() { larder.hits() } else { 0.0 };
        for _ in 0..5 {
            assert!(client.say("GET large") == Reply::Bulk(value.clone()), "{length} bytes came back changed");
        }
        if larder.is_binary() {
            assert_eq!(larder.hits(), hits, "a value of {length} bytes was kept");
        }
    }
    // The small ones stay: the large ones have evicted nothing.
    for number in 0..20 {
        client.say(&format!("SET small:{number} v"));
        larder.warm(&mut client, &format!("GET small:{number}"));
    }
    (0..20).for_each(|_| drop(client.say("GET large")));
    if larder.is_binary() {
        let hits = larder.hits();
        for number in 0..20 {
            client.say(&format!("GET small:{number}"));
        }
        assert_eq!(larder.hits() - hits, 20.0);
    }
    // A hash of many fields is one entry as well.
    for chunk in 0..20 {
        let fields: String = (0..500).map(|field| format!(" f{chunk}-{field} {}", "y".repeat(20))).collect();
        client.say(&format!("HSET h{fields}"));
    }
    assert_eq!(client.say("HLEN h"), Reply::Integer(10_000));
    assert_eq!(client.say("HGETALL h"), origin.say("HGETALL h"));
}

/// T50: more keys under way than the cache has room for: everyone is answered, and rightly.
#[test]
fn t50_a_cache_full_of_fills_under_way_answers_everyone() {
    let origin = Redis::start();
    let settings = Settings::new(origin.address()).section("near_cache: {max_memory: 64kb}");
    let larder = Larder::start_with(&settings);
    let mut direct = origin.connect();
    for number in 0..2000 {
        direct.say(&format!("SET k:{number} {number}-{}", "z".repeat(number % 700)));
    }
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let mut client = larder.connect();
            scope.spawn(move || {
                for round in 0..4 {
                    // The same keys for two threads each, in pipelines of 100.
                    let numbers = (0..2000).map(|number| (number + thread / 2 * 500 + round) % 2000);
                    let numbers: Vec<usize> = numbers.collect();
                    for chunk in numbers.chunks(100) {
                        let commands: Vec<String> = chunk.iter().map(|number| format!("GET k:{number}")).collect();
                        let commands: Vec<&str> = commands.iter().map(String::as_str).collect();
                        for (number, reply) in chunk.iter().zip(client.pipeline(&commands)) {
                            assert_eq!(reply, Reply::bulk(&format!("{number}-{}", "z".repeat(number % 700))));
                        }
                    }
                }
            });
        }
    });
}
