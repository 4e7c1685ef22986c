//! What may be asked of the process as a whole, by a signal, over HTTP or by a file that has changed; the composition root carries it out.

use std::sync::{Mutex, PoisonError};

use tokio::sync::{mpsc, oneshot};

/// Something that is asked of the process.
#[derive(Debug)]
pub enum Order {
    /// Read the configuration again and go by it. What came of it is told.
    Reload {
        /// Who asks, for the log: `SIGHUP`, `POST /reload`, `the file has changed`.
        by: &'static str,
        /// Who wants to know what came of it; may have gone.
        told: oneshot::Sender<Outcome>,
    },
    /// Let clients finish and end, as SIGTERM does.
    Drain {
        /// Who asks.
        by: &'static str,
    },
}

/// What came of a reload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The new configuration holds. Each change as one line; `needs_restart` are those among them that have no effect before one.
    Loaded {
        /// In effect now.
        changed: Vec<String>,
        /// Not in effect before a restart.
        needs_restart: Vec<String>,
    },
    /// Nothing has changed: every error with its place.
    Refused(Vec<String>),
}

/// Takes orders. Waiting ones are bounded; who asks while so many wait is told that the process is busy.
#[derive(Debug)]
pub struct Orders {
    sender: mpsc::Sender<Order>,
    receiver: Mutex<Option<mpsc::Receiver<Order>>>,
}

/// Orders that may wait.
const WAITING: usize = 16;

impl Default for Orders {
    fn default() -> Self {
        let (sender, receiver) = mpsc::channel(WAITING);
        Self { sender, receiver: Mutex::new(Some(receiver)) }
    }
}

impl Orders {
    /// Asks for something; whether it will be looked at.
    pub fn give(&self, order: Order) -> bool {
        self.sender.try_send(order).is_ok()
    }

    /// The same, with patience while others wait; whether it will be looked at.
    pub async fn queue(&self, order: Order) -> bool {
        self.sender.send(order).await.is_ok()
    }

    /// Where to hear of them: for the one who carries them out, `None` for everybody after him.
    pub fn hear(&self) -> Option<mpsc::Receiver<Order>> {
        self.receiver.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
