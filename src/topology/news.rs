//! Being told by Sentinels of a switch at once, instead of asking until the next round comes.
//!
//! What they tell (`+switch-master`) is only a reason to ask: an answer carries the epoch by which it is judged, a message
//! does not. A Sentinel that cannot be listened to costs nothing but the wait for the next round.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{AbortHandle, JoinSet};

use crate::app::App;
use crate::config::Address;
use crate::resp::Proto;
use crate::upstream::endpoint::Duty;
use crate::upstream::{Identity, wire};

/// How long a Sentinel that cannot be listened to is left alone.
const PAUSE: Duration = Duration::from_secs(1);
/// What is told when a primary has been replaced.
const CHANNEL: &[u8] = b"+switch-master";

/// Those who are listened to; nobody any more when it is dropped.
#[derive(Default)]
pub(super) struct News {
    listening: HashMap<Address, AbortHandle>,
    tasks: JoinSet<()>,
}

impl News {
    /// Listens to exactly these.
    pub(super) fn listen_to(&mut self, app: &Arc<App>, upstream: u16, whom: &[Address]) {
        self.listening.retain(|address, task| {
            let stays = whom.contains(address);
            if !stays {
                task.abort();
            }
            stays
        });
        for address in whom {
            if !self.listening.contains_key(address) {
                let task = self.tasks.spawn(listen(Arc::clone(app), upstream, address.clone()));
                self.listening.insert(address.clone(), task);
            }
        }
    }
}

async fn listen(app: Arc<App>, upstream: u16, address: Address) {
    let Some(origin) = app.origin(upstream) else { return };
    let endpoint = origin.model.at(address, Duty::Any);
    // Sentinels have users of their own; they are spoken to without.
    let identity = Identity { database: 0, proto: Proto::Resp2, credentials: None };
    loop {
        if let Ok(mut wire) = wire::open(&endpoint, &identity, "larder-topology", &[]).await
            && wire.ask(&[b"SUBSCRIBE", CHANNEL], endpoint.command_timeout).await.is_ok()
        {
            // What was told before nobody listened may be news too.
            origin.doubt.notify_one();
            while wire.next().await.is_ok() {
                origin.doubt.notify_one();
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}
