//! What is written to the log, and in which form.

use super::fault::{Wrong, nearest, shown};
use super::section::Section;
use super::tree::Value;
use super::units;
use std::fmt;
use std::str::FromStr;

/// The log.
#[derive(Clone, Debug, PartialEq)]
pub struct Log {
    /// In which form. Default: text. Set `json` where a collector reads it.
    pub format: Format,
    /// What is written. Default: info. `LARDER_LOG` in the environment takes its place.
    pub level: Levels,
}

/// The form of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object on each line, with `timestamp`, `level`, `message` and what else is known.
    Json,
}

/// From which level on lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// None.
    Off,
    /// What does not work.
    Error,
    /// What somebody should look at.
    Warn,
    /// What has happened.
    Info,
    /// What helps to find a fault.
    Debug,
    /// Everything.
    Trace,
}

/// Levels: one for everything, others for modules, as `info,larder::supervisor=debug`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Levels {
    /// For everything that is not named.
    pub rest: Level,
    /// By the path of a module, or the first part of one.
    pub modules: Vec<(String, Level)>,
}

pub(super) const FORMATS: [(&str, Format); 2] = [("text", Format::Text), ("json", Format::Json)];
const LEVELS: [(&str, Level); 6] = [
    ("off", Level::Off),
    ("error", Level::Error),
    ("warn", Level::Warn),
    ("info", Level::Info),
    ("debug", Level::Debug),
    ("trace", Level::Trace),
];
const REMEDY: &str = "write off, error, warn, info, debug or trace, and behind it, with commas, levels of single modules such as \
    larder::supervisor=debug";
/// Modules that can be named: more is a mistake.
const MOST_MODULES: usize = 64;

// === impl Log ===

impl Default for Log {
    fn default() -> Log {
        Log { format: Format::Text, level: Levels { rest: Level::Info, modules: Vec::new() } }
    }
}

impl Log {
    pub(super) fn read(mut section: Section<'_>) -> Log {
        let default = Log::default();
        let level = |value: &Value| {
            let text = units::text(value)?;
            Levels::of(&text).map_err(|problem| Wrong::new(problem, REMEDY))
        };
        let log = Log {
            format: section.value("format", default.format, |value| units::choice(value, &FORMATS)),
            level: section.value("level", default.level, level),
        };
        section.finish();
        log
    }
}

// === impl Levels ===

impl Levels {
    fn of(text: &str) -> Result<Levels, String> {
        let (mut rest, mut modules) = (None, Vec::new());
        for part in text.split(',').map(str::trim) {
            match part.split_once('=') {
                None => {
                    if rest.replace(level(part)?).is_some() {
                        return Err(format!("\"{}\" is a second level for everything", shown(part)));
                    }
                }
                Some((module, name)) if is_module(module.trim()) => {
                    modules.push((module.trim().to_owned(), level(name.trim())?))
                }
                Some((module, _)) => return Err(format!("\"{}\" is not the path of a module", shown(module))),
            }
        }
        if modules.len() > MOST_MODULES {
            return Err(format!("{} modules are more than {MOST_MODULES}", modules.len()));
        }
        Ok(Levels { rest: rest.unwrap_or(Level::Info), modules })
    }
}

impl FromStr for Levels {
    type Err = String;

    /// Reads levels; the error says what is wrong and what would be right.
    fn from_str(text: &str) -> Result<Levels, String> {
        Levels::of(text).map_err(|problem| format!("{problem}; {REMEDY}"))
    }
}

impl fmt::Display for Levels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.rest.name())?;
        self.modules.iter().try_for_each(|(module, level)| write!(f, ",{module}={}", level.name()))
    }
}

impl Level {
    /// The word of the file.
    pub fn name(self) -> &'static str {
        LEVELS.iter().find(|(_, level)| *level == self).map_or("unnamed", |(name, _)| name)
    }
}

fn level(name: &str) -> Result<Level, String> {
    let found = LEVELS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, level)| *level);
    found.ok_or_else(|| {
        let near = nearest(name, LEVELS.iter().map(|(name, _)| *name));
        let hint = near.map_or(String::new(), |near| format!(" (did you mean {near}?)"));
        format!("\"{}\" is not a level{hint}", shown(name))
    })
}

fn is_module(path: &str) -> bool {
    let part = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    path.len() <= 256 && path.split("::").all(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_read_and_shown_alike() {
        for text in ["info", "off", "warn,larder::supervisor=debug", "trace,fred=error,hyper=off"] {
            assert_eq!(Levels::of(text).unwrap().to_string(), text);
        }
        assert_eq!(Levels::of(" INFO , a::b = Debug").unwrap().to_string(), "info,a::b=debug");
        assert_eq!(Levels::of("larder=debug").unwrap().to_string(), "info,larder=debug", "the rest as ever");
    }

    #[test]
    fn what_is_no_level_is_refused_in_words() {
        // (EnvFilter takes "inof" for the name of a module, and writes nothing at all.)
        assert_eq!(Levels::of("inof").unwrap_err(), "\"inof\" is not a level (did you mean info?)");
        for bad in ["", "info,", "info,debug", "a b=info", "=info", "a=", "a::=info", "5"] {
            assert!(Levels::of(bad).is_err(), "{bad}");
        }
        assert!(Levels::of(&"a=info,".repeat(100)).is_err());
    }
}
