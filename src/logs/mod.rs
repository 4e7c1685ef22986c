//! The log: one line for each event on stderr, as text or as JSON. Its levels may be changed while the process runs.
//!
//! Lines never hold a key, a value or a secret, whatever the level. What may come once for each client or failed connection is
//! written through [`sample`].

pub mod sample;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, reload};

use crate::config::{Level, Levels, Log, LogFormat};

/// The variable that takes the place of `log.level`.
pub const VARIABLE: &str = "LARDER_LOG";

/// The log of the process. Without one ([`Logs::default`], in tests) nothing is written.
#[derive(Clone, Default)]
pub struct Logs(Option<Arc<Inner>>);

type Handle = reload::Handle<Targets, Registry>;

struct Inner {
    handle: Handle,
    format: LogFormat,
    state: Mutex<State>,
}

struct State {
    /// What holds where nothing else was asked for.
    configured: Levels,
    /// What holds now.
    now: Levels,
    /// The environment has said what is written: the configuration has no say.
    by_environment: bool,
    /// Changes so far: who wants to take one back looks whether it is still the last.
    changes: u64,
}

// === impl Logs ===

impl Logs {
    /// Starts the log. The variable in the environment wins over the configuration.
    ///
    /// # Errors
    /// What is wrong with the variable, in words.
    pub fn start(config: &Log) -> Result<Self, String> {
        let variable = std::env::var(VARIABLE).ok().filter(|text| !text.is_empty());
        let by_environment = variable.is_some();
        let configured = match variable {
            Some(text) => text.parse().map_err(|wrong| format!("{VARIABLE}: {wrong}"))?,
            None => config.level.clone(),
        };
        let (subscriber, handle) = subscriber(&configured, config.format, std::io::stderr);
        subscriber.init();
        Ok(Self::of(handle, config.format, configured, by_environment))
    }

    fn of(handle: Handle, format: LogFormat, configured: Levels, by_environment: bool) -> Self {
        let state = State { now: configured.clone(), configured, by_environment, changes: 0 };
        Self(Some(Arc::new(Inner { handle, format, state: Mutex::new(state) })))
    }

    /// In which form lines are written.
    pub fn format(&self) -> LogFormat {
        self.0.as_ref().map_or(LogFormat::Text, |inner| inner.format)
    }

    /// What is written now, as `info,larder::supervisor=debug`.
    pub fn level(&self) -> String {
        self.0.as_ref().map_or_else(|| Level::Off.name().to_owned(), |inner| inner.lock().now.to_string())
    }

    /// Goes by the configuration that has been loaded, unless the environment has said something else.
    pub fn configure(&self, levels: &Levels) {
        let Some(inner) = &self.0 else { return };
        let mut state = inner.lock();
        if !state.by_environment && state.configured != *levels {
            state.configured = levels.clone();
            inner.apply(&mut state, levels.clone());
        }
    }

    /// Writes from these levels on from now on, as `debug` or `info,larder::supervisor=debug`.
    ///
    /// # Errors
    /// What is wrong with the text, and how it is to be written. Then nothing changes.
    pub fn set_level(&self, levels: &str) -> Result<(), String> {
        self.set(levels).map(drop)
    }

    /// The same for some time; then as configured, unless somebody else has changed it meanwhile.
    ///
    /// # Errors
    /// As [`Logs::set_level`].
    pub fn set_level_for(&self, levels: &str, time: Duration) -> Result<(), String> {
        let change = self.set(levels)?;
        let logs = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(time).await;
            logs.take_back(change);
        });
        Ok(())
    }

    fn set(&self, levels: &str) -> Result<u64, String> {
        let levels: Levels = levels.parse()?;
        let Some(inner) = &self.0 else { return Ok(0) };
        let mut state = inner.lock();
        inner.apply(&mut state, levels);
        Ok(state.changes)
    }

    fn take_back(&self, change: u64) {
        let Some(inner) = &self.0 else { return };
        let mut state = inner.lock();
        if state.changes == change {
            let configured = state.configured.clone();
            inner.apply(&mut state, configured);
        }
    }
}

