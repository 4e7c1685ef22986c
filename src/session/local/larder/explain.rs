//! LARDER EXPLAIN: how a command would be served for this client, now, and why; as lines of `name: value`.

mod route;

use super::super::Request;
use super::super::client::user;
use crate::app::Backend;
use crate::cache::{Entry, Freshness};
use crate::clock::Micros;
use crate::command::{Access, Coverage, Effect, Quoted, Reach, Spec, Table, Way, cacheable, effect, for_each_key, way};
use crate::ladder::Rung;
use crate::origin::{Node, Origin};
use crate::report::upstreams::coherence;
use crate::resp::{Command, encode};
use crate::route::{Destination, Policy};
use crate::serve::{self, gate};
use crate::session::State;
use crate::upstream::{memcached, tracked::Mode};

/// Keys that are looked into; of a command with more, the rest is counted.
const SHOWN: usize = 32;
/// Bytes of a key or argument that are shown.
const WIDTH: usize = 64;

/// `LARDER EXPLAIN command [arg ...]`
pub(super) fn explain(request: &mut Request<'_>) {
    let Some(quoted) = Quoted::new(request.command.args(2)) else {
        return request.wrong_arity();
    };
    let command = quoted.command();
    let spec = match request.table.resolve(&command) {
        Ok(spec) => spec,
        // What the command itself would get: the upstream's judgement, where there is one to ask.
        Err(error) => match request.table.stranger(&command) {
            Some(stranger) if request.app().broker().is_some() => stranger,
            _ => return request.error(&error.to_string()),
        },
    };
    let mut lines = Vec::new();
    about_row(spec, &command, &mut lines);
    if let Some(error) = gate::refusal(&request.session.worker, spec) {
        lines.push(format!("served: no: {error}"));
    }
    let mut keys = Vec::new();
    let coverage = for_each_key(spec, &command, |at, access| keys.push((at, access)));
    about_keys(&command, &keys, coverage, &mut lines);
    about_destination(spec, &command, &keys, request, &mut lines);
    let out = request.out();
    encode::array(out, lines.len());
    lines.iter().for_each(|line| encode::bulk(out, line.as_bytes()));
}

// === the row ===

fn about_row(spec: &Spec, command: &Command<'_>, lines: &mut Vec<String>) {
    let words = |list: Vec<&str>| {
        if list.is_empty() { "none".to_owned() } else { list.join(" ") }
    };
    lines.push(match spec.is_stranger() {
        true => format!("command: {}, not known to Larder", shown(command.name())),
        false => format!("command: {}", spec.name.replace('|', " ")),
    });
    lines.push(format!("flags: {}", words(spec.flags.words().collect())));
    lines.push(format!("categories: {}", words(spec.categories.iter().map(|name| &**name).collect())));
    lines.push(format!("effect: {}", in_words(effect(spec, command))));
    lines.push(format!("way: {}", way_in_words(way(spec, command))));
}

fn in_words(effect: Effect) -> &'static str {
    match effect {
        Effect::Read => "reads its keys, changes none",
        Effect::Write(Reach::Named) => "may change the keys that it names",
        Effect::Write(Reach::Beyond) => "may change keys that it does not name",
        Effect::Inert => "neither reads nor changes a key",
        Effect::Everything => "may change every key",
    }
}

fn way_in_words(way: Way) -> &'static str {
    match way {
        Way::Forward => "to the upstream, on a connection that clients share",
        Way::Local(_) => "answered by Larder itself",
        Way::Leased(_) => "to the upstream, on a connection that this client has to itself for a while",
        Way::Refused => "refused: it would change a connection that clients share",
    }
}

