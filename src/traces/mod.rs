//! Traces of some commands, sent to an OpenTelemetry collector.
//!
//! What is traced is decided when a socket is read, once for each read: of the few that the dice choose, the first command is. Its session
//! notes when what happened ([`trace`]), and makes spans of that when the reply is there. Everything else (a queue with a bound, batches,
//! the protocol) is the OpenTelemetry SDK's, on a thread of its own; the requests are made by the control thread (`export`).

mod export;
pub mod trace;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider};

use crate::config::Traces;
use export::Courier;

/// Makes spans and has them sent.
#[derive(Debug)]
pub struct Tracer {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
    /// Batches that the collector has taken, and that it has not.
    pub sent: Arc<[AtomicU64; 2]>,
}

impl Tracer {
    /// Begins to send traces, if the configuration names a collector. Inside the runtime that is to make the requests.
    ///
    /// # Errors
    /// The exporter cannot be made, in its own words.
    pub fn start(config: &Traces, instance: &str) -> Result<Option<Self>, String> {
        let Some(endpoint) = &config.endpoint else { return Ok(None) };
        let failed = |error: &dyn std::fmt::Display| format!("traces.endpoint: {error}");
        let sent = Arc::<[AtomicU64; 2]>::default();
        let courier = Courier::new(endpoint, Arc::clone(&sent)).map_err(|error| failed(&error))?;
        let exporter = SpanExporter::builder().with_http().with_http_client(courier).with_endpoint(endpoint).build();
        let exporter = exporter.map_err(|error| failed(&error))?;
        let resource = Resource::builder_empty()
            .with_service_name(config.service_name.clone())
            .with_attributes([
                KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
                KeyValue::new("service.instance.id", instance.to_owned()),
            ])
            .build();
        let provider = SdkTracerProvider::builder()
            // What comes here was chosen already.
            .with_sampler(Sampler::AlwaysOn)
            .with_span_processor(BatchSpanProcessor::builder(exporter).build())
            .with_resource(resource)
            .build();
        Ok(Some(Self { tracer: provider.tracer("larder"), provider, sent }))
    }

    /// Sends what is left. Takes as long as the collector does, up to the exporter's own limit: not for a thread that serves.
    pub fn finish(&self) {
        let _ = self.provider.shutdown();
    }
}

/// Chooses one of so many at random, cheaply: nobody gains anything by guessing it.
#[derive(Debug)]
pub struct Dice(std::cell::Cell<u64>);

impl Dice {
    /// Dice of their own for each worker.
    pub fn new(number: u16) -> Self {
        // (Any start but 0 will do.)
        Self(std::cell::Cell::new(0x9e37_79b9_7f4a_7c15 ^ (u64::from(number) << 32)))
    }

    /// True for `share` of the throws; that is a share of `u64::MAX`.
    #[inline]
    pub fn choose(&self, share: u64) -> bool {
        share != 0 && self.throw() <= share
    }

    /// Xorshift (Marsaglia 2003).
    fn throw(&self) -> u64 {
        let mut x = self.0.get();
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.0.set(x);
        x
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dice_choose_about_the_share_that_is_asked_for() {
        let dice = Dice::new(3);
        let share = (u64::MAX as f64 * 0.01) as u64;
        let chosen = (0..100_000).filter(|_| dice.choose(share)).count();
        assert!((700..1300).contains(&chosen), "{chosen} of 100000 at 1%");
        assert!((0..1000).all(|_| !dice.choose(0)) && (0..1000).all(|_| dice.choose(u64::MAX)));
    }
}
