mod files;

use super::format::{Header, Record, Refused, Writer};
use super::load::{Loaded, read};
use super::*;
use std::collections::HashSet;

use crate::cache::entry::Parts;
use crate::cache::{Coverage, Freshness, Stamp};
use crate::command::{Nulls, Shape};
use crate::config;

const SHAPE: Shape = Shape { nulls: Nulls::Bulk, pairs: false };
const UPSTREAM_URL: &str = "redis://app:secret@127.0.0.1:1";
/// The wall clock when the snapshots of these tests are written.
const WRITTEN: u64 = 1_700_000_000_000;
const SECOND: Micros = Micros(1_000_000);

fn config() -> Config {
    let mut config = Config::for_upstream(UPSTREAM_URL).unwrap();
    config.near_cache.max_memory = 8 << 20;
    config.near_cache.max_entry = 64 << 10;
    config
}

/// A Larder that nobody has started: its node is not connected.
fn app(config: Config) -> App {
    crate::process::assemble(config, "test".to_owned()).unwrap()
}

fn number(app: &App, command: &str) -> u16 {
    app.table.load().find(command.as_bytes()).unwrap().number
}

fn coverage(app: &App, look: impl FnOnce(&Coverage)) {
    look(&app.home_origin().unwrap().map().any().unwrap().coverage);
}

fn stamp(app: &App) -> Stamp {
    app.home_origin().unwrap().map().any().unwrap().coverage.stamp()
}

/// A reply of GET that was read a second ago and has a minute to live.
fn parts<'a>(app: &App, key: &'a [u8], reply: &'a [u8], now: Micros) -> Parts<'a> {
    Parts {
        hash: app.near.hash(0, key),
        upstream: 0,
        database: 0,
        command: number(app, "get"),
        key,
        args: b"",
        reply,
        shape: SHAPE,
        same_in_both: true,
        negative: false,
        stamp: stamp(app),
        read_at: Micros(now.0 - SECOND.0),
        expires_at: now.plus(Micros(60 * SECOND.0)),
        ends_at: Micros::NEVER,
    }
}

fn written(app: &App, now: Micros) -> Vec<u8> {
    let header = Header { written_at: WRITTEN, owner: "owner".to_owned() };
    save::write(Vec::new(), app, &Terms::of(app.rules()), &header, now).unwrap().0
}

fn reread(file: &[u8], app: &App, now: Micros, unix_ms: u64) -> Result<Loaded, Refused> {
    read(file, file.len() as u64, app, &Terms::of(app.rules()), "owner", now, unix_ms)
}

/// The replies of a key as a client's lookup would judge them.
fn found(app: &App, key: &[u8], now: Micros) -> Vec<(crate::cache::Entry, Freshness)> {
    let map = app.home_origin().unwrap().map();
    app.near.inspect(0, key, &map.any().unwrap().coverage, now)
}

/// From one Larder to the next, which starts `passed` milliseconds after the writing.
fn handed_on(before: &App, passed: u64, config: Config) -> (App, Micros, Loaded) {
    let now = Micros::now();
    let file = written(before, now);
    let after = app(config);
    let then = now.plus(Micros(passed * 1000));
    let loaded = reread(&file, &after, then, WRITTEN + passed).unwrap();
    (after, then, loaded)
}

