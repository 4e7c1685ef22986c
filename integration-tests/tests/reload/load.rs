//! Reloads under load.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use larder_integration_tests::larder::Larder;
use larder_integration_tests::redis::Redis;
use larder_integration_tests::reply::Reply;

use super::by_signal;

const CLIENTS: usize = 8;
const RELOADS: usize = 40;

#[test]
fn no_request_is_lost_and_no_read_goes_back_while_rules_come_and_go() {
    let origin = Redis::start();
    // Cached, not cached, cached for a moment, only some commands; and a file that is refused.
    let rules = [
        "routes: [{keys: [\"k*\"], cache: {ttl: 100s}}]",
        "routes: [{keys: [\"k*\"], cache: {enabled: false}}]",
        "routes: [{keys: [\"k*\"], cache: {ttl: 1s}}, {keys: [\"k1*\"], cache: {commands: [STRLEN]}}]",
        "routes: [{keys: [\"k*\"], cache: {ttl: nonsense}}]",
        "near_cache: {max_memory: 1mb, ttl: 3s}",
    ];
    let larder = Larder::start_with(&by_signal(&origin, &rules[..1]));
    let (stop, served) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        let (larder, stop, served) = (&larder, &stop, &served);
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                scope.spawn(move || {
                    let mut client = larder.connect();
                    let key = format!("k{number}");
                    for version in 0u64.. {
                        if stop.load(Ordering::Relaxed) {
                            return version;
                        }
                        let value = version.to_string();
                        // What it has written itself it reads, from whatever place (C1), one by one and in one pipeline.
                        assert_eq!(client.call(&["SET", &key, &value]), Reply::ok());
                        assert_eq!(client.call(&["GET", &key]), Reply::bulk(&value));
                        let write = format!("SET {key} {value}b");
                        let read = format!("GET {key}");
                        let replies = client.pipeline(&[&read, &write, &read, &read]);
                        let expected = [&value, "", &format!("{value}b"), &format!("{value}b")];
                        for at in [0, 2, 3] {
                            assert_eq!(replies[at], Reply::bulk(expected[at]), "reply {at} of {key}");
                        }
                        assert_eq!(replies[1], Reply::ok());
                        served.fetch_add(6, Ordering::Relaxed);
                    }
                    0
                })
            })
            .collect();
        for reload in 0..RELOADS {
            let before = served.load(Ordering::Relaxed);
            let rule = rules[reload % rules.len()];
            larder.rewrite(&larder.yaml(&by_signal(&origin, &[rule])));
            assert_eq!(larder.reload(), !rule.contains("nonsense"), "{rule}");
            larder_integration_tests::wait::until("clients are served by the new rules", || {
                served.load(Ordering::Relaxed) > before + 100
            });
        }
        stop.store(true, Ordering::Relaxed);
        for client in clients {
            assert!(client.join().expect("no request failed") > 0);
        }
    });
    let metrics = larder.metrics();
    assert_eq!(metrics.sum("larder_upstream_failures_total"), 0.0);
    assert!(metrics.sum("larder_cache_hits_total") > 0.0, "the near-cache had its part");
}
