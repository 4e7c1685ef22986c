//! The worst day: breakers and the degradation ladder in front of real servers that fail in every way.
//!
//! Times are printed and hardly ever asserted, since a busy machine keeps none; what is right and wrong does not depend on them.

mod drills;
mod faults;
mod missing;
mod recovery;
mod revalidate;
mod rungs;
mod shards;
mod soak;
mod staleness;
mod steps;
mod switches;
mod window;

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use larder_integration_tests::client::{Client, Protocol};
use larder_integration_tests::cutter::Cutter;
use larder_integration_tests::larder::{Larder, Settings};
use larder_integration_tests::redis::Redis;
use larder_integration_tests::reply::Reply;
use larder_integration_tests::{standing, wait};

/// A change that the origin made so long ago is not unseen any more: the lease of the heartbeat below, and a little for the one
/// look at the clock that a read of many commands takes.
const LEASE: Duration = Duration::from_millis(300 + 50);

/// Quick to notice and to return, so that tests are.
fn quick(settings: Settings) -> Settings {
    quick_but_for(settings, "breaker: {reset_timeout: 2s}")
}

/// The same with another breaker.
fn quick_but_for(settings: Settings, breaker: &str) -> Settings {
    settings
        .upstream("heartbeat: {interval: 100ms, timeout: 200ms}")
        .upstream("connect_timeout: 500ms")
        .upstream("command_timeout: 500ms")
        .upstream(breaker)
        .upstream("health_check: {interval: 200ms, timeout: 500ms}")
}

/// One server, a cutter before it, and Larder before that.
struct Rig {
    larder: Larder,
    cutter: Cutter,
    origin: Redis,
}

impl Rig {
    /// With these further sections.
    fn start(sections: &str) -> Self {
        Self::start_with(|settings| settings.section(sections))
    }

    fn start_with(further: impl FnOnce(Settings) -> Settings) -> Self {
        let origin = Redis::start();
        let cutter = Cutter::start(origin.address());
        let larder = Larder::start_with(&further(quick(Settings::new(cutter.address()))));
        Self { larder, cutter, origin }
    }

    fn address(&self) -> SocketAddr {
        self.cutter.address()
    }

    /// A client that is told what is not fresh.
    fn connect(&self) -> Client {
        let mut client = self.larder.connect_with(Protocol::Resp3);
        assert_eq!(client.say("LARDER STALENESS ON"), Reply::ok());
        client
    }

    /// Writes at the origin, and reads until the near-cache has it.
    fn cache(&self, key: &str, value: &str) {
        // Not written anew where it is there already: the push would come some time later.
        let (mut origin, mut client) = (self.origin.connect(), self.larder.connect());
        if origin.call(&["GET", key]) != Reply::bulk(value) {
            assert_eq!(origin.call(&["SET", key, value]), Reply::ok());
        }
        wait::until("the push is seen", || client.call(&["GET", key]) == Reply::bulk(value));
        self.warm(&format!("GET {key}"));
    }

    fn warm(&self, words: &str) {
        self.larder.warm(&mut self.larder.connect(), words);
    }

    /// The origin goes, by refusing connections, and that has been noticed.
    fn fail(&self) {
        self.cutter.refuse();
        wait::until("the breaker opens", || {
            standing::standings(&self.larder).iter().all(|of| of.breaker() != "closed")
        });
    }

    /// The origin is back, and that has been noticed.
    fn heal(&self) {
        self.cutter.heal();
        self.cutter.admit();
        standing::wait_for_normal(&self.larder);
    }

    fn force(&self, rung: &str) {
        assert_eq!(self.larder.say(&format!("LARDER LADDER FORCE main {rung}")), Reply::ok());
    }

    fn leave(&self) {
        assert_eq!(self.larder.say("LARDER LADDER AUTO"), Reply::ok());
    }

    /// How often the origin has carried out that command.
    fn calls(&self, command: &str) -> u64 {
        calls(&self.origin, command)
    }
}

/// How often a server has carried out that command.
fn calls(server: &Redis, command: &str) -> u64 {
    let text = server.say("INFO commandstats").text().expect("INFO is text");
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
    line.map_or(0, |line| line.split(',').next().and_then(|number| number.parse().ok()).expect("a number"))
}

/// Fails unless the reply is a refusal in this rung, with the code that it has for this kind of command.
#[track_caller]
fn assert_refused(reply: &Reply, code: &str, rung: &str) {
    let text = reply.error().unwrap_or_else(|| panic!("no error: {reply:?}"));
    let told = ["upstream 'main'", &format!("{rung} since ")].iter().all(|words| text.contains(words));
    assert!(text.starts_with(&format!("{code} ")) && told, "not {code} in {rung}: {text}");
}

/// What a case is called, and what it does.
type Case<S> = (&'static str, fn(&S, &str));

/// Shows one case after the other on servers that take their time to start. All are tried, and those that failed are named.
fn show<S>(on: &S, rung: &str, cases: &[Case<S>], restore: impl Fn(&S)) {
    let failed = cases.iter().filter(|(name, case)| {
        eprintln!("{rung}: {name}");
        let failed = catch_unwind(AssertUnwindSafe(|| case(on, rung))).is_err();
        restore(on);
        failed
    });
    let failed: Vec<_> = failed.map(|(name, _)| name).collect();
    assert!(failed.is_empty(), "failed in {rung}: {failed:?}");
}
