//! CONFIG GET: what Larder has a true answer to, under Redis's names. The upstream's own settings are not shown:
//! CONFIG SET and the rest of CONFIG go to it.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use super::Request;
use super::connection::databases;
use crate::app::{App, Backend};
use crate::command::pattern;
use crate::config::Address;
use crate::resp::encode;

/// `CONFIG GET pattern ...`
pub(super) fn get(request: &mut Request<'_>) {
    let mut settings = settings(request.app());
    settings.retain(|name, _| request.command.args(2).any(|wanted| pattern::matches(wanted, name.as_bytes())));
    let proto = request.proto();
    let out = request.out();
    encode::map(out, proto, settings.len());
    for (name, value) in &settings {
        encode::bulk(out, name.as_bytes());
        encode::bulk(out, value.as_bytes());
    }
}

/// Every setting that is shown.
fn settings(app: &App) -> BTreeMap<&'static str, String> {
    let config = &app.rules().config;
    let limits = &config.limits;
    let (bind, port) = listening(app);
    let sockets = config.listeners.iter().filter_map(|listener| listener.address.unix_path());
    let mut settings = BTreeMap::from([
        // The upstream's.
        ("databases", databases(app).to_string()),
        // Larder's, from its configuration.
        ("bind", bind),
        ("port", port.to_string()),
        ("unixsocket", sockets.map(|path| path.display().to_string()).next().unwrap_or_default()),
        ("maxclients", limits.max_clients.to_string()),
        ("proto-max-bulk-len", limits.max_bulk.to_string()),
        ("client-query-buffer-limit", limits.max_request.to_string()),
        ("client-output-buffer-limit", format!("normal {0} 0 0 pubsub {0} 0 0", limits.max_output)),
        ("maxmemory", max_memory(app).to_string()),
        // What Larder never does: it keeps nothing on disk, and closes no idle client.
        ("appendonly", "no".to_owned()),
        ("save", String::new()),
        ("timeout", "0".to_owned()),
        ("cluster-enabled", if config.cluster_facade { "yes" } else { "no" }.to_owned()),
    ]);
    if let Backend::Memory(_) = app.home() {
        settings.insert("maxmemory-policy", "noeviction".to_owned());
    }
    settings
}

/// What this process may keep in memory: the store's data, or else the near-cache.
pub(super) fn max_memory(app: &App) -> u64 {
    let config = &app.rules().config;
    let stores = |number: u16| config.upstreams.values().nth(usize::from(number)).map_or(0, |store| store.max_memory);
    let near_cache = if app.origins().next().is_some() { config.near_cache.max_memory } else { 0 };
    near_cache + app.memories().map(|(number, _)| stores(number)).sum::<u64>()
}

/// The addresses listened on, without the ports, and the first port; 0 without one.
pub(super) fn listening(app: &App) -> (String, u16) {
    let names = app.listening.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let mut hosts: Vec<String> = Vec::new();
    let mut first = 0;
    for name in names {
        if let Ok(Address::Tcp { host, port }) = name.parse::<Address>() {
            if hosts.is_empty() {
                first = port;
            }
            if !hosts.contains(&host) {
                hosts.push(host);
            }
        }
    }
    (hosts.join(" "), first)
}