#[test]
fn a_reply_comes_back_as_it_was_and_older_by_the_time_that_passed() {
    let before = app(config());
    coverage(&before, |coverage| coverage.begin(Micros::NEVER));
    let now = Micros::now();
    let of = Parts {
        database: 3,
        command: number(&before, "zrange"),
        args: b"$1\r\n0\r\n$2\r\n-1\r\n",
        shape: Shape { nulls: Nulls::Array, pairs: true },
        same_in_both: false,
        negative: true,
        ends_at: now.plus(Micros(3600 * SECOND.0)),
        ..parts(&before, b"k\x00\xff", b"*0\r\n", now)
    };
    assert!(before.near.restore(&of));
    let (after, then, loaded) = handed_on(&before, 20_000, config());
    assert_eq!(loaded, Loaded { kept: 1, left_out: 0, written_at: WRITTEN, passed: 20_000 });
    let replies = found(&after, b"k\x00\xff", then);
    let [(entry, Freshness::Suspect)] = &replies[..] else { panic!("{replies:?}") };
    let facts = entry.facts();
    assert_eq!((facts.database, facts.command, entry.args(), entry.reply()), (3, of.command, of.args, of.reply));
    assert_eq!((facts.shape(), facts.same_in_both(), facts.negative()), (of.shape, false, true));
    // A few milliseconds are lost to rounding and to the time that the test takes, all of them to the safe side.
    let near = |told: Micros, exact: u64, what: &str| {
        let slack = 10 * SECOND.0;
        assert!(told.0 <= exact && told.0 + slack > exact, "{what}: {} is not just below {exact}", told.0);
    };
    near(facts.read_at, then.0 - 21 * SECOND.0, "its age");
    near(facts.expires_at, then.0 + 40 * SECOND.0, "its life");
    near(facts.ends_at(), then.0 + 3580 * SECOND.0, "its key's life");
}

#[test]
fn several_replies_of_a_key_come_back_in_their_order() {
    let before = app(config());
    coverage(&before, |coverage| coverage.begin(Micros(u64::MAX - 1)));
    let now = Micros::now();
    for (database, reply) in [(0, b"+0\r\n"), (1, b"+1\r\n"), (2, b"+2\r\n")] {
        before.near.restore(&Parts { database, ..parts(&before, b"k", reply, now) });
    }
    let (after, then, _) = handed_on(&before, 0, config());
    let databases: Vec<u16> = found(&after, b"k", then).iter().map(|(form, _)| form.facts().database).collect();
    assert_eq!(databases, [2, 1, 0]);
    // They were true at one moment, and are still known to belong together.
    let stamps: Vec<Stamp> = found(&after, b"k", then).iter().map(|(form, _)| form.facts().stamp).collect();
    assert!(stamps.iter().all(|stamp| stamp.same_connection(stamps[0])), "{stamps:?}");
}

#[test]
fn what_is_loaded_is_never_fresh_and_a_flush_voids_it() {
    let before = app(config());
    let now = Micros::now();
    before.near.restore(&parts(&before, b"k", b"+v\r\n", now));
    let (after, then, _) = handed_on(&before, 1000, config());
    let worth = || found(&after, b"k", then).first().map(|(_, worth)| *worth);
    assert_eq!(worth(), Some(Freshness::Suspect));
    coverage(&after, |coverage| coverage.extend(then, Micros::NEVER));
    assert_eq!(worth(), Some(Freshness::Suspect), "a heartbeat proves nothing of it");
    for _ in 0..3 {
        coverage(&after, |coverage| coverage.begin(Micros::NEVER));
        assert_eq!(worth(), Some(Freshness::Suspect), "nor does any connection");
        coverage(&after, Coverage::lose);
    }
    coverage(&after, Coverage::flush);
    assert_eq!(worth(), Some(Freshness::Gone));
    // And what is void is in no later snapshot.
    assert_eq!(handed_on(&after, 0, config()).2.kept, 0);
}

#[test]
fn the_age_counts_from_the_last_proof_and_is_handed_on_from_process_to_process() {
    let first = app(config());
    let now = Micros::now();
    let proven = Micros(now.0 - 5 * SECOND.0);
    coverage(&first, |coverage| {
        coverage.begin(now);
        coverage.extend(proven, now);
    });
    let read_at = Micros(now.0 - 100 * SECOND.0);
    first.near.restore(&Parts { read_at, ..parts(&first, b"k", b"+v\r\n", now) });
    let (second, then, _) = handed_on(&first, 10_000, config());
    let age = |app: &App, then: Micros| then.since(found(app, b"k", then)[0].0.facts().read_at).0 / SECOND.0;
    assert!((15..17).contains(&age(&second, then)), "{}", age(&second, then));
    // The second was never connected; the third is told the whole age. (The clock of this process has hardly moved.)
    let (third, then, _) = handed_on(&second, 30_000, config());
    assert!((35..48).contains(&age(&third, then)), "{}", age(&third, then));
}

