//! One shard of a cluster is down: its keys are degraded and no others, and a command that needs it and others besides is answered
//! whole or not at all.

use std::time::Duration;

use larder_integration_tests::cluster::Cluster;
use larder_integration_tests::larder::{Larder, Settings};
use larder_integration_tests::reply::Reply;
use larder_integration_tests::standing;

use crate::{Case, assert_refused, quick, show};

const RUNG: &str = "local-only";
const ROUTES: &str = "routes:
  - {keys: [\"*\"], upstream: main}
  - {keys: [\"nil:*\"], upstream: main, on_miss: nil}";

/// Node 0 is frozen, the other two live.
struct Shards {
    larder: Larder,
    cluster: Cluster,
    /// Of the dead shard: cached with their EXISTS, cached for writes, and not cached.
    dead: Vec<String>,
    for_writes: Vec<String>,
    missing: String,
    nil: String,
    /// Of the others.
    live: Vec<String>,
}

const CASES: &[Case<Shards>] = &[
    ("one key", one_key),
    ("the ladder", ladder),
    ("MGET and EXISTS", reads),
    ("a miss that is normal", nil_on_miss),
    ("MSET and DEL", writes),
    ("what asks every shard", every_shard),
    ("a transaction", transactions),
];

#[test]
fn a_dead_shard_degrades_its_own_keys_and_no_others() {
    let mut cluster = Cluster::start_apart(3, &[]);
    let larder = Larder::start_with(&quick(Settings::cluster(&cluster).section(ROUTES)));
    let (dead, for_writes) = (cluster.keys_on(0, "dead:", 3), cluster.keys_on(0, "written:", 2));
    let (missing, nil) = (cluster.key_on(0, "missing:"), cluster.key_on(0, "nil:"));
    let live = [cluster.keys_on(1, "live:", 2), cluster.keys_on(2, "live:", 2)].concat();
    for key in dead.iter().chain(&for_writes).chain(&live) {
        assert_eq!(larder.say(&format!("SET {key} of-{key}")), Reply::ok());
        larder.warm(&mut larder.connect(), &format!("GET {key}"));
        larder.warm(&mut larder.connect(), &format!("EXISTS {key}"));
    }
    cluster.freeze(0);
    let mut shards = Shards { larder, cluster, dead, for_writes, missing, nil, live };
    let address = shards.address(0);
    standing::wait_for_rung(&shards.larder, RUNG, |of| of.endpoint() == address);
    show(&shards, RUNG, CASES, |_| ());
    recovery_of_one_shard_does_not_wait_for_another(&mut shards);
}

impl Shards {
    fn address(&self, node: usize) -> String {
        self.cluster.address(node).to_string()
    }

    fn names_the_dead(&self, reply: &Reply, code: &str) {
        assert_refused(reply, code, RUNG);
        assert!(reply.error().is_some_and(|text| text.contains(&self.address(0))), "it says where: {reply:?}");
    }
}

fn value(key: &str) -> Reply {
    Reply::bulk(&format!("of-{key}"))
}

fn one_key(on: &Shards, _: &str) {
    let mut client = on.larder.connect();
    assert_eq!(client.say(&format!("GET {}", on.dead[0])), value(&on.dead[0]));
    on.names_the_dead(&client.say(&format!("GET {}", on.missing)), "MASTERDOWN");
    on.names_the_dead(&client.say(&format!("TTL {}", on.dead[0])), "MASTERDOWN");
    for key in &on.live {
        assert_eq!(client.say(&format!("GET {key}")), value(key));
        assert_eq!(client.say(&format!("TTL {key}")), Reply::Integer(-1));
        assert_eq!(client.say(&format!("SET {key} of-{key}")), Reply::ok());
    }
}

fn ladder(on: &Shards, rung: &str) {
    for of in standing::standings(&on.larder) {
        match of.endpoint() == on.address(0) {
            true => assert_eq!((of.rung(), of.breaker()), (rung, "open"), "{of:?}"),
            false => assert!(of.is_normal(), "{of:?}"),
        }
    }
}

fn reads(on: &Shards, _: &str) {
    let [dead, live] = [&on.dead[0], &on.live[0]];
    let mut client = on.larder.connect();
    assert_eq!(client.say(&format!("MGET {dead} {live}")), Reply::Array(vec![value(dead), value(live)]));
    assert_eq!(client.say(&format!("EXISTS {live} {dead} {dead}")), Reply::Integer(3));
    for words in ["MGET", "EXISTS", "TOUCH"] {
        on.names_the_dead(&client.say(&format!("{words} {live} {}", on.missing)), "MASTERDOWN");
    }
    let mut told = on.larder.connect_with(larder_integration_tests::client::Protocol::Resp3);
    told.say("LARDER STALENESS ON");
    let reply = told.say(&format!("MGET {live} {dead}"));
    let (attributes, whole) = reply.attributes();
    assert_eq!(attributes.len(), 4, "one element is not fresh, so the whole is not: {reply:?}");
    assert_eq!(whole, &Reply::Array(vec![value(live), value(dead)]));
    told.say("LARDER STALENESS REFUSE");
    on.names_the_dead(&told.say(&format!("MGET {live} {dead}")), "MASTERDOWN");
    assert_eq!(told.say(&format!("GET {live}")), value(live));
}

fn nil_on_miss(on: &Shards, _: &str) {
    let [missing, live] = [&on.nil, &on.live[0]];
    let mut client = on.larder.connect();
    assert_eq!(client.say(&format!("MGET {missing} {live}")), Reply::Array(vec![Reply::Null, value(live)]));
    assert_eq!(client.say(&format!("EXISTS {missing} {live}")), Reply::Integer(1));
}

/// Refused before anything is sent: no half of it is carried out, and what it named is not shown as it was before.
fn writes(on: &Shards, _: &str) {
    let mut client = on.larder.connect();
    let live = &on.live[1];
    for (words, dead) in [("MSET", &on.for_writes[0]), ("DEL", &on.for_writes[1])] {
        let command = match words {
            "MSET" => format!("MSET {live} new {dead} new"),
            _ => format!("{words} {live} {dead}"),
        };
        on.names_the_dead(&client.say(&command), "READONLY");
        let owner = on.cluster.redis(on.cluster.owner_of(live));
        assert_eq!(owner.say(&format!("GET {live}")), value(live), "{command} was half carried out");
        on.names_the_dead(&client.say(&format!("GET {dead}")), "MASTERDOWN");
        assert_eq!(client.say(&format!("GET {live}")), value(live));
    }
}

fn every_shard(on: &Shards, _: &str) {
    let mut client = on.larder.connect();
    for words in ["DBSIZE", "KEYS *"] {
        on.names_the_dead(&client.say(words), "MASTERDOWN");
    }
    for words in ["SCRIPT FLUSH", "SCRIPT LOAD return"] {
        let reply = client.say(words);
        assert!(reply.error().is_some(), "{words}: {reply:?}");
    }
}

fn transactions(on: &Shards, _: &str) {
    let mut client = on.larder.connect();
    let live = &on.live[0];
    let replies = client.pipeline(&["MULTI", &format!("SET {live} of-{live}"), "EXEC"]);
    assert_eq!(replies[2], Reply::Array(vec![Reply::ok()]));
    let replies = client.pipeline(&["MULTI", &format!("SET {} new", on.dead[2]), "EXEC"]);
    assert!(replies[1].error().is_some() && replies[2].error().is_some(), "{replies:?}");
}

/// Two are down, one comes back.
fn recovery_of_one_shard_does_not_wait_for_another(on: &mut Shards) {
    on.cluster.freeze(1);
    let (first, second) = (on.address(0), on.address(1));
    standing::wait_for_rung(&on.larder, RUNG, |of| of.endpoint() == second);
    on.cluster.thaw(0);
    standing::wait_for_rung(&on.larder, "normal", |of| of.endpoint() == first);
    let mut client = on.larder.connect();
    let missing = &on.missing;
    let written = larder_integration_tests::wait::holds_within(Duration::from_secs(20), || {
        client.say(&format!("SET {missing} v")) == Reply::ok()
    });
    assert!(written);
    let still: Vec<_> = standing::standings(&on.larder).into_iter().filter(|of| of.endpoint() == second).collect();
    assert!(still.iter().all(|of| of.rung() == RUNG), "{still:?}");
    on.cluster.thaw(1);
    standing::wait_for_normal(&on.larder);
}
