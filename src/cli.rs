//! The command line: where the configuration comes from, and `--check`.

use crate::command::Table;
use crate::config::{Config, Draft, Errors, Kind, Secret};
use crate::health::Health;
use crate::net::{self, ClientTls};
use clap::{Args, Parser, Subcommand};
use std::fmt;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

/// Exit code of every configuration error, unknown flags included (clap uses the same).
pub const BAD_CONFIG: u8 = 2;

/// A caching proxy for Redis: point your client at it instead of at Redis.
///
/// Without any option Larder listens on 127.0.0.1:6380 and keeps its data in memory, which is enough to try it with redis-cli. To
/// put it in front of a Redis server, name the server with --upstream, or write a file and give it with --config.
#[derive(Clone, Debug, Default, Parser)]
#[command(name = "larder", version, after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// What to do instead of serving.
    #[command(subcommand)]
    pub action: Option<Action>,

    /// Read the configuration from this YAML file (config.example.yaml explains every key).
    #[arg(long, value_name = "FILE", conflicts_with = "upstream")]
    pub config: Option<PathBuf>,

    /// Check the configuration, print every error with its place, and exit: 0 if it is good, 2 if not.
    #[arg(long)]
    pub check: bool,

    /// Serve this upstream with defaults, without a file. The forms of the URL are in `docs/configuration.md`.
    #[arg(long, value_name = "URL", help = UPSTREAM, long_help = format!("{UPSTREAM}.\n\n{UPSTREAM_MORE}"))]
    pub upstream: Option<String>,

    /// Listen here for clients instead of on 127.0.0.1:6380 or the file's listeners: host:port or unix:/path. May be repeated.
    #[arg(long, value_name = "ADDR")]
    pub listen: Vec<String>,

    /// Listen here for metrics and state (HTTP) instead of on 127.0.0.1:9180 or the file's admin address: ip:port.
    #[arg(long, value_name = "ADDR")]
    pub admin: Option<String>,
}

/// `larder top`
#[derive(Clone, Debug, Args)]
pub struct Top {
    /// The admin address of the Larder to look at: host:port.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9180")]
    pub admin: String,

    /// Read the token of its admin address (admin.token) from this file.
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}

impl Top {
    /// The token to show, if one is named.
    ///
    /// # Errors
    /// The file cannot be read or holds something else.
    pub fn token(&self) -> Result<Option<Secret>, Errors> {
        self.token_file.as_deref().map(|file| Secret::from_file("--token-file", file, "token")).transpose()
    }
}

/// What Larder can do besides serving.
#[derive(Clone, Debug, Subcommand)]
pub enum Action {
    /// Ask a running Larder how it is, and tell by the exit code: 0 if it is well, 1 if not.
    Health(Health),
    /// Show a running Larder in this terminal: traffic, latency, rungs, hot keys, events. q ends it.
    Top(Top),
}

const UPSTREAM: &str = "Serve this upstream with defaults, without a file: redis://[user:pass@]host:port[/db], rediss:// for \
    TLS, memory://";
const UPSTREAM_MORE: &str = "A password on the command line can be seen by other users of the machine: prefer password_file in a \
    configuration file.";

const EXAMPLES: &str = "Examples:
  larder                                        try it: data in memory, port 6380
  larder --upstream redis://127.0.0.1:6379      in front of a Redis server
  larder --config larder.yaml --check           is this file right?
  larder --config larder.yaml                   run it
  larder health live                            does the one that runs here answer?
  larder top                                    look at one that runs";

/// A configuration and where it came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// Checked, with the flags applied, and all of it served by this version.
    pub config: Config,
    /// Where it came from.
    pub source: Source,
}

/// Where a configuration came from. Its `Display` is for the banner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Neither a file nor a URL was given.
    Embedded,
    /// `--upstream`. The URL is not kept, because it may hold a password.
    Url,
    /// `--config`.
    File(PathBuf),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Embedded => f.write_str("embedded default"),
            Source::Url => f.write_str("--upstream"),
            Source::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Reads the configuration that the command line asks for, applies `--listen` and `--admin`, and checks the whole.
///
/// # Errors
/// Every fault at once, also what this version does not serve yet.
pub fn load(cli: &Cli) -> Result<Loaded, Errors> {
    let (mut draft, source) = match (&cli.config, &cli.upstream) {
        (Some(_), Some(_)) => {
            // clap refuses this pair; a caller that fills the struct itself meets the same rule.
            return Err(Errors::single(
                "--upstream",
                "it cannot be used together with --config",
                "give one of the two",
            ));
        }
        (Some(path), None) => (Draft::read_file(path)?, Source::File(path.clone())),
        (None, Some(url)) => (Draft::for_upstream(url)?, Source::Url),
        (None, None) => (Draft::embedded(), Source::Embedded),
    };
    draft.listen(&cli.listen);
    if let Some(admin) = &cli.admin {
        draft.admin(admin);
    }
    let draft =
        draft.with_tls_files(|tls| net::server_tls(tls).map(drop), |tls| ClientTls::load(tls).map(drop)).with_commands(
            || Table::builtin().iter().map(|spec| (spec.name.to_string(), spec.cacheable.is_some())).collect(),
        );
    let config = draft.finish()?;
    Ok(Loaded { config, source })
}

/// `--check`: says on stdout that all is well, or on stderr all that is not.
pub fn check(cli: &Cli) -> ExitCode {
    match load(cli) {
        Ok(loaded) => {
            // A closed stdout is the reader's choice; the exit code still tells.
            let _ = writeln!(std::io::stdout(), "{}", verdict(&loaded));
            ExitCode::SUCCESS
        }
        Err(errors) => refuse(&errors),
    }
}

/// Prints every error to stderr; the exit code for `main`.
pub fn refuse(errors: &Errors) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "{errors}");
    ExitCode::from(BAD_CONFIG)
}

/// The same for one that is no key of a configuration.
pub fn refuse_word(wrong: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "larder: {wrong}");
    ExitCode::from(BAD_CONFIG)
}

/// `FILE: OK` and one line that shows what was understood.
fn verdict(loaded: &Loaded) -> String {
    let config = &loaded.config;
    let listeners: Vec<_> = config.listeners.iter().map(|listener| listener.address.to_string()).collect();
    let upstreams: Vec<_> = config
        .upstreams
        .iter()
        .map(|(name, upstream)| match upstream.kind {
            Kind::Memory => format!("{name} (memory)"),
            kind => {
                let endpoints: Vec<_> = upstream.endpoints.iter().map(ToString::to_string).collect();
                format!("{name} ({} at {})", kind.name(), endpoints.join(", "))
            }
        })
        .collect();
    let plural = if config.routes.len() == 1 { "" } else { "s" };
    format!(
        "{}: OK\nlistens on {}; upstream {}; {} route{plural}; admin {}",
        loaded.source,
        listeners.join(", "),
        upstreams.join(", "),
        config.routes.len(),
        config.admin.address
    )
}

#[cfg(test)]
mod tests;
