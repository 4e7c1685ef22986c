//! What the process knows of its clients: for CLIENT LIST, KILL and the limits.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::clock::Micros;
use crate::origin::Node;

/// One client, as others may see it.
#[derive(Debug)]
pub struct Client {
    /// Its number.
    pub id: u64,
    /// Where it came from; `/path:0` for a Unix socket.
    pub address: String,
    /// Where it connected to.
    pub local_address: String,
    /// For the limit per address.
    pub ip: Option<IpAddr>,
    /// The worker it lives on.
    pub worker: u16,
    /// When it connected.
    pub since: Micros,
    /// What it has told of itself.
    pub told: Mutex<Told>,
    /// Selected database.
    pub database: AtomicU32,
    /// 2 or 3.
    pub proto: AtomicU8,
    /// Channels, patterns and shard channels that it is subscribed to.
    pub subscriptions: [AtomicU32; 3],
    /// When its last batch of commands was read.
    pub active_at: AtomicU64,
    /// Where its command blocks, while one does.
    pub blocked: Mutex<Option<Blocked>>,
    /// It is to be closed, and no longer shown.
    pub killed: AtomicBool,
}

/// Where a client's command blocks.
#[derive(Clone, Debug)]
pub struct Blocked {
    /// The server.
    pub node: Arc<Node>,
    /// That server's number of the connection (CLIENT ID); 0 while it is not connected yet.
    pub number: Arc<AtomicU64>,
}

/// What a client has told of itself.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// CLIENT SETNAME.
    pub name: String,
    /// CLIENT SETINFO LIB-NAME.
    pub library: String,
    /// CLIENT SETINFO LIB-VER.
    pub library_version: String,
    /// As whom it authenticated.
    pub user: Option<String>,
    /// CLIENT NO-EVICT, accepted and without effect.
    pub no_evict: bool,
    /// CLIENT NO-TOUCH, accepted and without effect.
    pub no_touch: bool,
    /// The last command.
    pub command: String,
}

/// All clients.
#[derive(Debug, Default)]
pub struct Clients {
    next: AtomicU64,
    all: Mutex<All>,
}

#[derive(Debug, Default)]
struct All {
    clients: BTreeMap<u64, Arc<Client>>,
    per_address: HashMap<IpAddr, usize>,
}

impl Client {
    /// Notes what it did last; once per batch of commands.
    pub fn note_command(&self, name: &str, now: Micros) {
        self.active_at.store(now.0, Ordering::Relaxed);
        let command = &mut self.told().command;
        if command != name {
            command.clear();
            command.push_str(name);
        }
    }

    /// Notes where its command blocks, or that none does any more.
    pub fn block(&self, blocked: Option<Blocked>) {
        *self.blocked.lock().unwrap_or_else(PoisonError::into_inner) = blocked;
    }

    /// Where its command blocks.
    pub fn blocked(&self) -> Option<Blocked> {
        self.blocked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether it is subscribed to anything.
    pub fn is_subscriber(&self) -> bool {
        self.subscriptions.iter().any(|count| count.load(Ordering::Relaxed) > 0)
    }

    /// What it has told; held only for a moment.
    pub fn told(&self) -> MutexGuard<'_, Told> {
        // Plain data: a panic elsewhere cannot have left it half-changed.
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clients {
    /// The number for the next client.
    pub fn next_id(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Counts a new client in, or says that there are too many.
    pub fn enter(&self, client: &Arc<Client>, most: usize, most_per_address: usize) -> bool {
        let mut all = self.lock();
        if all.clients.len() >= most {
            return false;
        }
        if let Some(ip) = client.ip {
            let here = all.per_address.entry(ip).or_default();
            if most_per_address > 0 && *here >= most_per_address {
                return false;
            }
            *here += 1;
        }
        all.clients.insert(client.id, Arc::clone(client));
        true
    }

    /// Counts a client out.
    pub fn leave(&self, client: &Client) {
        let mut all = self.lock();
        if all.clients.remove(&client.id).is_none() {
            return;
        }
        if let Some(ip) = client.ip
            && let Some(here) = all.per_address.get_mut(&ip)
        {
            *here -= 1;
            if *here == 0 {
                all.per_address.remove(&ip);
            }
        }
    }

    /// All clients that are not being closed, oldest first.
    pub fn list(&self) -> Vec<Arc<Client>> {
        let stays = |client: &&Arc<Client>| !client.killed.load(Ordering::Acquire);
        self.lock().clients.values().filter(stays).cloned().collect()
    }

    /// The client of that number.
    pub fn find(&self, id: u64) -> Option<Arc<Client>> {
        self.lock().clients.get(&id).cloned()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.lock().clients.len()
    }

    /// How many wait for a command that blocks.
    pub fn blocked(&self) -> usize {
        self.lock().clients.values().filter(|client| client.blocked().is_some()).count()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, All> {
        // Every section under this lock leaves the maps in step or has not begun to change them.
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
