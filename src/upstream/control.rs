//! What an endpoint tells of itself: version, databases, commands. Asked through fred, off the data path.
//!
//! fred is a full client library with reconnection and typed replies, which is what this side wants. It never sees a
//! client's command and never tracks keys (`docs/decisions/0003-data-plane.md` has the figures).

use std::sync::Arc;
use std::time::Duration;

use fred::prelude::*;
use fred::types::InfoKind;

use super::endpoint::{Endpoint, Identity};
use super::wire;
use crate::config::Address;
use crate::resp::Proto;

/// What is known of the upstream.
#[derive(Clone, Debug, Default)]
pub struct Learned {
    /// `redis_version`; empty while the upstream has not been reached.
    pub version: String,
    /// `redis_mode`.
    pub mode: String,
    /// `arch_bits`.
    pub arch_bits: String,
    /// `run_id`: changes when the server restarts.
    pub run_id: String,
    /// Number of databases; Redis's default where CONFIG may not be read.
    pub databases: u32,
    /// Whether fields of hashes may expire (HEXPIRE, Redis 7.4): their replies may change without a push. They may, as
    /// long as the upstream has not told which commands it has.
    pub hash_fields: HashFields,
}

/// What is known of the life of a hash's fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HashFields {
    /// Some may expire before their hash, as far as is known.
    #[default]
    MayExpire,
    /// They live as long as their hash.
    LiveOn,
}

/// What holds of all servers, of those that have told: the first one's word, the fewest databases, and fields of hashes that live on only if
/// that is known of every one. `None`: nobody has told anything.
pub fn common(servers: &[Option<Learned>]) -> Option<Learned> {
    let known = || servers.iter().flatten();
    let lives_on = servers.iter().all(|server| server.as_ref().is_some_and(|of| of.hash_fields == HashFields::LiveOn));
    Some(Learned {
        databases: known().map(|server| server.databases).min()?,
        hash_fields: if lives_on { HashFields::LiveOn } else { HashFields::MayExpire },
        ..known().next()?.clone()
    })
}

/// When an endpoint that gave no answer is asked again.
const RETRY: Duration = Duration::from_millis(250);

/// Redis's default number of databases.
pub const DATABASES: u32 = 16;

/// Asks the endpoint that `endpoint` names about itself again and again: whenever it was restarted or replaced, `learn` gets what it says
/// and its raw COMMAND reply.
pub async fn watch(
    endpoint: impl Fn() -> Option<Arc<Endpoint>>,
    every: Duration,
    learn: impl Fn(Learned, Option<Vec<u8>>),
) {
    let mut known = Learned::default();
    loop {
        let Some(endpoint) = endpoint() else {
            // Nobody is known who could be asked.
            tokio::time::sleep(RETRY).await;
            continue;
        };
        match ask(&endpoint).await {
            Ok(learned) => {
                if learned.run_id != known.run_id || learned.version != known.version {
                    let commands = commands(&endpoint).await;
                    learn(learned.clone(), commands);
                    known = learned;
                }
                tokio::time::sleep(every.max(Duration::from_secs(1))).await;
            }
            Err(error) => {
                tracing::debug!(upstream = %endpoint.upstream, "control connection: {error}");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

async fn ask(endpoint: &Endpoint) -> Result<Learned, String> {
    let info = match (&endpoint.address, &endpoint.tls) {
        (Address::Tcp { host, port }, None) => through_fred(endpoint, host, *port).await?,
        // fred is built without TLS and Unix sockets: their stacks would be second ones beside ours.
        _ => through_wire(endpoint).await?,
    };
    Ok(info)
}

async fn through_fred(endpoint: &Endpoint, host: &str, port: u16) -> Result<Learned, String> {
    let config = Config {
        server: ServerConfig::new_centralized(host, port),
        username: endpoint.credentials.as_ref().and_then(|known| known.username.clone()),
        password: endpoint.credentials.as_ref().map(|known| known.password.expose().to_owned()),
        fail_fast: true,
        ..Config::default()
    };
    let text = |error: Error| error.to_string();
    let client = Builder::from_config(config)
        .with_connection_config(|connection| {
            connection.connection_timeout = endpoint.connect_timeout;
            connection.internal_command_timeout = endpoint.command_timeout;
            connection.max_command_attempts = 1;
        })
        .with_performance_config(|performance| performance.default_command_timeout = endpoint.command_timeout)
        .build()
        .map_err(text)?;
    let _connection = client.init().await.map_err(text)?;
    let info: Result<String, Error> = client.info(Some(InfoKind::Server)).await;
    let databases: Result<Vec<String>, Error> = client.config_get("databases").await;
    let _ = client.quit().await;
    let databases = databases.ok().and_then(|pair| pair.last()?.parse().ok());
    Ok(learned(&info.map_err(text)?, databases))
}

async fn through_wire(endpoint: &Endpoint) -> Result<Learned, String> {
    let limit = endpoint.command_timeout;
    let mut wire = open(endpoint).await?;
    let info = wire.ask(&[b"INFO", b"server"], limit).await.map_err(|error| error.to_string())?;
    let databases = wire.ask(&[b"CONFIG", b"GET", b"databases"], limit).await.map_err(|error| error.to_string())?;
    let databases = String::from_utf8_lossy(&databases).lines().last().and_then(|number| number.trim().parse().ok());
    wire.close().await;
    Ok(learned(&String::from_utf8_lossy(&info), databases))
}

fn learned(info: &str, databases: Option<u32>) -> Learned {
    let field = |name: &str| {
        info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap_or_default().trim().to_owned()
    };
    Learned {
        version: field("redis_version"),
        mode: field("redis_mode"),
        arch_bits: field("arch_bits"),
        run_id: field("run_id"),
        databases: databases.unwrap_or(DATABASES),
        hash_fields: HashFields::MayExpire,
    }
}

/// The endpoint's own COMMAND reply, as raw bytes: the table takes it from there.
async fn commands(endpoint: &Endpoint) -> Option<Vec<u8>> {
    let mut wire = open(endpoint).await.ok()?;
    let reply = wire.ask(&[b"COMMAND"], endpoint.connect_timeout * 4).await.ok()?;
    wire.close().await;
    (!reply.starts_with(b"-")).then_some(reply)
}

async fn open(endpoint: &Endpoint) -> Result<wire::Wire, String> {
    let identity = Identity { database: 0, proto: Proto::Resp2, credentials: endpoint.credentials.clone() };
    wire::open(endpoint, &identity, "larder-control", &[]).await.map_err(|failure| endpoint.error(&failure))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_holds_of_all_servers_is_the_worst_of_each() {
        let told = |version: &str, databases, hash_fields| {
            Some(Learned { version: version.to_owned(), databases, hash_fields, ..Learned::default() })
        };
        let (old, new) = (told("7.0.15", 16, HashFields::LiveOn), told("7.4.1", 4, HashFields::MayExpire));
        assert_eq!(common(&[None, None]).map(|all| all.version), None);
        let all = common(&[old.clone(), new]).expect("both have told");
        assert_eq!((&*all.version, all.databases, all.hash_fields), ("7.0.15", 4, HashFields::MayExpire));
        let all = common(&[None, old.clone()]).expect("one has told");
        assert_eq!(all.hash_fields, HashFields::MayExpire, "of the other nothing is known");
        assert_eq!(common(&[old.clone(), old]).map(|all| all.hash_fields), Some(HashFields::LiveOn));
    }
}
