//! Following a cluster's redirections: a node that does not own a key says who does, and did not carry the command out.
//!
//! Since it was not carried out, sending it again is safe for writes too. A session's commands for one key keep their
//! order: all of them pass the same nodes in the same order, and when the map changes the session first waits for what
//! it is owed. One that has to wait (TRYAGAIN) is only held back while nothing that it could overtake, or be overtaken by,
//! is on its way: behind it the session waits too, and if something was sent behind it before, the client is told.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::{degraded, lease};
use crate::clock::Micros;
use crate::config::Address;
use crate::origin::{Node, Origin};
use crate::resp::encode;
use crate::session::receiver::{Again, Receipt, Tenure};
use crate::upstream::lane::Receiver;
pub use crate::upstream::redirect::Redirect;
use crate::worker::Worker;

/// How long the keys of a command that straddles a slot's move (TRYAGAIN) are waited for, each time.
const PAUSE: Duration = Duration::from_millis(20);

/// Whether the command is sent elsewhere, or again; if not, the error is the client's.
pub fn leads_on(redirect: &Redirect<'_>) -> bool {
    matches!(redirect, Redirect::Moved { .. } | Redirect::Ask { .. } | Redirect::TryAgain)
}

/// Whether a replica's error says that another server should be asked.
pub fn unfit(redirect: &Redirect<'_>) -> bool {
    matches!(redirect, Redirect::Loading | Redirect::MasterDown | Redirect::ClusterDown)
}

/// Sends the command of `receipt` where `redirect` says.
pub fn follow(worker: &Rc<Worker>, mut receipt: Receipt, redirect: &Redirect<'_>, reply: &[u8]) {
    let must_pass = matches!(redirect, Redirect::TryAgain) && !receipt.holds_the_line();
    let (Some(origin), Some(again)) = (worker.app.origin(receipt.upstream), receipt.again.as_mut()) else { return };
    worker.counters.redirections.add(1);
    again.redirections += 1;
    let most = worker.rules().config.upstreams[&origin.name].max_redirections;
    if most == 0 || must_pass {
        receipt.again = None;
        return receipt.replies(reply, 1, Micros(0));
    }
    if again.redirections > most {
        let mut error = Vec::new();
        let reply = String::from_utf8_lossy(reply.trim_ascii()).into_owned();
        let name = &origin.name;
        encode::error(&mut error, &format!("TRYAGAIN upstream '{name}' redirected the command {most} times ({reply})"));
        receipt.again = None;
        return receipt.replies(&error, 1, Micros(0));
    }
    match redirect {
        Redirect::Moved { host, port, .. } => {
            origin.doubt.notify_one();
            let node = node(origin, again, host, *port);
            send(worker, &node, receipt, false);
        }
        Redirect::Ask { host, port, .. } => {
            let node = node(origin, again, host, *port);
            send(worker, &node, receipt, true);
        }
        _ => {
            let worker = Rc::clone(worker);
            tokio::task::spawn_local(async move {
                tokio::time::sleep(PAUSE).await;
                again_by_map(&worker, receipt);
            });
        }
    }
}

/// The node that a redirection names. An empty host is that of the node that redirects.
fn node(origin: &Origin, again: &Again, host: &str, port: u16) -> Arc<Node> {
    let host = match (host, &again.node.endpoint.address) {
        ("", Address::Tcp { host, .. }) => host.clone(),
        (host, _) => host.to_owned(),
    };
    origin.node(&Address::Tcp { host, port }, origin.duty())
}

/// Sends a command anew by the present map.
pub fn again_by_map(worker: &Rc<Worker>, mut receipt: Receipt) {
    let Some(origin) = worker.app.origin(receipt.upstream) else { return };
    let slot = receipt.again.as_ref().and_then(|again| again.slot);
    let node = {
        let map = worker.map(origin);
        match slot {
            Some(slot) => map.owner_of_slot(slot).map(|primary| Arc::clone(&primary.node)),
            None => map.any().cloned(),
        }
    };
    match node {
        Some(node) => send(worker, &node, receipt, false),
        None => receipt.lost(1, &origin.nobody()),
    }
}

fn send(worker: &Rc<Worker>, node: &Arc<Node>, mut receipt: Receipt, asking: bool) {
    let not_asked = worker
        .app
        .origin(receipt.upstream)
        .and_then(|origin| degraded::why_not(&worker.rules(), origin, node, Micros::now()));
    if let Some(error) = not_asked {
        return receipt.lost(1, &error);
    }
    if receipt.tenure == Tenure::Last {
        return lease::send_again(node, receipt, asking);
    }
    let Some(again) = receipt.again.as_mut() else { return };
    again.node = Arc::clone(node);
    let lane = worker.lane(node, again.identity.clone());
    let now = Micros::now();
    if let Some(error) = lane.refusal(now) {
        return receipt.lost(1, &error);
    }
    if asking {
        let mut words = Vec::new();
        encode::command(&mut words, &[b"ASKING"]);
        lane.send(&words, (0, 0), now, || Receipt::of_nobody(&receipt.session, node.upstream));
    }
    if let Some(write) = receipt.write.as_mut()
        && !write.wholesale
    {
        write.node = Arc::clone(node);
    }
    let request = again.request.clone();
    lane.send(&request, (0, 0), now, || receipt);
}
