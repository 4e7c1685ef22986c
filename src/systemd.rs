//! What systemd is told and gives: the sockets of a socket unit, readiness, the end, proof of life. Without systemd none of it does anything.

use std::sync::Arc;
use std::time::Duration;

use listenfd::ListenFd;
use sd_notify::NotifyState;

use crate::app::App;
use crate::inherited::{Bound, Inherited, Source};

/// Workers give a sign of life several times in this time, whatever they do.
const LEAST_WATCH: Duration = Duration::from_millis(200);

/// The sockets that systemd has opened (`LISTEN_FDS`). Takes the variables out of the environment, so it comes before any thread is
/// started.
///
/// # Errors
/// One of them is no socket that clients could connect to.
pub fn sockets() -> Result<Inherited, String> {
    let (mut given, mut inherited) = (ListenFd::from_env(), Inherited::default());
    for index in 0..given.len() {
        let tcp = given.take_tcp_listener(index).ok().flatten().map(Bound::Tcp);
        let socket = tcp.or_else(|| given.take_unix_listener(index).ok().flatten().map(Bound::Unix));
        let socket = socket.ok_or_else(|| {
            format!("socket {index} of systemd's (LISTEN_FDS) is neither TCP nor a Unix stream: use ListenStream= in the socket unit")
        })?;
        inherited.add(socket, Source::Systemd, None);
    }
    Ok(inherited)
}

/// Clients are served.
pub fn serving() {
    tell(&[NotifyState::Ready, NotifyState::MainPid(std::process::id())]);
}

/// The configuration is read again; [`serving`] says when that is done.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

/// The process ends when its clients have left.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Gives proof of life for as long as all workers give it, if the unit wants any (`WatchdogSec=`). For ever.
pub async fn watch(app: Arc<App>) {
    let Some(patience) = sd_notify::watchdog_enabled() else { return };
    let mut before: Vec<u64> = Vec::new();
    loop {
        let now = app.counters.iter().map(|counters| counters.ticked_at.value()).collect();
        if all_alive(&before, &now) {
            tell(&[NotifyState::Watchdog]);
        }
        before = now;
        tokio::time::sleep((patience / 3).max(LEAST_WATCH)).await;
    }
}

/// Whether every worker has moved.
fn all_alive(before: &[u64], now: &Vec<u64>) -> bool {
    before.len() == now.len() && before.iter().zip(now).all(|(before, now)| before != now)
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!("systemd cannot be told ({}): {error}", states[0]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_worker_that_stands_still_is_no_life() {
        assert!(all_alive(&[1, 2], &vec![2, 3]));
        assert!(!all_alive(&[1, 2], &vec![2, 2]));
        assert!(!all_alive(&[], &vec![2, 2]), "what has not been looked at twice proves nothing");
    }
}
