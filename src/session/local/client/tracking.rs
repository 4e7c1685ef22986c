//! CLIENT TRACKING, CACHING, GETREDIR and TRACKINGINFO, in the words of Redis 7.0.

use std::rc::Rc;

use super::super::{NOT_AN_INTEGER, Request, SYNTAX_ERROR};
use crate::app::{App, Backend};
use crate::origin::map::Primary;
use crate::resp::encode;
use crate::session::{Session, State};
use crate::tracking::broadcast::Listening;
use crate::tracking::mode::Wish;
use crate::tracking::{Mode, Tracking, Who};
use crate::upstream::tracked;

const NOT_TRACKING: &str = "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT \
     mode enabled";

/// `CLIENT TRACKING ON|OFF [REDIRECT id] [PREFIX prefix ...] [BCAST] [OPTIN] [OPTOUT] [NOLOOP]`
pub(super) fn tracking(request: &mut Request<'_>) {
    let wish = match wish(request) {
        Ok(wish) => wish,
        Err(error) => return request.error(&error),
    };
    if request.command.is(2, "off") {
        let session = Rc::clone(request.session);
        session.stop_tracking(request.state);
        return request.ok();
    }
    if !request.command.is(2, "on") {
        return request.error(SYNTAX_ERROR);
    }
    if let Err(error) = wish.check(request.state.tracking.as_deref()) {
        return request.error(&error);
    }
    if let Some(why) = impossible(request.app(), &wish) {
        return request.error(&why);
    }
    match wish.broadcast {
        true => listen(request, wish),
        false => {
            begin(request.session, request.state, &wish, None);
            request.ok();
        }
    }
}

fn wish(request: &Request<'_>) -> Result<Wish, String> {
    let command = request.command;
    let mut wish = Wish::default();
    let mut at = 3;
    while at < command.len() {
        match (command.opt(at + 1), ()) {
            (Some(_), ()) if command.is(at, "redirect") => {
                at += 1;
                if wish.redirect != 0 {
                    return Err("ERR A client can only redirect to a single other client".to_owned());
                }
                let id = request.integer(at).ok_or(NOT_AN_INTEGER)?;
                wish.redirect = u64::try_from(id)
                    .ok()
                    .filter(|id| request.app().clients.find(*id).is_some())
                    .ok_or("ERR The client ID you want redirect to does not exist")?;
            }
            (Some(prefix), ()) if command.is(at, "prefix") => {
                at += 1;
                wish.prefixes.push(prefix.to_vec());
            }
            _ if command.is(at, "bcast") => wish.broadcast = true,
            _ if command.is(at, "optin") => wish.opt_in = true,
            _ if command.is(at, "optout") => wish.opt_out = true,
            _ if command.is(at, "noloop") => wish.noloop = true,
            _ => return Err(SYNTAX_ERROR.to_owned()),
        }
        at += 1;
    }
    Ok(wish)
}

/// Why no client can be told of changes here.
fn impossible(app: &App, wish: &Wish) -> Option<String> {
    let blind = |primary: &Primary| primary.node.mode() == Some(tracked::Mode::Ttl);
    let tells = |backend: &Backend| match backend {
        Backend::Servers(origin) => origin.is_redis() && !origin.map().primaries().iter().any(blind),
        Backend::Memory(_) => false,
    };
    // What one that tells nothing has, a client is told not to keep when it reads it. Behind a prefix it reads nothing.
    let mute = match wish.broadcast {
        true => app.upstreams.iter().position(|backend| !tells(backend)),
        false => Some(usize::from(app.home)).filter(|home| !tells(&app.upstreams[*home])),
    };
    mute.map(|number| {
        let (name, kind) = (app.upstream_name(number as u16), app.upstreams[number].kind());
        format!(
            "ERR CLIENT TRACKING needs an upstream that pushes invalidations, which '{name}' of kind {kind} does not do"
        )
    })
}

fn begin(session: &Session, state: &mut State, wish: &Wish, listening: Option<Vec<Listening>>) {
    let who = Who { worker: session.worker.number, session: session.id };
    let before = state.tracking.take();
    let (after, caching) = before.map(|before| (before.after, before.caching)).unwrap_or_default();
    let broadcast = listening.is_some();
    let mode = match listening {
        Some(listening) => Mode::Broadcast(listening),
        None if wish.opt_in => Mode::OptIn,
        None if wish.opt_out => Mode::OptOut,
        None => Mode::Default,
    };
    state.tracking = Some(Box::new(Tracking { mode, noloop: wish.noloop, redirect: wish.redirect, caching, after }));
    session.worker.app.register.enter(who, wish.redirect, broadcast);
}

