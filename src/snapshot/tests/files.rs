//! The file itself: whose it is, when it is written, and what becomes of what stands in its place.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::app::Stage;

/// A directory that is gone afterwards.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("larder-snapshot-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("larder.snapshot")
    }

    /// A Larder with its snapshot here.
    fn app(&self) -> App {
        let mut config = config();
        config.near_cache.warm_start = true;
        config.near_cache.snapshot = self.file();
        app(config)
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn open(app: &App) -> Snapshot {
    Snapshot::open(app, Ownership::Now).unwrap().unwrap()
}

fn keep_something(app: &App) {
    assert!(app.near.restore(&parts(app, b"k", b"+v\r\n", Micros::now())));
}

fn failures(app: &App) -> u64 {
    app.near.tallies.snapshot_failures.load(Ordering::Relaxed)
}

#[test]
fn without_warm_start_nothing_is_touched() {
    let directory = Directory::new("off");
    let app = directory.app();
    let mut config = app.rules().config.clone();
    config.near_cache.warm_start = false;
    app.replace_rules(config).unwrap();
    assert!(Snapshot::open(&app, Ownership::Now).unwrap().is_none());
    assert_eq!(directory.names(), [""; 0]);
}

#[test]
fn what_one_process_writes_the_next_one_loads() {
    let directory = Directory::new("next");
    let before = directory.app();
    let snapshot = open(&before);
    snapshot.load(&before);
    assert_eq!(failures(&before), 0, "that there is none yet is no failure");
    keep_something(&before);
    snapshot.finish(&before);
    drop(snapshot);
    assert_eq!(directory.names(), ["larder.snapshot", "larder.snapshot.lock"]);
    assert_eq!(fs::metadata(directory.file()).unwrap().permissions().mode() & 0o777, 0o600);
    let after = directory.app();
    open(&after).load(&after);
    assert_eq!(found(&after, b"k", Micros::now()).len(), 1);
    assert_eq!(after.near.tallies.snapshot_entries.load(Ordering::Relaxed), 1);
    assert!(after.near.tallies.snapshot_written_at.load(Ordering::Relaxed) > 1_700_000_000);
}

#[test]
fn a_file_belongs_to_one_process_at_a_time() {
    let directory = Directory::new("lock");
    let (one, other) = (directory.app(), directory.app());
    let held = open(&one);
    let refusal = Snapshot::open(&other, Ownership::Now).unwrap_err();
    assert!(refusal.contains("larder.snapshot belongs to another Larder that is running"), "{refusal}");
    drop(held);
    open(&other);
}

#[test]
fn a_place_that_cannot_be_written_is_named_with_what_to_do() {
    let directory = Directory::new("place");
    fs::create_dir(directory.0.join("larder.snapshot.lock")).unwrap();
    let refusal = Snapshot::open(&directory.app(), Ownership::Now).unwrap_err();
    assert!(refusal.contains("larder.snapshot.lock cannot be created"), "{refusal}");
    assert!(refusal.contains("write the path of a file in a directory that Larder may write to"), "{refusal}");
}

#[test]
fn the_file_is_written_only_when_something_has_changed() {
    let directory = Directory::new("changes");
    let app = directory.app();
    let snapshot = open(&app);
    let written = || fs::remove_file(directory.file()).is_ok();
    snapshot.write_changes(&app);
    assert!(written(), "what a process before has left may be outdated");
    // (Flushes are counted by the whole process, and other tests flush meanwhile, but not without end.)
    let at_rest = || {
        (0..1000).any(|_| {
            snapshot.write_changes(&app);
            !written()
        })
    };
    assert!(at_rest());
    keep_something(&app);
    snapshot.write_changes(&app);
    assert!(written() && at_rest());
    coverage(&app, Coverage::flush);
    snapshot.write_changes(&app);
    assert!(written());
    app.near.invalidate(0, b"k", crate::cache::near::Cause::Operator);
    snapshot.write_changes(&app);
    assert!(written());
    app.enter(Stage::Ending);
    keep_something(&app);
    snapshot.write_changes(&app);
    assert!(!written(), "the last one is written when the workers have ended");
    snapshot.finish(&app);
    snapshot.finish(&app);
    assert!(written());
}

#[test]
fn a_write_that_fails_leaves_the_file_before_it_and_the_next_one_succeeds() {
    let directory = Directory::new("fails");
    let app = directory.app();
    let snapshot = open(&app);
    keep_something(&app);
    snapshot.finish(&app);
    let whole = fs::read(directory.file()).unwrap();
    // Nothing of that name can be created.
    let in_the_way = directory.0.join("larder.snapshot.new");
    fs::create_dir(&in_the_way).unwrap();
    keep_something(&app);
    snapshot.write_changes(&app);
    snapshot.write_changes(&app);
    assert_eq!(failures(&app), 2, "it is tried again although nothing has changed");
    assert_eq!(fs::read(directory.file()).unwrap(), whole);
    fs::remove_dir(&in_the_way).unwrap();
    // What a process left that was killed in the middle is in nobody's way.
    fs::write(&in_the_way, "half").unwrap();
    snapshot.write_changes(&app);
    assert_eq!((failures(&app), directory.names().len()), (2, 2));
}

#[test]
fn what_is_refused_leaves_the_near_cache_empty() {
    let directory = Directory::new("refused");
    let app = directory.app();
    let snapshot = open(&app);
    for n in 0..100u8 {
        app.near.restore(&parts(&app, &[n], b"+v\r\n", Micros::now()));
    }
    snapshot.finish(&app);
    let whole = fs::read(directory.file()).unwrap();
    let load = |bytes: &[u8], mode| {
        fs::write(directory.file(), bytes).unwrap();
        fs::set_permissions(directory.file(), fs::Permissions::from_mode(mode)).unwrap();
        let next = directory.app();
        Snapshot { path: directory.file(), ..open_beside("other") }.load(&next);
        (next.near.len(), failures(&next))
    };
    assert_eq!(load(&whole, 0o600), (100, 0));
    assert_eq!(load(&whole[..whole.len() - 20], 0o600), (0, 1), "after most of it was read");
    assert_eq!(load(&whole, 0o620), (0, 1), "others could have written it");
    assert_eq!(load(b"something else", 0o600), (0, 1));
}

/// One that does not ask for the lock of the file.
fn open_beside(name: &str) -> Snapshot {
    let beside = std::env::temp_dir().join(format!("larder-snapshot-{}-{name}", std::process::id()));
    let lock = File::create(&beside).unwrap();
    let _ = fs::remove_file(&beside);
    Snapshot { path: beside, last: Mutex::default(), lock, locked: true.into() }
}

#[test]
fn a_file_that_is_no_snapshot_is_left_alone() {
    let directory = Directory::new("foreign");
    let app = directory.app();
    let snapshot = open(&app);
    keep_something(&app);
    fs::write(directory.file(), "somebody's letters").unwrap();
    snapshot.finish(&app);
    assert_eq!(fs::read(directory.file()).unwrap(), b"somebody's letters");
    assert_eq!(failures(&app), 1);
    // One that has only begun, or is empty, is nobody's loss.
    for begun in [&b""[..], b"LARDER", b"LARDERNC and then anything"] {
        fs::write(directory.file(), begun).unwrap();
        snapshot.finish(&app);
        assert!(fs::metadata(directory.file()).unwrap().len() > 40);
    }
}
