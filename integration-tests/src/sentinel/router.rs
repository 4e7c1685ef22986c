//! A client of a primary that Sentinels name, behind one address: each connection goes to whoever is the primary when it is
//! made, and ends when that one is gone or no longer takes writes.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::thread;
use std::time::Duration;

use super::SentinelSet;
use crate::client::{Client, encode};
use crate::port;
use crate::reply::Reply;

/// A running router; its threads end with the process.
#[derive(Clone, Copy, Debug)]
pub struct Router {
    address: SocketAddr,
}

impl Router {
    /// Starts one in front of a set.
    pub fn start(set: &SentinelSet) -> Self {
        let listener = (0..20).find_map(|_| TcpListener::bind(port::free()).ok()).expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let sentinels = set.sentinel_addresses();
        let name = set.primary_name();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let client = Client::over(stream).expect("a connected socket takes timeouts");
                let sentinels = sentinels.clone();
                // It ends when either side does.
                thread::spawn(move || drop(primary(&sentinels, name).and_then(|primary| serve(client, primary))));
            }
        });
        Self { address }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Where most of the Sentinels say that the primary is.
fn primary(sentinels: &[SocketAddr], name: &str) -> io::Result<Client> {
    let told = |sentinel: &SocketAddr| {
        let reply = Client::try_connect(*sentinel)
            .and_then(|mut sentinel| sentinel.try_call(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", name]));
        let reply = reply.ok()?;
        let [host, port] = reply.items()? else { return None };
        format!("{}:{}", host.text()?, port.text()?).parse::<SocketAddr>().ok()
    };
    let told: Vec<SocketAddr> = sentinels.iter().filter_map(told).collect();
    let most = told.iter().max_by_key(|one| told.iter().filter(|other| other == one).count());
    Client::try_connect(*most.ok_or_else(|| io::Error::other("no Sentinel names a primary"))?)
}

fn serve(mut client: Client, mut primary: Client) -> io::Result<()> {
    client.set_reply_timeout(Duration::from_secs(3600));
    loop {
        let (request, _) = client.try_read()?;
        let args: Vec<Vec<u8>> = request.items().unwrap_or_default().iter().filter_map(bytes).collect();
        primary.send_raw(&encode(&args))?;
        let (_, answer) = primary.try_read()?;
        client.send_raw(&answer)?;
        if answer.starts_with(b"-READONLY") {
            return Ok(());
        }
    }
}

fn bytes(word: &Reply) -> Option<Vec<u8>> {
    match word {
        Reply::Bulk(bytes) => Some(bytes.clone()),
        _ => None,
    }
}
