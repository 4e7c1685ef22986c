//! One thread's connection to a proxy or to the origin, in whatever database is asked for.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::history::Via;
use crate::client::{Client, Protocol, encode};
use crate::reply::Reply;

/// The run's clock and its counter of versions.
#[derive(Debug)]
pub struct Clock {
    start: Instant,
    version: AtomicU64,
}

/// Where a way leads.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    /// Its name in the history.
    pub via: Via,
    /// Where to connect.
    pub address: SocketAddr,
}

/// A connection over one way. It is made when it is needed and made again after an error.
#[derive(Debug)]
pub struct Link {
    way: Way,
    protocol: Protocol,
    client: Option<Client>,
    database: u8,
    /// Replies not yet taken.
    owed: usize,
}

impl Default for Clock {
    fn default() -> Self {
        Self { start: Instant::now(), version: AtomicU64::new(0) }
    }
}

impl Clock {
    /// Nanoseconds since the start of the run.
    pub fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).expect("a run is shorter than 500 years")
    }

    /// The same for a moment that has been; 0 for one before the start.
    pub fn at(&self, moment: Instant) -> u64 {
        let since = moment.saturating_duration_since(self.start);
        u64::try_from(since.as_nanos()).expect("a run is shorter than 500 years")
    }

    /// A version that nobody has had; the first is 1.
    pub fn version(&self) -> u64 {
        self.version.fetch_add(1, Ordering::Relaxed) + 1
    }
}

impl Link {
    /// A connection to be made.
    pub fn new(way: Way, protocol: Protocol) -> Self {
        Self { way, protocol, client: None, database: 0, owed: 0 }
    }

    /// Which way it takes.
    pub fn via(&self) -> Via {
        self.way.via
    }

    /// Sends commands in one write, a SELECT before them when the database is another one.
    ///
    /// # Errors
    /// What the socket says, in words.
    pub fn send<A: AsRef<[u8]>>(&mut self, database: u8, commands: &[Vec<A>]) -> Result<(), String> {
        let sent = self.try_send(database, commands);
        sent.map_err(|error| self.failed(&error.to_string()))
    }

    fn try_send<A: AsRef<[u8]>>(&mut self, database: u8, commands: &[Vec<A>]) -> std::io::Result<()> {
        if std::mem::replace(&mut self.owed, commands.len()) > 0 {
            // Whoever sent the last commands gave up at an error: the replies left are not for these.
            self.client = None;
        }
        if self.client.is_none() {
            let mut client = Client::try_connect(self.way.address)?;
            client.try_call(&["HELLO", self.protocol.number()])?;
            self.client = Some(client);
            self.database = 0;
        }
        let client = self.client.as_mut().expect("made above");
        let mut bytes = Vec::new();
        let selects = self.database != database;
        if selects {
            bytes = encode(&["SELECT", &database.to_string()]);
            self.database = database;
        }
        commands.iter().for_each(|command| bytes.extend_from_slice(&encode(command)));
        client.send_raw(&bytes)?;
        if selects {
            let reply = client.try_read()?.0;
            if reply != Reply::ok() {
                return Err(std::io::Error::other(format!("SELECT {database}: {reply:?}")));
            }
        }
        Ok(())
    }

    /// Takes the next reply.
    ///
    /// # Errors
    /// What the socket says, in words.
    pub fn read(&mut self) -> Result<Reply, String> {
        let Some(client) = &mut self.client else {
            return Err("not connected".to_owned());
        };
        match client.try_read() {
            Ok((reply, _)) => {
                self.owed = self.owed.saturating_sub(1);
                Ok(reply)
            }
            Err(error) => Err(self.failed(&error.to_string())),
        }
    }

    fn failed(&mut self, why: &str) -> String {
        self.client = None;
        format!("{:?}: {why}", self.way.via)
    }
}
