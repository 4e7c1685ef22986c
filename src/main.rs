//! The `larder` program: reads the command line and runs.

use std::process::ExitCode;

use clap::Parser;
use larder::cli::{self, Action, Cli};
use larder::health;
use larder::logs::Logs;

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Some(Action::Health(question)) = &cli.action {
        return health::run(question);
    }
    if cli.check {
        return cli::check(&cli);
    }
    let loaded = match cli::load(&cli) {
        Ok(loaded) => loaded,
        Err(errors) => return cli::refuse(&errors),
    };
    match Logs::start(&loaded.config.log) {
        Ok(logs) => larder::process::run(cli, loaded, logs),
        Err(wrong) => cli::refuse_word(&wrong),
    }
}
