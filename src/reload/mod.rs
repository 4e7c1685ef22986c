//! Reading the configuration again while the process runs.
//!
//! ```text
//!   read      the file, checked as at the start; the flags of the command line apply as at the start
//!   merge     what needs a restart stays as it is; what is left must fit together
//!   compile   routes, ladders, certificates: from here on nothing can fail
//!   swap      the new rules take the place of the old ones; every worker takes them between two commands and says so
//!   drop      what was admitted under rules that have changed, and what is being read under them, is not kept
//! ```
//!
//! Whatever is wrong before the swap leaves everything as it was. Between the swap and the last worker's word some workers go by the new
//! rules and some by the old, each command by one of them; the drop comes after that, so nothing admitted by the old ones outlives it.

pub mod watch;

use std::sync::Arc;
use std::time::Duration;

use crate::app::{App, Stage};
use crate::config::{Config, Errors};
use crate::events::Kind;
use crate::inbox::Letter;
use crate::orders::Outcome;
use crate::systemd;

/// Reads the configuration as the process did at its start; `None`: it did not come from a file.
pub type Reading = Arc<dyn Fn() -> Option<Result<Config, Errors>> + Send + Sync>;

/// How long the workers have to take the new rules before that is worth a warning.
const SLOW: Duration = Duration::from_secs(5);
/// Changes that are logged one by one; of more, the rest is counted.
const TOLD: usize = 50;

/// Carries out reloads, one at a time.
pub struct Reloader {
    app: Arc<App>,
    reading: Reading,
    busy: tokio::sync::Mutex<()>,
}

// === impl Reloader ===

impl Reloader {
    /// Reloads what `reading` reads.
    pub fn new(app: Arc<App>, reading: Reading) -> Self {
        Self { app, reading, busy: tokio::sync::Mutex::default() }
    }

    /// Reads the configuration again and goes by it, or leaves everything as it is; tells the log, the events and the metrics.
    pub async fn reload(&self, by: &str) -> Outcome {
        let _one_at_a_time = self.busy.lock().await;
        systemd::reloading();
        let outcome = self.try_reload().await.unwrap_or_else(Outcome::Refused);
        // A process that has begun to end meanwhile is not ready again.
        if self.app.stage() == Stage::Serving {
            systemd::serving();
        }
        self.tell(by, &outcome);
        outcome
    }

    async fn try_reload(&self) -> Result<Outcome, Vec<String>> {
        let next = self.read().await?;
        let app = &self.app;
        let before = app.rules();
        let holds = before.config.reloaded(&next);
        let why = "the file is right, but not together with what stays as it is until a restart";
        let faults: Vec<_> = holds.faults().into_iter().map(|fault| format!("{fault} ({why})")).collect();
        if !faults.is_empty() {
            return Err(faults);
        }
        let changed = before.config.differences(&holds);
        let needs_restart = holds.differences(&next);
        // Also when no key has changed: the files that they name may have.
        let rules = self.aside(|app| app.replace_rules(holds)).await.flatten().map_err(|error| vec![error])?;
        app.logs.configure(&rules.config.log.level);
        self.hand_out(rules.number).await;
        let drop = move |app: &App| {
            let near_cache = &rules.config.near_cache;
            app.near.resize(near_cache.max_memory, near_cache.max_entry);
            if !before.routes.same_admission(&rules.routes) {
                let alike = |key: &[u8]| before.routes.admit_alike(&rules.routes, key);
                app.near.drop_where(|upstream, key| upstream != rules.routes.upstream_of(key) || !alike(key));
            }
        };
        self.aside(drop).await.map_err(|error| vec![error])?;
        Ok(Outcome::Loaded { changed, needs_restart })
    }

    /// Reads and checks.
    async fn read(&self) -> Result<Config, Vec<String>> {
        let reading = Arc::clone(&self.reading);
        match self.aside(move |_| reading()).await {
            Ok(Some(Ok(config))) => Ok(config),
            Ok(Some(Err(errors))) => Err(errors.iter().map(ToString::to_string).collect()),
            Ok(None) => Err(vec![
                "there is no file to be read again: start Larder with --config FILE to change its configuration while it runs".to_owned(),
            ]),
            Err(error) => Err(vec![error]),
        }
    }

    /// Works away from this thread, which accepts the clients: a disk may be slow, and the near-cache large.
    async fn aside<T: Send + 'static>(&self, work: impl FnOnce(&App) -> T + Send + 'static) -> Result<T, String> {
        let app = Arc::clone(&self.app);
        let done = tokio::task::spawn_blocking(move || work(&app)).await;
        done.map_err(|error| format!("a defect of Larder, please report it: the reload failed: {error}"))
    }

    /// Has every worker take the new rules, and waits until all of them go by them.
    async fn hand_out(&self, number: u64) {
        let app = &self.app;
        app.inboxes.iter().for_each(|inbox| inbox.post([Letter::NewRules]));
        while !app.all_go_by(number) {
            if tokio::time::timeout(SLOW, app.taken_news.notified()).await.is_err() && !app.all_go_by(number) {
                tracing::warn!("a worker has not taken the new configuration for {} s: it is busy", SLOW.as_secs());
            }
        }
    }

    fn tell(&self, by: &str, outcome: &Outcome) {
        let (events, last) = (&self.app.events, &self.app.reloads);
        let left_out = match outcome {
            Outcome::Loaded { changed, needs_restart } => {
                last.note(None);
                let (taken, waiting) = (changed.len(), needs_restart.len());
                let text =
                    format!("configuration read again ({by}): {taken} in effect, {waiting} not before a restart");
                events.info(Kind::Reload, None, text);
                changed.iter().take(TOLD).for_each(|line| events.info(Kind::Reload, None, format!("changed: {line}")));
                for line in needs_restart.iter().take(TOLD) {
                    events.warn(Kind::Reload, None, format!("not in effect before a restart: {line}"));
                }
                taken.saturating_sub(TOLD) + waiting.saturating_sub(TOLD)
            }
            Outcome::Refused(errors) => {
                last.note(Some(errors.first().map_or("refused", String::as_str)));
                let text = format!("configuration not taken ({by}), all stays as it was; errors: {}", errors.len());
                events.warn(Kind::Reload, None, text);
                errors.iter().take(TOLD).for_each(|error| events.warn(Kind::Reload, None, error.clone()));
                errors.len().saturating_sub(TOLD)
            }
        };
        if left_out > 0 {
            events.info(Kind::Reload, None, format!("and {left_out} more"));
        }
    }
}
