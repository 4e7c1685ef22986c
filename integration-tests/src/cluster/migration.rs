//! A slot on its way from one primary to another, by the protocol that redis-cli speaks, in steps that a test can
//! stand between.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{AGREEMENT, Cluster, PAUSE, Seen, slot_of};
use crate::client::shown;
use crate::reply::Reply;
use crate::wait;

/// How many keys one MIGRATE takes.
const BATCH: &str = "100";

/// How long gossip may take before the nodes are told again.
const PATIENCE: Duration = Duration::from_secs(3);

/// A slot that is MIGRATING at one node and IMPORTING at another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Migration {
    /// The slot.
    pub slot: u16,
    /// The node that owns it until the end.
    pub from: usize,
    /// The node that owns it afterwards.
    pub to: usize,
}

impl Cluster {
    /// Moves a slot with its keys and waits until every node knows.
    pub fn migrate_slot(&self, slot: u16, from: usize, to: usize) {
        let migration = self.begin_migration(slot, from, to);
        self.move_keys(migration);
        self.finish_migration(migration);
    }

    /// From here on `from` answers ASK for keys of the slot that it has not.
    pub fn begin_migration(&self, slot: u16, from: usize, to: usize) -> Migration {
        let slot_word = slot.to_string();
        self.ordered(to, &["CLUSTER", "SETSLOT", &slot_word, "IMPORTING", self.id(from)]);
        self.ordered(from, &["CLUSTER", "SETSLOT", &slot_word, "MIGRATING", self.id(to)]);
        Migration { slot, from, to }
    }

    /// Moves every key that is in the slot now; how many those were.
    pub fn move_keys(&self, migration: Migration) -> usize {
        let mut moved = 0;
        loop {
            let listed =
                self.call_on(migration.from, &["CLUSTER", "GETKEYSINSLOT", &migration.slot.to_string(), BATCH]);
            let keys: Vec<&[u8]> = listed.items().expect("GETKEYSINSLOT lists keys").iter().map(bytes).collect();
            if keys.is_empty() {
                return moved;
            }
            self.send_keys(migration, &keys);
            moved += keys.len();
        }
    }

    /// Moves one key of the slot.
    pub fn move_key(&self, migration: Migration, key: &str) {
        assert_eq!(slot_of(key), migration.slot, "{key} belongs to the slot on the move");
        self.send_keys(migration, &[key.as_bytes()]);
    }

    /// Gives the slot away and waits until every node knows. Its keys must have been moved.
    pub fn finish_migration(&self, migration: Migration) {
        self.wait_for_epochs();
        let slot = migration.slot.to_string();
        let told = ["CLUSTER", "SETSLOT", &slot, "NODE", self.id(migration.to)];
        // A node that hears late what another one said before can go back to it, and stays with it where the epochs are
        // against the new owner. It is told again.
        let settled = wait::holds_within(AGREEMENT, || {
            // The target first: a slot of which nobody says that it is his would be lost with the other order.
            self.ordered(migration.to, &told);
            self.ordered(migration.from, &told);
            for node in self.primaries().into_iter().filter(|&node| node != migration.to && node != migration.from) {
                self.ordered(node, &told);
            }
            wait::holds_within_every(PAUSE, PATIENCE, || self.disagreement().is_none())
        });
        assert!(settled, "the nodes do not agree on the owner of slot {slot}");
    }

    /// Waits until the primaries know each other's epochs, no two of which are the same. The new owner of a slot then takes an
    /// epoch above all of them. Otherwise the old owner's claim, until it is told, could win: the slot would go back, and
    /// the new owner throw its keys away, with writes that were acknowledged.
    fn wait_for_epochs(&self) {
        wait::until_within(AGREEMENT, "the primaries know each other's epochs", || {
            let own = |primary: &usize| (self.id(*primary).to_owned(), self.myself(*primary).epoch);
            let epochs: BTreeMap<String, u64> = self.primaries().iter().map(own).collect();
            let told = |seen: &Seen| epochs.get(&seen.id).is_none_or(|epoch| *epoch == seen.epoch);
            let known = self.primaries().iter().all(|primary| self.view(*primary).iter().all(told));
            known && epochs.values().collect::<BTreeSet<_>>().len() == epochs.len()
        });
    }

    /// Sends the keys, whether they are still there or not.
    fn send_keys(&self, migration: Migration, keys: &[&[u8]]) {
        let target = self.address(migration.to);
        let (host, port) = (target.ip().to_string(), target.port().to_string());
        let mut command: Vec<&[u8]> = vec![b"MIGRATE", host.as_bytes(), port.as_bytes(), b"", b"0", b"5000"];
        if let Some(password) = self.password() {
            command.extend([b"AUTH".as_slice(), password.as_bytes()]);
        }
        command.push(b"KEYS");
        command.extend(keys);
        let reply = self.call_on(migration.from, &command);
        let done = matches!(&reply, Reply::Simple(word) if word == "OK" || word == "NOKEY");
        assert!(done, "{}: {reply:?}", shown(&command));
    }
}

fn bytes(reply: &Reply) -> &[u8] {
    match reply {
        Reply::Bulk(bytes) => bytes,
        other => panic!("no key: {other:?}"),
    }
}
