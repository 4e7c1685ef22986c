//! The `larder` program: reads the command line and runs.

use std::process::ExitCode;

use clap::Parser;
use larder::cli::{self, Action, Cli};
use larder::logs::Logs;
use larder::{health, top};

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match &cli.action {
        Some(Action::Health(question)) => return health::run(question),
        Some(Action::Top(asked)) => {
            return match asked.token() {
                Ok(token) => top::run(top::client::Client { admin: asked.admin.clone(), token }),
                Err(errors) => cli::refuse(&errors),
            };
        }
        None => {}
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
