//! What upstreams tell of themselves, and what follows from it: versions, databases, commands that the table did not know.

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::join_all;

use crate::app::App;
use crate::inbox::Letter;
use crate::origin::Origin;
use crate::origin::map::Primary;
use crate::upstream::control::{self, HashFields, Learned};

/// Asks an upstream about itself, for ever. `first` is called whenever something is known.
pub async fn keep(app: &App, origin: &Origin, first: impl Fn() + Sync) {
    let every = app.rules().config.upstreams[&origin.name].health_check.interval;
    let map = origin.map();
    if map.ring().is_none() {
        let endpoint = || origin.map().any().map(|node| Arc::clone(&node.endpoint));
        let learned = |told, commands| {
            learn(app, origin, told, commands);
            first();
        };
        return control::watch(endpoint, every, learned).await;
    }
    // Its servers may be of different versions: what holds of all of them holds.
    let known = Mutex::new(vec![None; map.primaries().len()]);
    let ask = |(number, primary): (usize, &Primary)| {
        let (known, first, endpoint) = (&known, &first, Arc::clone(&primary.node.endpoint));
        let learned = move |told, commands| {
            let told = with_commands(app, told, commands);
            let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
            known[number] = Some(told);
            if let Some(all) = control::common(&known) {
                note(app, origin, all);
            }
            first();
        };
        control::watch(move || Some(Arc::clone(&endpoint)), every, learned)
    };
    join_all(map.primaries().iter().enumerate().map(ask)).await;
}

/// What the upstream has told replaces what was known of it.
fn learn(app: &App, origin: &Origin, told: Learned, commands: Option<Vec<u8>>) {
    note(app, origin, with_commands(app, told, commands));
}

/// Lays the commands of a server over the table; what it has told, with what follows from its commands.
fn with_commands(app: &App, mut told: Learned, commands: Option<Vec<u8>>) -> Learned {
    if let Some(reply) = commands {
        match app.table.load().with_upstream(&reply) {
            Ok(table) => {
                if table.find(b"hexpire").is_none() {
                    told.hash_fields = HashFields::LiveOn;
                }
                app.table.store(Arc::new(table));
                for inbox in &app.inboxes {
                    inbox.post([Letter::NewTable]);
                }
            }
            Err(error) => {
                tracing::warn!("the upstream's COMMAND reply is not understood, its new commands are refused: {error}")
            }
        }
    }
    told
}

fn note(app: &App, origin: &Origin, told: Learned) {
    let now_short = told.hash_fields == HashFields::MayExpire;
    let told = Arc::new(told);
    let before = origin.learned.swap(Arc::clone(&told));
    if (&told.version, &told.run_id) != (&before.version, &before.run_id) {
        tracing::info!("upstream '{}' is Redis {} ({})", origin.name, told.version, told.mode);
    }
    if now_short && before.hash_fields == HashFields::LiveOn {
        // Replies that were kept for long, when hashes seemed to change only with a push.
        origin.keepers(&origin.map()).for_each(|node| app.near.flush(&node.coverage));
    }
}
