//! CLIENT TRACKING for clients of Larder: who keeps which replies, and hence has to be told when they change.
//!
//! A client that tracks is served like any other, so what it reads comes from the near-cache or fills it, and the origin
//! tells Larder of every change to what the near-cache has read. The register here says which clients have read a key
//! that way; the reader of the tracked connection ([`crate::coherence`]) tells them in the order of the stream. What a
//! client reads past the near-cache (a command that is not cached, a key under a fence, inside MULTI, from a script) the
//! origin would not tell of: the client is told at once, behind the reply, that the key may have changed, and keeps
//! nothing.
//!
//! * [`register`]: who has read what.
//! * [`mode`]: what one client has asked for.
//! * [`broadcast`]: BCAST, by prefixes, over connections of its own to the origin.

pub mod broadcast;
pub mod mode;
pub mod register;

use std::sync::Arc;

use bytes::Bytes;

use crate::app::App;
use crate::inbox::{Letter, Member, Push};
use crate::resp::{Proto, encode};
pub use mode::{Mode, Tracking};
pub use register::{Register, Who};

/// The channel on which RESP2 clients hear of changes.
pub const CHANNEL: &[u8] = b"__redis__:invalidate";

/// The message that these keys may have changed; all of them without a key.
pub fn message(keys: &[&[u8]]) -> Push {
    let list = |proto: Proto| {
        let mut out = Vec::new();
        if keys.is_empty() {
            encode::null(&mut out, proto);
        } else {
            encode::array(&mut out, keys.len());
            keys.iter().for_each(|key| encode::bulk(&mut out, key));
        }
        out
    };
    let mut frame = b">2\r\n$10\r\ninvalidate\r\n".to_vec();
    frame.extend_from_slice(&list(Proto::Resp3));
    let mut resp2 = Vec::new();
    encode::array(&mut resp2, 3);
    encode::bulk(&mut resp2, b"message");
    encode::bulk(&mut resp2, CHANNEL);
    resp2.extend_from_slice(&list(Proto::Resp2));
    Push::of(frame.into(), resp2.into())
}

/// What a client gets whose messages go to a client that has left.
fn broken(target: u64) -> Push {
    let frame = format!(">2\r\n$21\r\ntracking-redir-broken\r\n:{target}\r\n");
    Push::of(Bytes::from(frame.into_bytes()), Bytes::new())
}

/// A client has read these keys in a way that the origin tells of their changes.
pub fn note<'k>(app: &App, who: Who, keys: impl Iterator<Item = &'k [u8]>) {
    for (gone, readers) in app.register.note(who, keys) {
        tell(app, &readers, &message(&[&gone]));
    }
}

/// A key has changed: whoever has read it is told.
pub fn changed(app: &App, key: &[u8]) {
    if !app.register.is_idle() {
        let readers = app.register.take(key);
        tell(app, &readers, &message(&[key]));
    }
}

/// Anything may have changed: whoever tracks what it has read is told.
pub fn all_changed(app: &App) {
    if !app.register.is_idle() {
        let everybody = app.register.take_all();
        tell(app, &everybody, &message(&[]));
    }
}

/// Sends a message to these clients, or to those that they have named in their place.
pub fn tell(app: &App, clients: &[Who], message: &Push) {
    if clients.is_empty() {
        return;
    }
    let mut by_worker: Vec<Vec<Member>> = app.inboxes.iter().map(|_| Vec::new()).collect();
    let mut lost = Vec::new();
    for client in clients {
        let target = match app.register.target(client.session) {
            None => continue,
            Some(0) => *client,
            Some(target) => match app.clients.find(target) {
                Some(target) => Who { worker: target.worker, session: target.id },
                None => {
                    lost.push((*client, target));
                    continue;
                }
            },
        };
        if let Some(members) = by_worker.get_mut(usize::from(target.worker)) {
            members.push(Member { session: target.session, ticket: 0 });
        }
    }
    for (inbox, members) in app.inboxes.iter().zip(by_worker) {
        if !members.is_empty() {
            inbox.post([Letter::Push(Arc::new(members), message.clone())]);
        }
    }
    for (client, target) in lost {
        app.register.note_broken(client.session);
        if let Some(inbox) = app.inboxes.get(usize::from(client.worker)) {
            let members = vec![Member { session: client.session, ticket: 0 }];
            inbox.post([Letter::Push(Arc::new(members), broken(target))]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(push: &Push, proto: Proto) -> String {
        let mut out = Vec::new();
        push.write(&mut out, proto);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn messages_have_the_form_of_redis() {
        let one = message(&[b"k"]);
        assert_eq!(rendered(&one, Proto::Resp3), ">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n");
        assert_eq!(
            rendered(&one, Proto::Resp2),
            "*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n*1\r\n$1\r\nk\r\n"
        );
        assert_eq!(rendered(&message(&[]), Proto::Resp3), ">2\r\n$10\r\ninvalidate\r\n_\r\n");
        assert_eq!(rendered(&broken(7), Proto::Resp3), ">2\r\n$21\r\ntracking-redir-broken\r\n:7\r\n");
    }
}