/// BCAST: OK when changes are being heard of; until then the commands behind it wait.
fn listen(request: &mut Request<'_>, mut wish: Wish) {
    let app = &request.session.worker.app;
    let who = Who { worker: request.session.worker.number, session: request.session.id };
    let listens = request.state.tracking.as_deref().is_some_and(|tracking| tracking.prefixes().next().is_some());
    if wish.prefixes.is_empty() && !listens {
        wish.prefixes.push(Vec::new());
    }
    let mut listening = Vec::new();
    for prefix in &wish.prefixes {
        match app.broadcasts.listen(app, who, prefix) {
            Ok(one) => listening.push(one),
            Err(error) => return request.error(&error),
        }
    }
    if let Some(Tracking { mode: Mode::Broadcast(before), .. }) = request.state.tracking.as_deref_mut() {
        listening.append(before);
    }
    // From now on, so that nothing is missed that is heard before the reply.
    begin(request.session, request.state, &wish, Some(Vec::new()));
    request.state.busy = true;
    let seq = request.state.replies.await_one(request.state.proto);
    let session = Rc::clone(request.session);
    tokio::task::spawn_local(async move {
        let limit =
            session.worker.app.home_origin().map_or_else(Default::default, |origin| origin.model.connect_timeout * 2);
        let mut heard = true;
        for one in &listening {
            heard &= one.wait(limit).await;
        }
        {
            let mut state = session.state.borrow_mut();
            state.busy = false;
            match state.tracking.as_deref_mut() {
                Some(tracking) if heard => tracking.mode = Mode::Broadcast(listening),
                _ => session.stop_tracking(&mut state),
            }
        }
        session.deliver(seq, 1, |out, _| match heard {
            true => encode::ok(out),
            false => encode::error(out, "ERR the upstream cannot be heard now: CLIENT TRACKING is off"),
        });
    });
}

/// `CLIENT CACHING YES|NO`
pub(super) fn caching(request: &mut Request<'_>) {
    let command = request.command;
    let (yes, no) = (command.is(2, "yes"), command.is(2, "no"));
    let Some(tracking) = request.state.tracking.as_deref_mut() else {
        return request.error(NOT_TRACKING);
    };
    let error = match tracking.mode {
        Mode::OptIn if yes => None,
        Mode::OptOut if no => None,
        _ if yes => Some("ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode."),
        _ if no => Some("ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode."),
        _ => Some(SYNTAX_ERROR),
    };
    if let Some(error) = error {
        return request.error(error);
    }
    tracking.caching = true;
    request.ok();
}

/// `CLIENT GETREDIR`
pub(super) fn redirection(request: &mut Request<'_>) {
    let id = match &request.state.tracking {
        None => -1,
        Some(tracking) => i64::try_from(tracking.redirect).unwrap_or(i64::MAX),
    };
    encode::integer(request.out(), id);
}

/// `CLIENT TRACKINGINFO`
pub(super) fn info(request: &mut Request<'_>) {
    let proto = request.proto();
    let (mut flags, mut redirect, mut prefixes) = (Vec::new(), -1, Vec::new());
    match request.state.tracking.as_deref() {
        None => flags.push("off"),
        Some(tracking) => {
            flags.push("on");
            match tracking.mode {
                Mode::Default => {}
                Mode::Broadcast(_) => flags.push("bcast"),
                Mode::OptIn => flags.extend(["optin"].into_iter().chain(tracking.caching.then_some("caching-yes"))),
                Mode::OptOut => flags.extend(["optout"].into_iter().chain(tracking.caching.then_some("caching-no"))),
            }
            flags.extend(tracking.noloop.then_some("noloop"));
            flags.extend(request.app().register.is_broken(request.session.id).then_some("broken_redirect"));
            redirect = i64::try_from(tracking.redirect).unwrap_or(i64::MAX);
            prefixes = tracking.prefixes().map(<[u8]>::to_vec).collect();
            prefixes.sort();
        }
    }
    let out = request.out();
    encode::map(out, proto, 3);
    encode::bulk(out, b"flags");
    encode::set(out, proto, flags.len());
    flags.iter().for_each(|flag| encode::bulk(out, flag.as_bytes()));
    encode::bulk(out, b"redirect");
    encode::integer(out, redirect);
    encode::bulk(out, b"prefixes");
    encode::array(out, prefixes.len());
    prefixes.iter().for_each(|prefix| encode::bulk(out, prefix));
}