fn about_keys(command: &Command<'_>, keys: &[(usize, Access)], coverage: Coverage, lines: &mut Vec<String>) {
    let name = |(at, access): &(usize, Access)| {
        let access = if *access == Access::Read { "read" } else { "write" };
        format!("{} ({access})", shown(command.opt(*at).unwrap_or_default()))
    };
    let mut list = keys.iter().take(SHOWN).map(name).collect::<Vec<_>>().join(", ");
    if keys.len() > SHOWN {
        list += &format!(", and {} more", keys.len() - SHOWN);
    }
    if keys.is_empty() {
        list += "none";
    }
    if coverage == Coverage::Partial {
        list += "; there may be others";
    }
    lines.push(format!("keys: {list}"));
}

// === the upstream ===

fn about_destination(
    spec: &Spec,
    command: &Command<'_>,
    keys: &[(usize, Access)],
    request: &Request<'_>,
    lines: &mut Vec<String>,
) {
    let (app, rules) = (request.app(), request.app().rules());
    let number = match rules.routes.destination(spec, command) {
        Destination::Home => app.home,
        Destination::One(number) => number,
        Destination::Nowhere(at) => {
            let key = shown(command.opt(at).unwrap_or_default());
            return lines.push(format!("served: no: no route leads from the key {key} to an upstream"));
        }
        Destination::Several(first, other) => {
            let names = format!("{} and {}", app.upstream_name(first), app.upstream_name(other));
            lines.push(match spec.split_step() {
                Some(_) => format!("upstream: split over several, {names} among them; past the near-cache"),
                None => format!("served: no: its keys belong to the upstreams {names}, and it cannot be split"),
            });
            for (at, _) in keys.iter().take(SHOWN) {
                let key = command.opt(*at).unwrap_or_default();
                lines.push(format!("route of {}: {}", shown(key), route::about(app, key)));
            }
            return;
        }
    };
    if keys.is_empty() && way(spec, command) == Way::Forward && app.several && spec.is_for_all() {
        return lines.push(format!("upstream: told to all that serve it: {}", route::all_that_serve(app, spec)));
    }
    match app.backend(number) {
        Backend::Memory(_) => about_memory(number, (spec, command), keys, request, lines),
        Backend::Servers(origin) => about_origin(origin, spec, command, keys, request, lines),
    }
}

// === the memory upstream ===

