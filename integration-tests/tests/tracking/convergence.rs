//! Clients that keep what they read, while others write: whoever is told of every change in time ends up with the truth.
//!
//! Each client keeps a value until it is told that it changed, as a client library does. When the writers have stopped,
//! what the clients hold must become what the origin holds without reading anything again.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use larder_integration_tests::client::{Client, Protocol};
use larder_integration_tests::dice::Dice;
use larder_integration_tests::larder::{Larder, Settings};
use larder_integration_tests::redis::Redis;
use larder_integration_tests::reply::Reply;

const KEYS: usize = 24;
const SPAN: Duration = Duration::from_secs(4);

/// A client with a cache of its own.
struct Keeper {
    client: Client,
    kept: HashMap<String, Reply>,
    stores: u64,
}

impl Keeper {
    fn new(larder: &Larder) -> Self {
        let mut client = larder.connect_with(Protocol::Resp3);
        assert_eq!(client.say("CLIENT TRACKING ON"), Reply::ok());
        Self { client, kept: HashMap::new(), stores: 0 }
    }

    fn forget(&mut self, push: &[Reply]) {
        match push.get(1).and_then(Reply::items) {
            Some(keys) => keys.iter().filter_map(Reply::text).for_each(|key| drop(self.kept.remove(&key))),
            None => self.kept.clear(),
        }
    }

    /// The reply to what was sent; what is told meanwhile is heeded in its order.
    fn reply(&mut self) -> Reply {
        loop {
            match self.client.read() {
                Reply::Push(items) => self.forget(&items),
                reply => return reply,
            }
        }
    }

    fn call(&mut self, words: &str) -> Reply {
        self.client.send(&words.split(' ').collect::<Vec<_>>()).expect("sent");
        self.reply()
    }

    fn keep(&mut self, key: &str, reply: Reply) {
        self.stores += 1;
        self.kept.insert(key.to_owned(), reply);
    }

    fn read_something(&mut self, dice: &mut Dice) {
        let key = format!("k{}", dice.below(KEYS));
        match dice.below(10) {
            0 => {
                let other = format!("k{}", dice.below(KEYS));
                let reply = self.call(&format!("MGET {key} {other}"));
                if let Some([first, second]) = reply.items() {
                    let (first, second) = (first.clone(), second.clone());
                    self.keep(&key, first);
                    self.keep(&other, second);
                }
            }
            1 => {
                self.call("MULTI");
                self.call(&format!("GET {key}"));
                let reply = self.call("EXEC");
                if let Some([value]) = reply.items() {
                    let value = value.clone();
                    self.keep(&key, value);
                }
            }
            2 => {
                let value = dice.below(1_000_000);
                self.call(&format!("SET {key} {value}"));
            }
            _ if self.kept.contains_key(&key) => {}
            _ => {
                let reply = self.call(&format!("GET {key}"));
                self.keep(&key, reply);
            }
        }
    }

    /// Whether what it holds is what the origin holds, by now.
    fn agrees(&mut self, origin: &mut Client) -> bool {
        // Whatever it is told comes before this.
        self.call("PING");
        self.kept.iter().all(|(key, kept)| origin.call(&["GET", key]) == *kept)
    }
}

fn converges(settings: &Settings, origin: &Redis, disturb: impl Fn() + Send + 'static) {
    let larder = Larder::start_with(settings);
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = [origin.address(), larder.address(), origin.address()]
        .into_iter()
        .enumerate()
        .map(|(number, address)| {
            let stop = Arc::clone(&stop);
            thread::spawn(move || {
                let (mut client, mut dice) = (Client::connect(address), Dice::new(number as u64));
                while !stop.load(Ordering::Relaxed) {
                    let key = format!("k{}", dice.below(KEYS));
                    match dice.below(8) {
                        0 => client.call(&["DEL", &key]),
                        1 => client.call(&["PEXPIRE", &key, "30"]),
                        2 => client.call(&["EVAL", "return redis.call('SET', KEYS[1], ARGV[1])", "1", &key, "s"]),
                        _ => client.call(&["SET", &key, &dice.below(1_000_000).to_string()]),
                    };
                }
            })
        })
        .collect();
    let disturber = {
        let stop = Arc::clone(&stop);
        thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                disturb();
            }
        })
    };
    let until = Instant::now() + SPAN;
    let keepers: Vec<_> = (0..3)
        .map(|number| {
            let mut keeper = Keeper::new(&larder);
            thread::spawn(move || {
                let mut dice = Dice::new(100 + number);
                while Instant::now() < until {
                    keeper.read_something(&mut dice);
                }
                keeper
            })
        })
        .collect();
    let mut keepers: Vec<Keeper> = keepers.into_iter().map(|thread| thread.join().expect("a keeper")).collect();
    stop.store(true, Ordering::Relaxed);
    writers.into_iter().for_each(|writer| writer.join().expect("a writer"));
    disturber.join().expect("the disturber");
    let mut truth = origin.connect();
    for keeper in &mut keepers {
        assert!(keeper.stores > 50, "only {} values were kept", keeper.stores);
        larder_integration_tests::wait::until("what is kept is what is true", || keeper.agrees(&mut truth));
    }
}

fn quiet() {
    thread::sleep(Duration::from_millis(50));
}

#[test]
fn clients_that_keep_what_they_read_end_up_with_the_truth() {
    let origin = Redis::start();
    converges(&Settings::new(origin.address()), &origin, quiet);
}

#[test]
fn so_they_do_behind_a_near_cache_that_holds_next_to_nothing() {
    let origin = Redis::start();
    let settings = Settings::new(origin.address()).section("near_cache: {max_memory: 16kb, max_entry: 1kb, ttl: 20ms}");
    converges(&settings, &origin, quiet);
}

#[test]
fn so_they_do_when_the_tracked_connection_is_lost_again_and_again() {
    let origin = Redis::start();
    let killer = origin.address();
    converges(&Settings::new(origin.address()), &origin, move || {
        thread::sleep(Duration::from_millis(150));
        let mut admin = Client::connect(killer);
        let list = admin.say("CLIENT LIST").text().unwrap_or_default();
        let tracked = list.lines().filter(|line| line.contains("name=larder-tracked "));
        for id in tracked.filter_map(|line| line.strip_prefix("id=")?.split(' ').next()) {
            admin.call(&["CLIENT", "KILL", "ID", id]);
        }
    });
}
