//! Listeners and the admin address: no two alike, none open to the world by accident.

use super::{Findings, readable};
use crate::config::fault::Path;
use crate::config::{Address, Config};
use std::collections::HashMap;

pub(super) fn check(config: &Config, findings: &mut Findings) {
    const INSECURE: &str =
        "add tls, listen on 127.0.0.1, or accept the risk with the top-level key allow_insecure: true";
    const SOCKET: &str = "remove tls: only this machine reaches a socket, and its file's mode says who may";
    let mut seen = HashMap::new();
    for (index, listener) in config.listeners.iter().enumerate() {
        let path = Path::of(["listeners"]).index(index);
        let address = &listener.address;
        if !address.is_local() && listener.tls.is_none() && !config.allow_insecure {
            findings.because(
                path.key("address"),
                vec![path.key("tls"), Path::of(["allow_insecure"])],
                format!("{address} can be reached from other machines and has no TLS"),
                INSECURE,
            );
        }
        if let Some(tls) = &listener.tls {
            readable(path.key("tls").key("cert"), Some(&tls.cert), findings);
            readable(path.key("tls").key("key"), Some(&tls.key), findings);
            readable(path.key("tls").key("client_ca"), tls.client_ca.as_ref(), findings);
            if address.unix_path().is_some() {
                findings.add(path.key("tls"), "a Unix socket is served without TLS", SOCKET);
            }
        }
        if matches!(address, Address::Tcp { port: 0, .. }) {
            continue;
        }
        if let Some(first) = seen.insert(address, index) {
            findings.add(
                path.key("address"),
                format!("{address} is already listeners[{first}]"),
                "remove one of the two",
            );
        }
        if *address == admin_address(config) {
            findings.because(
                path.key("address"),
                vec![Path::of(["admin"])],
                format!("{address} is also the admin address"),
                "choose another port for one of the two",
            );
        }
    }
    if let Some(index) = config
        .listeners
        .iter()
        .position(|l| l.address.unix_path() == config.handover.as_deref() && config.handover.is_some())
    {
        findings.because(
            Path::of(["handover"]),
            vec![Path::of(["listeners"]).index(index).key("address")],
            format!("clients connect there: it is listeners[{index}]"),
            "choose another path",
        );
    }
    let admin = config.admin.address;
    if !admin.ip().to_canonical().is_loopback() && config.admin.token.is_none() && !config.allow_insecure {
        findings.because(
            Path::of(["admin", "address"]),
            vec![Path::of(["allow_insecure"]), Path::of(["admin", "token"]), Path::of(["admin", "token_file"])],
            format!("{admin} can be reached from other machines, and whoever reaches it steers the proxy"),
            "use 127.0.0.1, add token_file: /path/of/a/secret, or accept the risk with the top-level key allow_insecure: true",
        );
    }
}

fn admin_address(config: &Config) -> Address {
    Address::Tcp { host: config.admin.address.ip().to_string(), port: config.admin.address.port() }
}
