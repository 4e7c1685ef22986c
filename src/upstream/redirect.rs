//! Errors by which a server says that a command belongs elsewhere, or later: found in the raw bytes of its reply.
//!
//! Every reply of a cluster's node passes here, so anything that is no error is let go after its first byte. Reading is
//! strict: an error that is not exactly of Redis's form is nobody's instruction, and goes to the client as it is.

use super::slots::SLOTS;
use crate::resp::number;

/// What an error reply asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redirect<'a> {
    /// `MOVED`: the slot has another owner for good.
    Moved {
        /// The slot in question.
        slot: u16,
        /// The owner's host; empty when it is that of the node which was asked.
        host: &'a str,
        /// The owner's port.
        port: u16,
    },
    /// `ASK`: this one command belongs to the node that the slot is moving to, with ASKING before it.
    Ask {
        /// The slot in question.
        slot: u16,
        /// That node's host; empty when it is that of the node which was asked.
        host: &'a str,
        /// That node's port.
        port: u16,
    },
    /// `TRYAGAIN`: several keys of a slot that is moving, some of them here and some there.
    TryAgain,
    /// `CLUSTERDOWN`: the slot has no owner, or the cluster has lost its majority.
    ClusterDown,
    /// `MASTERDOWN`: a replica that has lost its primary and is told not to answer with old data.
    MasterDown,
    /// `LOADING`: the server reads its data from disk.
    Loading,
    /// `READONLY`: a write reached a replica, as it does behind a failover.
    ReadOnly,
}

impl<'a> Redirect<'a> {
    /// What `reply` asks for, if it is an error that asks for something.
    #[inline]
    pub fn of(reply: &'a [u8]) -> Option<Self> {
        match reply.first() {
            Some(b'-') => Self::of_error(reply),
            _ => None,
        }
    }

    /// Errors are rare: their path stays out of the way of all others.
    #[cold]
    fn of_error(reply: &'a [u8]) -> Option<Self> {
        let text = reply.strip_prefix(b"-")?.strip_suffix(b"\r\n")?;
        let end = text.iter().position(|byte| *byte == b' ').unwrap_or(text.len());
        let (code, rest) = text.split_at(end);
        match code {
            b"MOVED" => target(rest).map(|(slot, host, port)| Self::Moved { slot, host, port }),
            b"ASK" => target(rest).map(|(slot, host, port)| Self::Ask { slot, host, port }),
            b"TRYAGAIN" => Some(Self::TryAgain),
            b"CLUSTERDOWN" => Some(Self::ClusterDown),
            b"MASTERDOWN" => Some(Self::MasterDown),
            b"LOADING" => Some(Self::Loading),
            b"READONLY" => Some(Self::ReadOnly),
            _ => None,
        }
    }
}

/// ` 3999 127.0.0.1:6381`. The last colon splits, since an IPv6 address has some of its own.
fn target(text: &[u8]) -> Option<(u16, &str, u16)> {
    let text = std::str::from_utf8(text).ok()?.strip_prefix(' ')?;
    let (slot, address) = text.split_once(' ')?;
    let (host, port) = address.rsplit_once(':')?;
    let slot = decimal(slot).filter(|slot| usize::from(*slot) < SLOTS)?;
    let port = decimal(port).filter(|port| *port > 0)?;
    // A node that is to be called by its hostname and has none calls itself `?`: as good as no name at all.
    let host = if host == "?" { "" } else { host };
    host.bytes().all(|byte| byte.is_ascii_graphic()).then_some((slot, host, port))
}

fn decimal(text: &str) -> Option<u16> {
    u16::try_from(number::integer(text.as_bytes())?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn redirections_name_slot_host_and_port() {
        for (reply, expected) in [
            ("-MOVED 3999 127.0.0.1:6381\r\n", Redirect::Moved { slot: 3999, host: "127.0.0.1", port: 6381 }),
            ("-MOVED 0 ::1:6381\r\n", Redirect::Moved { slot: 0, host: "::1", port: 6381 }),
            ("-MOVED 16383 :65535\r\n", Redirect::Moved { slot: 16383, host: "", port: 65535 }),
            ("-MOVED 1 ?:7000\r\n", Redirect::Moved { slot: 1, host: "", port: 7000 }),
            ("-ASK 5 n-1.example:7000\r\n", Redirect::Ask { slot: 5, host: "n-1.example", port: 7000 }),
        ] {
            assert_eq!(Redirect::of(reply.as_bytes()), Some(expected), "{reply:?}");
        }
    }

    #[test]
    fn states_are_known_by_their_code() {
        for (reply, expected) in [
            ("-TRYAGAIN Multiple keys request during rehashing of slot\r\n", Redirect::TryAgain),
            ("-CLUSTERDOWN Hash slot not served\r\n", Redirect::ClusterDown),
            (
                "-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.\r\n",
                Redirect::MasterDown,
            ),
            ("-LOADING Redis is loading the dataset in memory\r\n", Redirect::Loading),
            ("-READONLY You can't write against a read only replica.\r\n", Redirect::ReadOnly),
            ("-LOADING\r\n", Redirect::Loading),
        ] {
            assert_eq!(Redirect::of(reply.as_bytes()), Some(expected), "{reply:?}");
        }
    }

    #[test]
    fn what_only_looks_like_one_is_none() {
        for reply in [
            "",
            "-",
            "-\r\n",
            "+MOVED 1 h:1\r\n",
            "$20\r\n-MOVED 1 h:1\r\n",
            "-MOVED 1 h:1",
            "-MOVED\r\n",
            "-MOVED \r\n",
            "-MOVED 1\r\n",
            "-MOVED 1 \r\n",
            "-MOVED 1 h\r\n",
            "-MOVED 1 h:\r\n",
            "-MOVED 1 h:0\r\n",
            "-MOVED 1 h:65536\r\n",
            "-MOVED 1 h:+1\r\n",
            "-MOVED 16384 h:1\r\n",
            "-MOVED -1 h:1\r\n",
            "-MOVED 01 h:1\r\n",
            "-MOVED 1  h:1\r\n",
            "-MOVED 1 h:1 x\r\n",
            "-MOVED 1 a b:1\r\n",
            "-MOVED 1 \u{e9}:1\r\n",
            "-MOVEDX 1 h:1\r\n",
            "-moved 1 h:1\r\n",
            "-ERR MOVED 1 h:1\r\n",
            "-LOADINGX a\r\n",
            "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n",
        ] {
            assert_eq!(Redirect::of(reply.as_bytes()), None, "{reply:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(reply in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = Redirect::of(&reply);
        }

        #[test]
        fn no_error_panics(text in "(MOVED|ASK|LOADING)?[ 0-9a-z:.?\r\n]{0,24}") {
            let _ = Redirect::of(format!("-{text}\r\n").as_bytes());
        }

        #[test]
        fn what_a_node_writes_is_read_back(slot in 0..SLOTS as u16, host in "[a-z0-9.:-]{0,30}", port in 1u16..) {
            let reply = format!("-ASK {slot} {host}:{port}\r\n");
            prop_assert_eq!(Redirect::of(reply.as_bytes()), Some(Redirect::Ask { slot, host: &host, port }));
        }
    }
}