impl fmt::Debug for Logs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Logs({})", self.level())
    }
}

impl Inner {
    fn apply(&self, state: &mut State, levels: Levels) {
        // It fails when there is no log any more.
        let _ = self.handle.reload(targets(&levels));
        state.changes += 1;
        if state.now != levels {
            tracing::info!("the log is written from {levels} on (before: {})", state.now);
            state.now = levels;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What takes the events, and the handle of its levels.
fn subscriber<W>(levels: &Levels, format: LogFormat, writer: W) -> (impl Subscriber + Send + Sync, Handle)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let (filter, handle) = reload::Layer::new(targets(levels));
    let lines = tracing_subscriber::fmt::layer().with_writer(writer).with_target(false);
    let lines = match format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed(),
    };
    // The levels are the lines' alone: what else listens to events has its own.
    (tracing_subscriber::registry().with(lines.with_filter(filter)), handle)
}

/// What `tracing` makes of it.
fn targets(levels: &Levels) -> Targets {
    let mut targets = Targets::new().with_default(filter(levels.rest));
    // It tells of each connection that it cannot make, which Larder does in its own words.
    if levels.rest > Level::Error {
        targets = targets.with_target("fred", LevelFilter::ERROR);
    }
    targets.with_targets(levels.modules.iter().map(|(module, level)| (module.clone(), filter(*level))))
}

fn filter(level: Level) -> LevelFilter {
    match level {
        Level::Off => LevelFilter::OFF,
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_named_module_wins_over_the_rest_and_fred_is_quiet_unless_named() {
        let of = |text: &str| targets(&text.parse().expect("levels"));
        let some = of("info,larder::supervisor=debug");
        assert!(some.would_enable("larder::supervisor", &tracing::Level::DEBUG));
        assert!(!some.would_enable("larder::worker", &tracing::Level::DEBUG));
        assert!(some.would_enable("larder::worker", &tracing::Level::INFO));
        assert!(!some.would_enable("fred::router", &tracing::Level::WARN));
        assert!(of("info,fred=debug").would_enable("fred::router", &tracing::Level::DEBUG));
        assert!(!of("off").would_enable("fred", &tracing::Level::ERROR));
    }

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Page {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("no test panics with it").write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// What stands in the log when `work` is done with it.
    fn log(configured: &str, by_environment: bool, work: impl FnOnce(&Logs)) -> String {
        let (page, levels) = (Page::default(), configured.parse().expect("levels"));
        let writer = page.clone();
        let (subscriber, handle) = subscriber(&levels, LogFormat::Text, move || writer.clone());
        let logs = Logs::of(handle, LogFormat::Text, levels, by_environment);
        tracing::subscriber::with_default(subscriber, || work(&logs));
        let bytes = page.0.lock().expect("no test panics with it").clone();
        String::from_utf8(bytes).expect("text")
    }

    #[test]
    fn levels_change_at_run_time_and_are_taken_back_unless_changed_again() {
        let text = log("info", false, |logs| {
            tracing::debug!("one");
            let first = logs.set("debug").expect("a level");
            tracing::debug!("two");
            logs.take_back(first);
            tracing::debug!("three");
            let second = logs.set("debug").expect("a level");
            logs.set_level("trace").expect("a level");
            logs.take_back(second);
            tracing::trace!("four");
            assert_eq!(logs.level(), "trace");
            let wrong = logs.set_level("loud").expect_err("no level");
            assert!(wrong.contains("\"loud\" is not a level"), "{wrong}");
            assert_eq!(logs.level(), "trace");
        });
        let has = |word: &str| text.contains(&format!(" {word}\n"));
        assert!(!has("one") && has("two") && !has("three") && has("four"), "{text}");
    }

    #[test]
    fn a_reload_changes_the_level_unless_the_environment_has_said_one() {
        for by_environment in [false, true] {
            let text = log("info", by_environment, |logs| {
                logs.configure(&"debug".parse().expect("levels"));
                tracing::debug!("here");
            });
            assert_eq!(text.contains(" here\n"), !by_environment, "{text}");
        }
    }
}
