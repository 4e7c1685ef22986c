//! Expiry: nothing lives longer near the client than at the origin.

use std::thread;
use std::time::{Duration, Instant};

use larder_integration_tests::larder::{Larder, Settings};
use larder_integration_tests::redis::Redis;
use larder_integration_tests::reply::Reply;

/// Redis counts in milliseconds.
const SLACK: Duration = Duration::from_millis(25);

/// T12: the origin pushes an expiry when it removes the key, which may be long after it has expired.
#[test]
fn t12_a_value_ends_with_its_expiry_and_not_with_the_push() {
    // This origin never looks for expired keys by itself, so no push comes at all.
    let origin = Redis::start_with(&["--enable-debug-command", "yes"]);
    assert_eq!(origin.say("DEBUG SET-ACTIVE-EXPIRE 0"), Reply::ok());
    let larder = Larder::start(origin.address());
    let (mut direct, mut client) = (origin.connect(), larder.connect());
    for (number, span) in [40, 100, 250, 60, 400].into_iter().enumerate() {
        let key = format!("k{number}");
        // The value is set and expires between these two moments.
        direct.say(&format!("SET {key} v PX {span}"));
        let latest = Instant::now() + Duration::from_millis(span);
        let looks = [
            format!("GET {key}"),
            format!("STRLEN {key}"),
            format!("EXISTS {key}"),
            format!("MGET {key}"),
            format!("TYPE {key}"),
        ];
        let gone = [
            Reply::Null,
            Reply::Integer(0),
            Reply::Integer(0),
            Reply::Array(vec![Reply::Null]),
            Reply::Simple("none".to_owned()),
        ];
        while Instant::now() < latest + Duration::from_millis(60) {
            for (look, gone) in looks.iter().zip(&gone) {
                let asked = Instant::now();
                let reply = client.say(look);
                assert!(
                    reply == *gone || asked <= latest + SLACK,
                    "`{look}` gave {reply:?} {:?} after its end",
                    asked - latest
                );
            }
        }
        assert_eq!(client.say(&looks[0]), Reply::Null);
    }
}

/// T13: a value is replaced by one that expires soon while it is being read; each read must pair the value with its
/// own expiry.
#[test]
fn t13_a_value_is_never_paired_with_another_s_expiry() {
    let origin = Redis::start_with(&["--enable-debug-command", "yes"]);
    assert_eq!(origin.say("DEBUG SET-ACTIVE-EXPIRE 0"), Reply::ok());
    let larder = Larder::start(origin.address());
    let mut direct = origin.connect();
    for round in 0..40 {
        let key = format!("k{round}");
        direct.say(&format!("SET {key} lasting"));
        thread::scope(|scope| {
            for _ in 0..3 {
                let (key, larder) = (&key, &larder);
                // The readers begin before the change and go on after the end.
                scope.spawn(move || {
                    let mut client = larder.connect();
                    let end = Instant::now() + Duration::from_millis(60);
                    while Instant::now() < end {
                        client.pipeline(&[&format!("GET {key}"), &format!("GETRANGE {key} 0 -1")]);
                    }
                });
            }
            direct.say(&format!("SET {key} brief PX 25"));
        });
        // The readers took longer than the value had.
        let seen = larder.say(&format!("GET {key}"));
        assert_eq!(seen, Reply::Null, "a value outlived its expiry, or an older one came back");
    }
}

/// An expiry that is given, taken away or moved by somebody else later is the one that counts.
#[test]
fn t12_a_changed_expiry_counts() {
    let origin = Redis::start();
    let larder = Larder::start(origin.address());
    let (mut direct, mut client) = (origin.connect(), larder.connect());
    for (number, change) in ["PEXPIRE", "PERSIST", "through Larder"].into_iter().enumerate() {
        let key = format!("k{number}");
        direct.say(&format!("SET {key} v PX 200"));
        let set = Instant::now();
        client.say(&format!("GET {key}"));
        larder.warm(&mut client, &format!("GET {key}"));
        let (lasts, reply) = match change {
            "PEXPIRE" => (true, direct.say(&format!("PEXPIRE {key} 100000"))),
            "PERSIST" => (true, direct.say(&format!("PERSIST {key}"))),
            _ => (false, larder.say(&format!("PEXPIRE {key} 30"))),
        };
        // On a busy machine the value may have gone before.
        if reply == Reply::Integer(0) {
            continue;
        }
        thread::sleep(Duration::from_millis(250).saturating_sub(set.elapsed()));
        let right = if lasts { Reply::bulk("v") } else { Reply::Null };
        assert_eq!(client.say(&format!("GET {key}")), right, "{change}");
    }
}

/// T52: the cap on an entry's life is shortened by chance and never lengthened.
#[test]
fn t52_jitter_only_shortens() {
    let origin = Redis::start();
    // Without pushes only the cap ends an entry, so its length can be seen.
    let settings = Settings::new(origin.address())
        .upstream("coherence: ttl")
        .section("near_cache: {ttl: 200ms, ttl_jitter: 50%, negative_ttl: 200ms, untracked_ttl: 200ms}");
    let larder = Larder::start_with(&settings);
    let (mut direct, mut client) = (origin.connect(), larder.connect());
    let commands: Vec<String> = (0..100).map(|number| format!("GET k{number}")).collect();
    let commands: Vec<&str> = commands.iter().map(String::as_str).collect();
    for round in 0..5 {
        // The first round caches that nothing is there.
        client.pipeline(&commands);
        for number in 0..100 {
            direct.say(&format!("SET k{number} {round}"));
        }
        let changed = Instant::now();
        let new = Reply::bulk(&round.to_string());
        loop {
            let asked = changed.elapsed();
            let older = client.pipeline(&commands).iter().filter(|reply| **reply != new).count();
            if older == 0 {
                break;
            }
            assert!(
                asked < Duration::from_millis(200) + SLACK,
                "{older} older values after {asked:?} under a cap of 200ms"
            );
        }
    }
}

/// T12: where Larder may read a value and not ask for its expiry, nobody knows how long the value is true.
#[test]
fn t12_a_value_whose_expiry_may_not_be_asked_for_is_not_kept_beyond_it() {
    let origin = Redis::start_with(&["--enable-debug-command", "yes"]);
    assert_eq!(origin.say("DEBUG SET-ACTIVE-EXPIRE 0"), Reply::ok());
    let rights = "+get +mget +exists +hello +client +ping +info +command";
    assert_eq!(origin.say(&format!("ACL SETUSER app on >pw ~* -@all {rights}")), Reply::ok());
    let settings = Settings::new(origin.address()).upstream("username: app").upstream("password: pw");
    let larder = Larder::start_with(&settings);
    let (mut direct, mut client) = (origin.connect(), larder.connect());
    client.call(&["AUTH", "app", "pw"]);
    for look in ["GET k", "MGET k", "EXISTS k"] {
        assert_eq!(direct.say("SET k v PX 150"), Reply::ok());
        let latest = Instant::now() + Duration::from_millis(150);
        let there = client.say(look);
        assert!(there.error().is_none(), "{look}: {there:?}");
        while Instant::now() < latest + SLACK {
            client.say(look);
        }
        assert_ne!(client.say(look), there, "{look} after its end");
    }
}