#[test]
fn an_expired_reply_comes_back_only_while_a_rung_could_serve_it() {
    let mut config = config();
    config.ladders.get_mut("default").unwrap()[1].max_stale = Some(std::time::Duration::from_secs(30));
    let kept = |life: i64, passed: u64| {
        let before = app(config.clone());
        let now = Micros::now();
        let expires_at = Micros(now.0.wrapping_add_signed(life * 1_000_000));
        before.near.restore(&Parts { expires_at, ..parts(&before, b"k", b"+v\r\n", now) });
        let (after, then, loaded) = handed_on(&before, passed, config.clone());
        let worth = found(&after, b"k", then).first().map(|(_, worth)| *worth);
        assert_eq!(loaded.kept, worth.iter().count() as u64);
        worth
    };
    assert_eq!(kept(60, 50_000), Some(Freshness::Suspect));
    assert_eq!(kept(60, 80_000), Some(Freshness::Expired));
    assert_eq!(kept(60, 91_000), None);
    assert_eq!(kept(-10, 10_000), Some(Freshness::Expired));
    assert_eq!(kept(-31, 0), None);
    config.ladders.get_mut("default").unwrap().remove(1);
    let before = app(config.clone());
    before.near.restore(&parts(&before, b"k", b"+v\r\n", Micros::now()));
    assert_eq!(handed_on(&before, 61_000, config.clone()).2.kept, 0, "no rung serves anything past its life");
    assert_eq!(handed_on(&before, 50_000, config).2.kept, 1);
}

#[test]
fn what_the_configuration_no_longer_lets_in_stays_out() {
    let before = app(config());
    let now = Micros::now();
    for key in [&b"off:1"[..], b"never:1", b"hash:1", b"old:1", b"other"] {
        before.near.restore(&parts(&before, key, b"+v\r\n", now));
    }
    before.near.restore(&parts(&before, b"big", &[b"+".as_slice(), &[b'x'; 2000], b"\r\n"].concat(), now));
    let route = |pattern: &str, change: fn(&mut config::Route)| {
        let mut route = config::Route::everything_to("main");
        route.keys = vec![pattern.to_owned()];
        change(&mut route);
        route
    };
    let mut stricter = config();
    let name = stricter.upstreams.keys().next().unwrap().clone();
    stricter.near_cache.max_entry = 1000;
    stricter.routes = vec![
        route("off:*", |route| route.cache.enabled = false),
        route("never:*", |route| route.stale = Stale::Never),
        route("hash:*", |route| route.cache.commands = Some(vec!["HGETALL".to_owned()])),
        route("old:*", |route| route.read_from = config::ReadFrom::ReplicaPreferred),
        config::Route::everything_to(&name),
    ];
    let (after, then, loaded) = handed_on(&before, 0, stricter.clone());
    assert_eq!((loaded.kept, loaded.left_out, after.near.len()), (1, 5, 1));
    assert_eq!(found(&after, b"other", then).len(), 1);
    // Nor is it written: what can never be served need not lie on a disk.
    let strict = app(stricter.clone());
    for key in [&b"off:1"[..], b"never:1", b"hash:1", b"old:1", b"other"] {
        strict.near.restore(&parts(&strict, key, b"+v\r\n", now));
    }
    let (_, _, loaded) = handed_on(&strict, 0, config());
    assert_eq!((loaded.kept, loaded.left_out), (1, 0));
}

#[test]
fn a_reply_of_an_upstream_that_its_key_has_left_is_not_written() {
    let before = app(config());
    coverage(&before, |coverage| coverage.begin(Micros::NEVER));
    let now = Micros::now();
    let of = Parts { upstream: 1, hash: before.near.hash(1, b"left"), ..parts(&before, b"left", b"$1\r\nv\r\n", now) };
    assert!(before.near.restore(&of));
    assert!(before.near.restore(&parts(&before, b"stayed", b"$1\r\nv\r\n", now)));
    let (after, then, loaded) = handed_on(&before, 0, config());
    assert_eq!((loaded.kept, loaded.left_out), (1, 0));
    assert_eq!(found(&after, b"stayed", then).len(), 1);
}

