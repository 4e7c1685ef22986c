//! A client of a cluster behind one address: it follows redirections, keeps nothing, and lets tests write beside Larder
//! as if the cluster were one server.
//!
//! One command at a time per connection, on connections of its own to the nodes. A transaction is gathered until EXEC and
//! then carried out whole, so that one which meets a slot on the move can be tried again.

use std::collections::HashMap;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread;
use std::time::{Duration, Instant};

use super::{Cluster, slot_of};
use crate::client::{Client, encode};
use crate::port;
use crate::reply::Reply;

/// How long a command is tried for whose slot is on the move.
const PATIENCE: Duration = Duration::from_secs(5);
/// Before the next try.
const PAUSE: Duration = Duration::from_millis(2);

/// A running router; its threads end with the process.
#[derive(Clone, Copy, Debug)]
pub struct Router {
    address: SocketAddr,
}

impl Router {
    /// Starts one in front of a cluster without a password.
    pub fn start(cluster: &Cluster) -> Self {
        let listener = (0..20).find_map(|_| TcpListener::bind(port::free()).ok()).expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let seeds = cluster.seeds();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let client = Client::over(stream).expect("a connected socket takes timeouts");
                let route = Route { seeds: seeds.clone(), ..Route::default() };
                // It ends when the client leaves, with whatever error.
                thread::spawn(move || drop(route.serve(client)));
            }
        });
        Self { address }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A new connection to it.
    pub fn connect(&self) -> Client {
        Client::connect(self.address)
    }
}

/// What one client's thread knows.
#[derive(Debug, Default)]
struct Route {
    seeds: Vec<SocketAddr>,
    owners: HashMap<u16, SocketAddr>,
    nodes: HashMap<SocketAddr, Client>,
    /// The argument of HELLO, where it was said.
    protocol: Option<String>,
    /// The commands behind MULTI.
    gathered: Option<Vec<Vec<String>>>,
}

/// What came of one try.
enum Tried {
    /// The answer.
    Answer(Vec<u8>),
    /// Another node, or later.
    Again,
}

impl Route {
    fn serve(mut self, mut client: Client) -> io::Result<()> {
        let mut answers = client.stream().try_clone()?;
        client.set_reply_timeout(Duration::from_secs(3600));
        loop {
            let (request, _) = client.try_read()?;
            let args: Vec<String> = request.items().unwrap_or_default().iter().filter_map(Reply::text).collect();
            let answer = self.answer(args).unwrap_or_else(|error| {
                // Whoever was asked is asked anew by the next command.
                self.nodes.clear();
                self.owners.clear();
                format!("-MASTERDOWN beside Larder: {error}; a write may or may not have been carried out\r\n").into()
            });
            answers.write_all(&answer)?;
        }
    }

    fn answer(&mut self, args: Vec<String>) -> io::Result<Vec<u8>> {
        match args[0].to_ascii_uppercase().as_str() {
            "HELLO" => {
                self.protocol = args.get(1).cloned();
                self.nodes.clear();
                let seed = self.reachable()?;
                Ok(self.call(seed, &args)?)
            }
            // A cluster has one database.
            "SELECT" => Ok(b"+OK\r\n".to_vec()),
            "FLUSHALL" => self.on_every_primary(&args),
            "MULTI" => {
                self.gathered = Some(Vec::new());
                Ok(b"+OK\r\n".to_vec())
            }
            "EXEC" => {
                let commands = self.gathered.take().unwrap_or_default();
                self.until_answered(&key_of(&commands[0]), |route, node| route.transact(node, &commands))
            }
            _ => match &mut self.gathered {
                Some(gathered) => {
                    gathered.push(args);
                    Ok(b"+QUEUED\r\n".to_vec())
                }
                None => self.until_answered(&key_of(&args), |route, node| route.carry_out(node, &args)),
            },
        }
    }