fn about_memory(
    number: u16,
    (spec, command): (&Spec, &Command<'_>),
    keys: &[(usize, Access)],
    request: &Request<'_>,
    lines: &mut Vec<String>,
) {
    let (app, chosen) = (request.app(), request.state.database);
    let (name, database) = (app.upstream_name(number), app.database(number, chosen));
    lines.push(format!("upstream: memory, in this process, named {name}, database {database}"));
    for key in keys.iter().take(SHOWN).filter_map(|(at, _)| command.opt(*at)) {
        lines.push(format!("route of {}: {}", shown(key), route::choice(request.app(), key)));
    }
    let served = crate::memory::Memory::serves(&spec.name) || super::super::pubsub::is_of_hub(&spec.name);
    if way(spec, command) == Way::Forward && !served {
        lines.push("served: no: the memory upstream knows commands on strings and keys only".to_owned());
    }
    lines.push("cacheable: no: the memory upstream answers at once and needs no cache before it".to_owned());
}

// === a Redis upstream ===

fn about_origin(
    origin: &Origin,
    spec: &Spec,
    command: &Command<'_>,
    keys: &[(usize, Access)],
    request: &Request<'_>,
    lines: &mut Vec<String>,
) {
    let (state, app, now) = (&*request.state, request.app(), Micros::now());
    let map = origin.map();
    let Some(node) = serve::addressee(&map, spec, command) else {
        return lines.push(format!("upstream: {}: {}", origin.name, origin.nobody()));
    };
    lines.push(format!(
        "upstream: {} at {}, database {}, as {}",
        origin.name,
        node.endpoint.address,
        state.database,
        user(app, &request.session.client),
    ));
    if spec.is_for_all() && map.is_split() {
        lines.push("told to: every server, and their replies are joined".to_owned());
    }
    if !origin.is_redis() && matches!(way(spec, command), Way::Forward | Way::Leased(_)) {
        let served = memcached::serves(&spec.name) || super::super::pubsub::is_of_hub(&spec.name);
        if !served {
            let kind = origin.kind.name();
            lines.push(format!("served: no: the {kind} upstream knows commands on strings and keys only"));
        }
    }
    lines.push(about_coverage(node, now));
    let rules = app.rules();
    let policies: Vec<&Policy> =
        keys.iter().map(|(at, _)| rules.routes.find(command.opt(*at).unwrap_or_default())).collect();
    for (policy, (at, _)) in policies.iter().zip(keys).take(SHOWN) {
        let key = command.opt(*at).unwrap_or_default();
        lines.push(format!("route of {}: {}", shown(key), route::about(app, key)));
        let ladder = rules.ladders.get(policy.ladder);
        let standing = origin.standing(origin.answering(&map, key), ladder, now);
        let why = match standing.rung {
            Rung::Normal => String::new(),
            _ => format!(" since {}: {}", seconds(now.since(standing.since)), origin.reason(node, now)),
        };
        lines.push(format!("ladder of {}: {}, rung {}{why}", shown(key), ladder.name, standing.rung.name()));
    }
    let verdict = obstacle(spec, command)
        .or_else(|| obstacle_of_client(state))
        .or_else(|| policies.iter().find_map(|policy| obstacle_of_route(policy, spec)))
        .or_else(|| {
            (!node.coverage.holds(now)).then(|| "nothing would tell of changes now: the coverage is lost".to_owned())
        });
    lines.push(match verdict {
        Some(why) => format!("cacheable: no: {why}"),
        None => "cacheable: yes".to_owned(),
    });
    for (at, _) in keys.iter().take(SHOWN) {
        let key = command.opt(*at).unwrap_or_default();
        let coverage = &map.owner(key).unwrap_or(node).coverage;
        let forms = app.near.inspect(origin.number, key, coverage, now);
        if forms.is_empty() {
            lines.push(format!("entry of {}: none", shown(key)));
        }
        for (form, worth) in &forms {
            lines.push(format!("entry of {}: {}", shown(key), about_form(form, *worth, request.table, now)));
        }
    }
}

fn about_coverage(node: &Node, now: Micros) -> String {
    let mode = coherence(node.mode());
    if !node.coverage.holds(now) {
        return format!("coverage: none ({mode}): nothing is served from the near-cache");
    }
    match node.coverage.until() {
        until if node.mode() == Some(Mode::Ttl) && until != Micros::NEVER => {
            let left = seconds(until.since(now));
            format!("coverage: {mode}, an invalidation channel tells of changes, proven for another {left}")
        }
        Micros::NEVER => format!("coverage: {mode}: nobody tells of changes, near_cache.untracked_ttl bounds them"),
        until => format!("coverage: {mode}, proven for another {}", seconds(until.since(now))),
    }
}

/// Why the command's reply is never cached, for anyone.
fn obstacle(spec: &Spec, command: &Command<'_>) -> Option<String> {
    if cacheable(spec, command).is_some() && way(spec, command) == Way::Forward {
        return None;
    }
    let unsteady = spec.tips.iter().any(|tip| &**tip == "nondeterministic_output");
    let why = if way(spec, command) != Way::Forward {
        "it does not go to the upstream"
    } else if effect(spec, command) != Effect::Read {
        "it is not provably a read"
    } else if unsteady {
        "its reply changes although its keys do not"
    } else if spec.cacheable.is_some() {
        "it has an option that the table does not know"
    } else if spec.keys.is_empty() {
        "it names no key whose changes could be followed"
    } else {
        "replies of this command are not kept"
    };
    Some(why.to_owned())
}

/// Why this client is answered past the cache.
fn obstacle_of_client(state: &State) -> Option<String> {
    if state.credentials.is_some() {
        return Some(
            "this client has logged in with credentials of its own, which may allow less than the cache holds"
                .to_owned(),
        );
    }
    if state.opaque_owed > 0 || state.drain_first {
        return Some("this client awaits replies that may change what it reads".to_owned());
    }
    None
}

fn obstacle_of_route(policy: &Policy, spec: &Spec) -> Option<String> {
    if !policy.cached {
        return Some(format!("cache.enabled is false for the route {}", policy.pattern));
    }
    let named = policy.commands.as_ref().is_none_or(|names| names.iter().any(|name| **name == *spec.name));
    (!named).then(|| format!("cache.commands of the route {} does not name it", policy.pattern))
}

fn about_form(form: &Entry, worth: Freshness, table: &Table, now: Micros) -> String {
    let facts = form.facts();
    let name = command_name(table, facts.command);
    let arguments: String = arguments(form.args()).map(|argument| format!(" {}", shown(argument))).collect();
    let worth = match worth {
        Freshness::Fresh => "fresh",
        Freshness::Suspect => "suspect (its coverage ended)",
        Freshness::Expired => "expired",
        Freshness::Gone => "void (a flush passed)",
    };
    format!(
        "{name}{arguments} in database {}: {worth}, age {}, {} left, {} bytes{}",
        facts.database,
        seconds(now.since(facts.read_at)),
        seconds(facts.expires_at.since(now)),
        form.reply().len(),
        if facts.negative() { ", not there" } else { "" },
    )
}

/// The name of the row with this number.
fn command_name(table: &Table, number: u16) -> &str {
    let subcommands = table.iter().flat_map(|spec| spec.subcommands.iter());
    table.iter().chain(subcommands).find(|spec| spec.number == number).map_or("?", |spec| &spec.name)
}

/// The arguments in wire bytes of whole bulk strings, as the cache keeps them.
fn arguments(wire: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = wire;
    std::iter::from_fn(move || {
        let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
        let length: usize = std::str::from_utf8(rest.get(1..end)?).ok()?.parse().ok()?;
        let argument = rest.get(end + 2..(end + 2).checked_add(length)?)?;
        rest = rest.get(end + 2 + length + 2..)?;
        Some(argument)
    })
}

fn seconds(span: Micros) -> String {
    format!("{:.3}s", span.duration().as_secs_f64())
}

/// A key or an argument for people: its beginning, with what does not print escaped.
fn shown(bytes: &[u8]) -> String {
    let dots = if bytes.len() > WIDTH { "..." } else { "" };
    format!("{}{dots}", bytes[..bytes.len().min(WIDTH)].escape_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(words: &[&str]) -> Option<String> {
        let table = Table::builtin();
        let quoted = Quoted::new(words.iter().map(|word| word.as_bytes())).unwrap();
        obstacle(table.resolve(&quoted.command()).unwrap(), &quoted.command())
    }

    #[test]
    fn what_is_not_cached_has_a_reason() {
        assert_eq!(why(&["GET", "k"]), None);
        assert_eq!(why(&["MGET", "a", "b"]), None);
        for (words, part) in [
            (&["SET", "k", "v"][..], "not provably a read"),
            (&["EVAL", "return 1", "0"], "not provably a read"),
            (&["TTL", "k"], "changes although"),
            (&["CLIENT", "ID"], "does not go to the upstream"),
            (&["DBSIZE"], "no key"),
            (&["SUBSCRIBE", "c"], "does not go to the upstream"),
        ] {
            assert!(why(words).is_some_and(|why| why.contains(part)), "{words:?}: {:?}", why(words));
        }
    }

    #[test]
    fn arguments_are_read_back_from_their_wire_bytes() {
        let words: Vec<&[u8]> = arguments(b"$1\r\na\r\n$4\r\n\r\nb\r\r\n$0\r\n\r\n").collect();
        assert_eq!(words, [&b"a"[..], b"\r\nb\r", b""]);
        assert_eq!(arguments(b"").count(), 0);
        assert_eq!(arguments(b"$9\r\nshort\r\n").count(), 0);
    }

    #[test]
    fn rows_are_named_by_their_number() {
        let table = Table::builtin();
        assert_eq!(command_name(&table, table.find(b"hgetall").unwrap().number), "hgetall");
    }
}
