//! One list of commands for every backend that has keys and values: behind Larder, redis, memory and memcached answer what redis
//! answers directly, byte for byte, in RESP2 and RESP3, one command at a time and pipelined, cold and from the cache.

use larder_integration_tests::client::Protocol;
use larder_integration_tests::larder::{Larder, Settings};
use larder_integration_tests::memcached::Memcached;
use larder_integration_tests::redis::Redis;
use larder_integration_tests::script::key_value::{self, Backend, EXCEPTIONS};
use larder_integration_tests::script::play::{Command, Pace, assert_none, differences, play};

/// Plays the script to Larder and to a bare redis-server of its own, in every way, on a fresh backend each time.
fn conforms(backend: Backend, start: impl Fn() -> (Larder, Vec<Memcached>, Vec<Redis>)) {
    let commands = key_value::commands();
    for protocol in Protocol::BOTH {
        for pace in [Pace::OneByOne, Pace::Pipelined] {
            let (oracle, (larder, _nodes, _redis)) = (Redis::start(), start());
            let expected = play(oracle.address(), &commands, protocol, pace);
            let actual = play(larder.address(), &commands, protocol, pace);
            let agree = |command: &Command, one: &[u8], two: &[u8]| key_value::agree(backend, command, one, two);
            let found = differences(&commands, (&expected, &actual), agree);
            assert_none(&format!("{backend:?}, {protocol:?}, {pace:?}"), found);
        }
    }
}

fn redis() -> (Larder, Vec<Memcached>, Vec<Redis>) {
    let redis = Redis::start();
    (Larder::start(redis.address()), Vec::new(), vec![redis])
}

fn memory() -> (Larder, Vec<Memcached>, Vec<Redis>) {
    (Larder::start_with(&Settings::memory()), Vec::new(), Vec::new())
}

fn memcached(count: usize) -> (Larder, Vec<Memcached>, Vec<Redis>) {
    let nodes: Vec<_> = (0..count).map(|_| Memcached::start()).collect();
    let addresses: Vec<_> = nodes.iter().map(Memcached::address).collect();
    (Larder::start_with(&Settings::memcached(&addresses)), nodes, Vec::new())
}

#[test]
fn redis_behind_larder_conforms() {
    conforms(Backend::Redis, redis);
}

#[test]
fn a_ring_of_three_redis_servers_conforms() {
    conforms(Backend::Redis, || {
        let nodes: Vec<_> = (0..3).map(|_| Redis::start()).collect();
        let addresses: Vec<_> = nodes.iter().map(Redis::address).collect();
        (Larder::start_with(&Settings::redis_ring(&addresses)), Vec::new(), nodes)
    });
}

#[test]
fn memory_conforms() {
    conforms(Backend::Memory, memory);
}

#[test]
fn one_memcached_node_conforms() {
    conforms(Backend::Memcached, || memcached(1));
}

#[test]
fn a_ring_of_three_memcached_nodes_conforms() {
    conforms(Backend::Memcached, || memcached(3));
}

/// An exception that is none any more, or that the script has no line for, would hide a fault one day.
#[test]
fn every_exception_is_still_one() {
    let commands = key_value::commands();
    let oracle = Redis::start();
    let expected = play(oracle.address(), &commands, Protocol::Resp2, Pace::OneByOne);
    for (backend, start) in [
        (Backend::Redis, redis as fn() -> _),
        (Backend::Memory, memory as fn() -> _),
        (Backend::Memcached, (|| memcached(3)) as fn() -> _),
    ] {
        let exceptions: Vec<_> = EXCEPTIONS.iter().filter(|(of, ..)| *of == backend).collect();
        if exceptions.is_empty() {
            continue;
        }
        let (larder, _nodes, _redis) = start();
        let actual = play(larder.address(), &commands, Protocol::Resp2, Pace::OneByOne);
        for (_, words, reason) in exceptions {
            let differs = (0..commands.len()).any(|at| {
                key_value::is(words, &commands[at])
                    && expected[at] != actual[at]
                    && !key_value::is_near(&commands[at], &expected[at], &actual[at])
            });
            assert!(differs, "{backend:?} answers {words} as redis does, or the script has no such line ({reason})");
        }
    }
}
