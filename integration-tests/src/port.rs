//! Free loopback ports for the servers of a test.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

/// Below the range from which kernels take the local ports of outgoing connections (Linux: 32768, macOS: 49152).
/// From inside that range a client that retries a dead server can be given the server's own port as its local
/// one and then connects to itself, and the server cannot come back.
const RANGE: std::ops::Range<u32> = 20_000..32_000;

/// A loopback address that nobody listened on a moment ago. Another process can still take it first, so
/// whoever starts a server there must be ready to ask again.
pub fn free() -> SocketAddr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let span = RANGE.end - RANGE.start;
    // Different test processes start at different places.
    let start = std::process::id().wrapping_mul(7919) ^ nanos();
    for _ in 0..span {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let offset = (start % span + step) % span;
        let port = u16::try_from(RANGE.start + offset).expect("the range ends below 65536");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
    panic!("no free port in {RANGE:?}");
}

fn nanos() -> u32 {
    use std::sync::OnceLock;
    static SEED: OnceLock<u32> = OnceLock::new();
    *SEED.get_or_init(|| {
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.subsec_nanos())
    })
}
