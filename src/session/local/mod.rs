//! The commands that Larder answers itself, in the words of Redis 7.0 wherever Redis has an answer.
//!
//! They concern the client's own connection, which no upstream sees (many clients share one there), or Larder. Each
//! takes effect at its place in the pipeline.
//!
//! * `connection`: PING, ECHO, QUIT, SELECT, RESET.
//! * `hello` and `auth`: who the client is and how it is spoken to.
//! * `client`: CLIENT and its subcommands.
//! * `cluster`: CLUSTER and its subcommands, READONLY, READWRITE, ASKING.
//! * `config`: CONFIG GET.
//! * `info`: the answer to INFO.
//! * `larder`: LARDER and its subcommands.
//! * [`pubsub`]: SUBSCRIBE, UNSUBSCRIBE and their kin.
//!
//! COMMAND is answered by the command table itself.

mod auth;
mod client;
mod cluster;
mod config;
mod connection;
mod hello;
mod info;
mod larder;
pub mod pubsub;

use std::rc::Rc;

use super::{Session, State};
use crate::app::App;
use crate::command::{CommandError, Local, Spec, Table, docs};
use crate::resp::{Command, Proto, encode, number};
use crate::serve::Flow;

const SYNTAX_ERROR: &str = "ERR syntax error";
const NOT_AN_INTEGER: &str = "ERR value is not an integer or out of range";
/// What is said to be the version while no upstream has told its own, and of the memory upstream.
const VERSION: &str = "7.0.0";

/// A command to be answered here.
struct Request<'a> {
    session: &'a Rc<Session>,
    state: &'a mut State,
    spec: &'a Spec,
    command: &'a Command<'a>,
    table: &'a Table,
}

/// Answers a command: writes its reply, or takes a place for it.
pub fn answer(
    which: Local,
    session: &Rc<Session>,
    state: &mut State,
    spec: &Spec,
    command: &Command<'_>,
    table: &Table,
) -> Flow {
    let mut request = Request { session, state, spec, command, table };
    match which {
        Local::Auth => auth::auth(&mut request),
        Local::Client => client::client(&mut request),
        Local::Cluster => cluster::cluster(&mut request),
        Local::Command => {
            let proto = request.proto();
            docs::reply(table, command, proto, request.out());
        }
        Local::ConfigGet => config::get(&mut request),
        Local::Echo => connection::echo(&mut request),
        Local::Hello => hello::hello(&mut request),
        Local::Info => info::info(&mut request),
        Local::Larder => larder::larder(&mut request),
        Local::Ping => connection::ping(&mut request),
        Local::Quit => connection::quit(&mut request),
        Local::Reset => connection::reset(&mut request),
        Local::Select => connection::select(&mut request),
        Local::Subscribe => return pubsub::subscribe(&mut request),
        Local::Unsubscribe => pubsub::unsubscribe(&mut request),
    }
    Flow::Next
}

impl Request<'_> {
    /// Where the reply goes.
    fn out(&mut self) -> &mut Vec<u8> {
        self.state.replies.now()
    }

    fn proto(&self) -> Proto {
        self.state.proto
    }

    fn app(&self) -> &App {
        &self.session.worker.app
    }

    fn ok(&mut self) {
        encode::ok(self.out());
    }

    fn error(&mut self, text: &str) {
        self.session.worker.counters.errors.add(1);
        encode::error(self.out(), text);
    }

    /// The number of arguments is one that the row admits and the command does not.
    fn wrong_arity(&mut self) {
        let text = CommandError::arity(self.spec).to_string();
        self.error(&text);
    }

    /// The same, in the words that Redis has for some subcommands.
    fn wrong_subcommand(&mut self) {
        let (container, _) = self.spec.name.split_once('|').unwrap_or((&self.spec.name, ""));
        let (container, name) = (container.to_ascii_uppercase(), self.text(1));
        self.error(&format!("ERR unknown subcommand or wrong number of arguments for '{name}'. Try {container} HELP."));
    }

    /// Argument `at` as text for a reply or a comparison; not every byte string is text.
    fn text(&self, at: usize) -> String {
        String::from_utf8_lossy(self.command.opt(at).unwrap_or_default()).into_owned()
    }

    /// Argument `at` as an integer in Redis's strict sense.
    fn integer(&self, at: usize) -> Option<i64> {
        self.command.opt(at).and_then(number::integer)
    }
}