#[test]
fn commands_are_known_by_their_names_and_replies_looked_at() {
    let record = Record {
        database: 0,
        command: "get",
        key: b"k",
        args: b"",
        reply: b"+v\r\n",
        shape: SHAPE,
        same_in_both: true,
        negative: false,
        connection: 0,
        age: 0,
        life: 1000,
        left: None,
    };
    for (record, kept) in [
        (record, 1),
        (Record { command: "nosuch", ..record }, 0),
        (Record { command: "set", ..record }, 0),
        (Record { command: "config|get", ..record }, 0),
        (Record { reply: b"-ERR no\r\n", ..record }, 0),
        (Record { reply: b"$5\r\nv\r\n", ..record }, 0),
        (Record { reply: b"+v\r\n+w\r\n", ..record }, 0),
        (Record { reply: b"", ..record }, 0),
        (Record { age: u64::MAX, ..record }, 0),
        (Record { life: i64::MIN, ..record }, 0),
        (Record { life: i64::MAX, left: Some(u64::MAX - 1), ..record }, 1),
    ] {
        let header = Header { written_at: WRITTEN, owner: "owner".to_owned() };
        let mut writer = Writer::begin(Vec::new(), &header, 1 << 20).unwrap();
        assert!(writer.put(&record).unwrap());
        let file = writer.finish().unwrap().0;
        let loaded = reread(&file, &app(config()), Micros::now(), WRITTEN).unwrap();
        assert_eq!((loaded.kept, loaded.left_out), (kept, 1 - kept), "{record:?}");
    }
}

/// A file of some replies.
fn some_file() -> Vec<u8> {
    let app = app(config());
    let now = Micros::now();
    for n in 0..20u8 {
        app.near.restore(&parts(&app, &[b'k', n], b"$5\r\nvalue\r\n", now));
    }
    written(&app, now)
}

#[test]
fn a_file_that_is_cut_off_or_has_one_wrong_bit_is_refused_as_a_whole() {
    let (file, app) = (some_file(), app(config()));
    for length in 0..file.len() {
        assert!(reread(&file[..length], &app, Micros::now(), WRITTEN).is_err(), "cut off at {length}");
    }
    // The length that the system tells and what can be read differ while somebody else changes the file.
    let longer = read(&*file, file.len() as u64 + 1, &app, &Terms::of(app.rules()), "owner", Micros::now(), WRITTEN);
    assert!(matches!(longer, Err(Refused::Damaged("something follows the end"))), "{longer:?}");
    let mut damaged = file.clone();
    for bit in 0..file.len() * 8 {
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(reread(&damaged, &app, Micros::now(), WRITTEN + 1).is_err(), "bit {bit}");
        damaged[bit / 8] ^= 1 << (bit % 8);
    }
    assert_eq!(reread(&damaged, &app, Micros::now(), WRITTEN).unwrap().kept, 20);
}

#[test]
fn no_bytes_make_the_reader_panic_or_make_room_for_more_than_there_is() {
    let (file, app) = (some_file(), app(config()));
    let mut dice = 0x9e37_79b9_7f4a_7c15u64;
    let mut roll = |below: usize| {
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        (dice % below as u64) as usize
    };
    for _ in 0..5000 {
        let mut bytes = file.clone();
        for _ in 0..=roll(8) {
            match roll(4) {
                0 => bytes.truncate(roll(bytes.len().max(1))),
                1 => bytes.extend((0..roll(64)).map(|_| b'\xff')),
                2 if !bytes.is_empty() => {
                    // Where a length stands more often than elsewhere: extremes.
                    let at = roll(bytes.len());
                    bytes[at..].iter_mut().take(4).for_each(|byte| *byte = 0xff);
                }
                _ if !bytes.is_empty() => {
                    let at = roll(bytes.len());
                    bytes[at] = roll(256) as u8;
                }
                _ => {}
            }
        }
        if bytes != file {
            assert!(reread(&bytes, &app, Micros::now(), WRITTEN + 1).is_err());
        }
    }
}

