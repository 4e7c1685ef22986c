//! Several upstreams behind one Larder: two Redis servers and the store in the process, told apart by their keys.

mod keys;
mod outages;
mod sessions;
mod stores;
mod transactions;

use larder_integration_tests::client::Client;
use larder_integration_tests::larder::{Larder, Settings};
use larder_integration_tests::redis::Redis;
use larder_integration_tests::reply::Reply;

/// `main` has the keys that no other pattern names, `other` those under `other:`, `local` those under `local:`.
struct Three {
    main: Redis,
    other: Redis,
    larder: Larder,
}

const ROUTES: &str = "routes:\n  - {keys: ['other:*'], upstream: other}\n  - {keys: ['local:*'], upstream: local}\n";
const REST: &str = "  - {keys: ['*'], upstream: main}\n";

impl Three {
    fn start() -> Self {
        Self::start_with("", REST, |settings| settings)
    }

    /// `other` with further settings, the routes behind the first two, and what else is set.
    fn start_with(other: &str, rest: &str, set: impl FnOnce(Settings) -> Settings) -> Self {
        Self::around(Redis::start(), Redis::start(), other, rest, set)
    }

    fn around(main: Redis, other: Redis, settings: &str, rest: &str, set: impl FnOnce(Settings) -> Settings) -> Self {
        let larder = Larder::start_with(&set(Self::settings(&main, &other, settings, rest)));
        larder.until_normal();
        Self { main, other, larder }
    }

    fn settings(main: &Redis, other: &Redis, settings: &str, rest: &str) -> Settings {
        Self::servers(main, other, settings).section(&format!("{ROUTES}{rest}"))
    }

    fn servers(main: &Redis, other: &Redis, settings: &str) -> Settings {
        let beside = format!(
            "other: {{kind: redis, endpoints: [\"{}\"], connect_timeout: 2s, command_timeout: 10s{settings}}}",
            other.address()
        );
        Settings::new(main.address()).beside(&beside).beside("local: {kind: memory, max_memory: 1mb}")
    }
}

/// Whether the reply is an error with this in it.
fn refused_with(client: &mut Client, words: &str, part: &str) {
    let reply = client.say(words);
    let error = reply.error().unwrap_or_else(|| panic!("{words}: {reply:?}"));
    assert!(error.contains(part), "{words}: {error}");
}

/// A list of what each of these is.
fn list(items: &[Reply]) -> Reply {
    Reply::Array(items.to_vec())
}

/// The names of a server's keys, in order.
fn keys(server: &Redis) -> Vec<String> {
    let reply = server.say("KEYS *");
    let mut names: Vec<String> = reply.items().expect("a list").iter().filter_map(Reply::text).collect();
    names.sort_unstable();
    names
}