    fn until_answered(
        &mut self,
        key: &str,
        mut attempt: impl FnMut(&mut Self, SocketAddr) -> io::Result<Tried>,
    ) -> io::Result<Vec<u8>> {
        let slot = slot_of(key);
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            let node = match self.owners.get(&slot) {
                Some(node) => *node,
                None => self.reachable()?,
            };
            if let Tried::Answer(answer) = attempt(self, node)? {
                return Ok(answer);
            }
        }
        Err(io::Error::other("the slot is on the move for too long"))
    }

    fn carry_out(&mut self, node: SocketAddr, args: &[String]) -> io::Result<Tried> {
        let answer = self.call(node, args)?;
        Ok(match self.led_on(&answer)? {
            Led::Nowhere => Tried::Answer(answer),
            Led::Owner => Tried::Again,
            Led::Later => {
                thread::sleep(PAUSE);
                Tried::Again
            }
            Led::Once(other) => {
                self.call(other, &["ASKING".to_owned()])?;
                let answer = self.call(other, args)?;
                match self.led_on(&answer)? {
                    Led::Nowhere => Tried::Answer(answer),
                    _ => {
                        thread::sleep(PAUSE);
                        Tried::Again
                    }
                }
            }
        })
    }

    fn transact(&mut self, node: SocketAddr, commands: &[Vec<String>]) -> io::Result<Tried> {
        self.call(node, &["MULTI".to_owned()])?;
        for command in commands {
            let queued = self.call(node, command)?;
            if queued.starts_with(b"-") {
                self.call(node, &["DISCARD".to_owned()])?;
                if matches!(self.led_on(&queued)?, Led::Later | Led::Once(_)) {
                    thread::sleep(PAUSE);
                }
                return Ok(Tried::Again);
            }
        }
        let answer = self.call(node, &["EXEC".to_owned()])?;
        if answer.starts_with(b"-") {
            // Aborted because the slot began to move in between.
            self.owners.clear();
            thread::sleep(PAUSE);
            return Ok(Tried::Again);
        }
        Ok(Tried::Answer(answer))
    }

    fn on_every_primary(&mut self, args: &[String]) -> io::Result<Vec<u8>> {
        for seed in self.seeds.clone() {
            match self.call(seed, args) {
                // A replica, or one that is gone.
                Ok(answer) if answer.starts_with(b"-READONLY") => {}
                Err(_) => drop(self.nodes.remove(&seed)),
                Ok(answer) if answer.starts_with(b"-") => return Ok(answer),
                Ok(_) => {}
            }
        }
        Ok(b"+OK\r\n".to_vec())
    }

    /// What an answer asks for, and notes it.
    fn led_on(&mut self, answer: &[u8]) -> io::Result<Led> {
        let text = String::from_utf8_lossy(&answer[..answer.len().min(200)]).into_owned();
        let words: Vec<&str> = text.trim_end().split(' ').collect();
        Ok(match words[..] {
            ["-MOVED", slot, address] => {
                let slot = slot.parse().map_err(io::Error::other)?;
                self.owners.insert(slot, address.parse().map_err(io::Error::other)?);
                Led::Owner
            }
            ["-ASK", _, address] => Led::Once(address.parse().map_err(io::Error::other)?),
            ["-TRYAGAIN", ..] => Led::Later,
            ["-CLUSTERDOWN", ..] => return Err(io::Error::other(text.trim_end().to_owned())),
            _ => Led::Nowhere,
        })
    }

    fn reachable(&mut self) -> io::Result<SocketAddr> {
        let seeds = self.seeds.clone();
        let found = seeds.into_iter().find(|seed| self.call(*seed, &["PING".to_owned()]).is_ok());
        found.ok_or_else(|| io::Error::other("no node can be reached"))
    }

    fn call(&mut self, node: SocketAddr, args: &[String]) -> io::Result<Vec<u8>> {
        if !self.nodes.contains_key(&node) {
            let mut client = Client::try_connect(node)?;
            if let Some(protocol) = &self.protocol {
                client.try_call(&["HELLO", protocol])?;
            }
            self.nodes.insert(node, client);
        }
        let client = self.nodes.get_mut(&node).expect("made above");
        let answer = client.send_raw(&encode(args)).and_then(|()| client.try_read());
        if answer.is_err() {
            self.nodes.remove(&node);
        }
        Ok(answer?.1)
    }
}

/// Where an answer leads.
enum Led {
    Nowhere,
    Owner,
    Once(SocketAddr),
    Later,
}

/// The first key of a command of the tests; of one without keys, none.
fn key_of(args: &[String]) -> String {
    let at = if args[0].starts_with("EVAL") { 3 } else { 1 };
    args.get(at).cloned().unwrap_or_default()
}