#[test]
fn each_reason_for_a_refusal_has_its_words() {
    let (file, app) = (some_file(), app(config()));
    let now = Micros::now();
    let words = |file: &[u8], unix_ms| reread(file, &app, now, unix_ms).unwrap_err().to_string();
    assert!(words(b"", WRITTEN).contains("no snapshot of Larder"));
    assert!(words(b"REDIS0009 and so on", WRITTEN).contains("no snapshot of Larder"));
    assert!(words(&file[..file.len() - 1], WRITTEN).contains("cut off"));
    let mut newer = file.clone();
    newer[8] = 9;
    assert!(words(&newer, WRITTEN).contains("another version of Larder has written it (format 9"));
    let backwards = words(&file, WRITTEN - 61_000);
    assert!(backwards.contains("61 s from now") && backwards.contains("clock"), "{backwards}");
    let mut other = file.clone();
    let last = other.len() - 1;
    other[last] ^= 1;
    assert!(words(&other, WRITTEN).contains("checksum"));
    let foreign = read(&*file, file.len() as u64, &app, &Terms::of(app.rules()), "another", now, WRITTEN);
    assert!(foreign.unwrap_err().to_string().contains("another upstream (owner)"));
}

#[test]
fn no_more_is_written_or_read_than_the_near_cache_may_hold() {
    let large = app(config());
    let now = Micros::now();
    let reply = [b"$1000\r\n".as_slice(), &[b'x'; 1000], b"\r\n"].concat();
    for n in 0..100u8 {
        large.near.restore(&parts(&large, &[n], &reply, now));
    }
    let file = written(&large, now);
    let mut small = config();
    small.near_cache.max_memory = 50_000;
    small.near_cache.max_entry = 50_000;
    let refused = reread(&file, &app(small.clone()), now, WRITTEN).unwrap_err().to_string();
    assert!(refused.contains(&format!("its {} bytes are more than near_cache.max_memory", file.len())), "{refused}");
    let narrow = app(config());
    for n in 0..100u8 {
        narrow.near.restore(&parts(&narrow, &[n], &reply, now));
    }
    let mut config = narrow.rules().config.clone();
    config.near_cache.max_memory = 50_000;
    narrow.replace_rules(config).unwrap();
    let file = written(&narrow, now);
    assert!((45_000..51_000).contains(&file.len()), "{} bytes", file.len());
    assert!(reread(&file, &narrow, now, WRITTEN).unwrap().kept > 40);
}

#[test]
fn the_owner_is_the_upstream_as_this_user_sees_it_and_never_its_password() {
    let of = |url: &str| {
        let app = app(Config::for_upstream(url).unwrap());
        owner(&app, &Terms::of(app.rules()))
    };
    assert_eq!(of(UPSTREAM_URL), "main, redis at 127.0.0.1:1, as app");
    assert_eq!(of("redis-cluster://b:2,a:1"), of("redis-cluster://a:1,b:2"));
    let different = [
        "redis://h:1",
        "redis://h:2",
        "redis://u:p@h:1",
        "redis-cluster://h:1",
        "redis-sentinel://h:1/a",
        "redis-sentinel://h:1/b",
    ];
    let owners: HashSet<String> = different.iter().map(|url| of(url)).collect();
    assert_eq!(owners.len(), different.len(), "{owners:?}");
}

#[test]
fn what_decides_where_on_a_ring_a_key_lies_belongs_to_the_owner() {
    let of = |ring: &str| {
        let text = format!(
            "listeners: [{{address: 127.0.0.1:1}}]\nupstreams: {{u: {{kind: redis-ring, endpoints: [h:1, i:1], ring: {{{ring}}}}}}}"
        );
        let app = app(crate::config::parse(&text, "t.yaml").unwrap());
        owner(&app, &Terms::of(app.rules()))
    };
    let rings = [
        "",
        "hash: fnv1a_64",
        "hash_tag: '{}'",
        "weights: {'h:1': 2}",
        "names: {'h:1': a, 'i:1': b}",
        "names: {'h:1': b, 'i:1': a}",
    ];
    let owners: HashSet<String> = rings.iter().map(|ring| of(ring)).collect();
    assert_eq!(owners.len(), rings.len(), "{owners:?}");
    assert_eq!(of(""), of("hash: md5"));
}
