//! stub
use std::rc::Rc;
use crate::command::{Local, Spec, Table};
use crate::resp::{Command, encode};
use crate::serve::Flow;
use super::{Session, State};
pub fn answer(which: Local, _session: &Rc<Session>, state: &mut State, _spec: &Spec, _command: &Command<'_>, _table: &Table) -> Flow {
    match which {
        Local::Ping => encode::simple(state.replies.now(), "PONG"),
        Local::Hello => { state.change_identity(); state.proto = crate::resp::Proto::Resp3; encode::ok(state.replies.now()) }
        _ => encode::ok(state.replies.now()),
    }
    Flow::Next
}
