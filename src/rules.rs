//! What the configuration says that may change while the process runs, compiled as a whole.
//!
//! There is one present set of rules; a reload replaces it by another one, never a part of it. Every worker goes by the set that it was
//! told of last, and takes a new one between two commands: no command is served by parts of two.

use std::sync::Arc;

use tokio_rustls::rustls::ServerConfig;

use crate::config::Config;
use crate::ladder::Ladders;
use crate::net;
use crate::route::Routes;

/// A checked configuration and what is compiled from it.
#[derive(Debug)]
pub struct Rules {
    /// Its number, from 1: that of the configuration which the process started with.
    pub number: u64,
    /// What holds now. What needs a restart stands here as it was at the start.
    pub config: Config,
    /// Key pattern -> policy.
    pub routes: Routes,
    /// What is answered while a node is down.
    pub ladders: Ladders,
    /// Which share of `u64::MAX` of the reads is traced.
    pub traced: u64,
    /// How to speak TLS, for each listener that does.
    pub tls: Vec<Option<Arc<ServerConfig>>>,
}

impl Rules {
    /// Compiles a checked configuration. `home` is the upstream for what concerns no key.
    ///
    /// # Errors
    /// What is wrong with which file of a certificate or key.
    pub fn of(number: u64, config: Config, home: u16) -> Result<Self, String> {
        let tls = config.listeners.iter().map(|listener| listener.tls.as_ref().map(net::server_tls).transpose());
        let tls = tls.collect::<Result<_, _>>()?;
        let ladders = Ladders::of(&config);
        let routes = Routes::of(&config, &ladders, home);
        let traces = &config.traces;
        let traced = if traces.endpoint.is_some() { (traces.sample * u64::MAX as f64) as u64 } else { 0 };
        Ok(Self { number, config, routes, ladders, traced, tls })
    }
}
