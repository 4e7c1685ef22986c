//! Invalidation channels: what changes elsewhere in an upstream that tells of nothing is heard on a channel of another.
//!
//! The caches are Redis servers that are not asked for tracking (`coherence: ttl`), so that a test can look into them and change them
//! behind Larder's back.

mod load;
mod losses;
mod memcached;
mod messages;
mod writes;

use larder_integration_tests::client::Client;
use larder_integration_tests::larder::{Larder, Settings};
use larder_integration_tests::redis::Redis;
use larder_integration_tests::reply::Reply;
use larder_integration_tests::wait;

/// The channel of upstream `api`.
const CHANNEL: &str = "larder:api";

/// `main` passes the messages on and has the keys that no other pattern names; `api` has those under `api:`.
struct Setup {
    main: Redis,
    api: Redis,
    larder: Larder,
}

impl Setup {
    fn start() -> Self {
        let (main, api) = (Redis::start(), Redis::start());
        let larder = larder(&main, &api);
        Self { main, api, larder }
    }

    /// Says something on the channel, as an application would.
    fn publish(&self, message: &[u8]) {
        self.main.connect().call(&[b"PUBLISH".as_slice(), CHANNEL.as_bytes(), message]);
    }
}

/// A Larder that waits for its channel, with lives so long and short ones so short that they cannot be taken for each other.
fn larder(main: &Redis, api: &Redis) -> Larder {
    let larder = Larder::start_with(&settings(main, api, ""));
    until_up(&larder);
    larder
}

fn settings(main: &Redis, api: &Redis, more: &str) -> Settings {
    let beside = format!(
        "api: {{kind: redis, endpoints: [\"{}\"], coherence: ttl, connect_timeout: 2s, command_timeout: 10s, \
         invalidation: {{channel: \"{CHANNEL}\", upstream: main}}{more}}}",
        api.address()
    );
    let routes = "routes:\n  - {keys: ['api:*'], upstream: api}\n  - {keys: ['*'], upstream: main}\n";
    Settings::new(main.address())
        .upstream("heartbeat: {interval: 50ms, timeout: 500ms}")
        .beside(&beside)
        .section(routes)
        .section("near_cache: {ttl: 300s, negative_ttl: 300s, untracked_ttl: 100ms}")
}

fn until_up(larder: &Larder) {
    larder.until_normal();
    wait::until("the channel is up", || larder.metrics().sum("larder_invalidation_up") == 1.0);
}

/// Reads until the entry is one that outlives `untracked_ttl`: what the channel covers.
fn keep(larder: &Larder, client: &mut Client, words: &str) {
    let key = words.split(' ').nth(1).expect("a key");
    wait::until(&format!("`{words}` is kept for long"), || {
        client.say(words);
        seconds_left(client, key).is_some_and(|left| left > 100.0)
    });
    larder.warm(client, words);
}

/// How long the key's entry lives on, if it has one.
fn seconds_left(client: &mut Client, key: &str) -> Option<f64> {
    let explained = client.call(&["LARDER", "EXPLAIN", "GET", key]);
    let lines: Vec<String> = explained.items().expect("lines").iter().filter_map(Reply::text).collect();
    let entry = lines.iter().find_map(|line| line.strip_prefix(&format!("entry of {key}: ")))?;
    entry.split(", ").find_map(|part| part.strip_suffix("s left"))?.parse().ok()
}

fn bulk(text: &str) -> Reply {
    Reply::bulk(text)
}
