//! A stand-in between Larder and its origin that answers some commands itself: an older or newer server, or one that
//! somebody else looks after.
//!
//! It takes one command at a time from each connection, so that its own answers stand in their place among the
//! origin's. Pushes are passed on while a reply is awaited; Larder's heartbeat sees to it that one soon is.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::client::{Client, encode};
use crate::port;
use crate::reply::Reply;

#[derive(Clone, Debug)]
struct Rule {
    words: Vec<String>,
    /// The bytes of the answer; none for silence.
    answer: Vec<u8>,
}

#[derive(Debug)]
struct Shared {
    origin: SocketAddr,
    rules: Mutex<Vec<Rule>>,
    stopping: AtomicBool,
}

/// A running stand-in; it takes no more connections after its drop.
#[derive(Debug)]
pub struct Meddler {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

impl Meddler {
    /// Listens on a port of its own and asks `origin` whatever it has no answer for.
    pub fn start(origin: SocketAddr) -> Self {
        let listener = (0..20).find_map(|_| TcpListener::bind(port::free()).ok()).expect("a free port can be bound");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared { origin, rules: Mutex::default(), stopping: AtomicBool::new(false) });
        let acceptor = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                for stream in listener.incoming() {
                    if shared.stopping.load(Ordering::Acquire) {
                        return;
                    }
                    let shared = Arc::clone(&shared);
                    let served = stream.and_then(Client::over);
                    // Either side may close whenever it likes.
                    thread::spawn(move || served.and_then(|larder| serve(larder, &shared)));
                }
            })
        };
        Self { address, shared, acceptor: Some(acceptor) }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on commands that begin with these words get these bytes; none at all for an empty answer. The last
    /// rule that fits counts.
    pub fn answer(&self, words: &str, answer: &[u8]) {
        let words = words.split(' ').map(str::to_owned).collect();
        self.lock().push(Rule { words, answer: answer.to_vec() });
    }

    /// From now on the origin answers everything.
    pub fn relent(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Rule>> {
        self.shared.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Meddler {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::Release);
        // Wakes the acceptor.
        let _ = Client::try_connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

fn serve(mut larder: Client, shared: &Shared) -> io::Result<()> {
    // Idle connections live on.
    larder.set_reply_timeout(Duration::from_secs(600));
    let mut origin = Client::try_connect(shared.origin)?;
    loop {
        let (request, _) = larder.try_read()?;
        let words: Vec<Vec<u8>> = match request {
            Reply::Array(words) => {
                words.into_iter().map(|word| if let Reply::Bulk(word) = word { word } else { Vec::new() }).collect()
            }
            other => return Err(io::Error::other(format!("no command: {other:?}"))),
        };
        let rule = {
            let rules = shared.rules.lock().unwrap_or_else(PoisonError::into_inner);
            rules.iter().rev().find(|rule| rule.fits(&words)).cloned()
        };
        if let Some(rule) = rule {
            larder.send_raw(&rule.answer)?;
            continue;
        }
        origin.send_raw(&encode(&words))?;
        loop {
            let (reply, bytes) = origin.try_read()?;
            larder.send_raw(&bytes)?;
            if !matches!(reply, Reply::Push(_)) {
                break;
            }
        }
    }
}

impl Rule {
    fn fits(&self, words: &[Vec<u8>]) -> bool {
        words.len() >= self.words.len()
            && self.words.iter().zip(words).all(|(wanted, word)| wanted.as_bytes().eq_ignore_ascii_case(word))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redis::Redis;

    #[test]
    fn its_answers_stand_in_their_place_among_the_origins() {
        let redis = Redis::start();
        let meddler = Meddler::start(redis.address());
        meddler.answer("GET two", b"$3\r\nTWO\r\n");
        let mut client = Client::connect(meddler.address());
        let replies = client.pipeline(&["SET one 1", "get two", "GET one", "GET three"]);
        assert_eq!(replies, [Reply::ok(), Reply::bulk("TWO"), Reply::bulk("1"), Reply::Null]);
        meddler.relent();
        assert_eq!(client.say("GET two"), Reply::Null);
    }
}
