use super::*;

/// What a stream hands on for some bytes, as words, however they are cut.
fn heard(awaited: impl Fn() -> Vec<Awaited<u32>>, mode: Mode, bytes: &[u8], piece: usize) -> Vec<String> {
    let mut words = Vec::new();
    let handler = |event: Event<'_, u32>| {
        let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
        match event {
            Event::Invalidate(key) => words.push(format!("invalidate {}", text(key))),
            Event::InvalidateAll => words.push("invalidate all".to_owned()),
            Event::Done { tag, pttls, reply, .. } => words.push(format!("done {tag} {pttls:?} {}", text(reply))),
            Event::Failed(tag) => words.push(format!("failed {tag}")),
            Event::Alive { .. } => words.push("alive".to_owned()),
            Event::Up(..) | Event::Lost(_) | Event::Batch => {}
        }
    };
    let breaker = Breaker::new(crate::config::Breaker::default(), Arc::default());
    let mut stream = Stream {
        handler,
        mode,
        database: 0,
        misplaced: false,
        out: Vec::new(),
        sent: 0,
        awaited: awaited().into_iter().map(|awaited| (awaited, Micros(1))).collect(),
        expiries: Vec::new(),
        progress: Progress::begun(Micros(0)),
        jobs: 0,
        window: FIRST_WINDOW,
        breaker: &breaker,
    };
    let mut scanner = Scanner::default();
    let mut input = Vec::new();
    for piece in bytes.chunks(piece) {
        input.extend_from_slice(piece);
        let used = stream.receive(&mut scanner, &input).expect("well-formed");
        input.drain(..used);
    }
    assert!(input.is_empty());
    words
}

#[test]
fn pushes_and_replies_are_handed_on_in_the_order_of_the_stream() {
    let bytes = b":-1\r\n>2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n$3\r\nold\r\n:1500\r\n$3\r\nnew\r\n+PONG\r\n";
    let awaited = || vec![Awaited::Expiry, Awaited::Value(1), Awaited::Expiry, Awaited::Value(2), Awaited::Heartbeat];
    for piece in 1..=bytes.len() {
        let words = heard(awaited, Mode::Tracking, bytes, piece);
        let expected =
            ["invalidate k", "done 1 [Some(-1)] $3\\r\\nold\\r\\n", "done 2 [Some(1500)] $3\\r\\nnew\\r\\n", "alive"];
        assert_eq!(words, expected, "in pieces of {piece}");
    }
}

#[test]
fn every_key_of_a_push_is_heard_and_a_null_means_all() {
    let bytes = b">2\r\n$10\r\ninvalidate\r\n*3\r\n$1\r\na\r\n$0\r\n\r\n$4\r\nb\r\nc\r\n>2\r\n$10\r\ninvalidate\r\n_\r\n>2\r\n+other\r\n:1\r\n";
    for piece in 1..=bytes.len() {
        let words = heard(Vec::new, Mode::Tracking, bytes, piece);
        assert_eq!(words, ["invalidate a", "invalidate ", "invalidate b\\r\\nc", "invalidate all"]);
    }
}

#[test]
fn without_tracking_the_expiries_and_the_value_come_in_one_reply_of_exec() {
    let bytes = b"+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:700\r\n$1\r\nv\r\n+OK\r\n+QUEUED\r\n-ERR no\r\n-EXECABORT\r\n";
    let awaited = || {
        let job = |tag| vec![Awaited::Ok, Awaited::Ok, Awaited::Ok, Awaited::Wrapped(tag, 1)];
        job(1).into_iter().chain(job(2)).collect()
    };
    assert_eq!(heard(awaited, Mode::Ttl, bytes, 5), ["done 1 [Some(700)] $1\\r\\nv\\r\\n", "failed 2"]);
}

#[test]
fn a_malformed_push_ends_the_connection() {
    for bytes in [&b">2\r\n$10\r\ninvalidate\r\n*1\r\n:5\r\n"[..], b">2\r\n$10\r\ninvalidate\r\n:1\r\n"] {
        let mut stream = Stream {
            handler: |_: Event<'_, u32>| {},
            mode: Mode::Tracking,
            database: 0,
            misplaced: false,
            out: Vec::new(),
            sent: 0,
            awaited: VecDeque::new(),
            expiries: Vec::new(),
            progress: Progress::begun(Micros(0)),
            jobs: 0,
            window: FIRST_WINDOW,
            breaker: &Breaker::new(crate::config::Breaker::default(), Arc::default()),
        };
        assert!(stream.receive(&mut Scanner::default(), bytes).is_err());
    }
}

/// What the handler was told, in words.
fn told(mode: Mode, jobs: &[(u32, &str)], replies: &[u8]) -> Vec<String> {
    let mut told = Vec::new();
    let tracked = Tracked::<&str>::default();
    tracked.set_open();
    for (database, request) in jobs {
        let keys = SmallVec::from_iter([Box::from(&b"k"[..])]);
        tracked.submit(Job { database: *database, keys, request: request.as_bytes().to_vec(), tag: *request }).unwrap();
    }
    {
        let mut stream = Stream {
            handler: |event: Event<'_, &str>| match event {
                Event::Done { tag, pttls, reply, .. } => {
                    told.push(format!("{tag} {pttls:?} {}", String::from_utf8_lossy(reply).trim_end()))
                }
                Event::Failed(tag) => told.push(format!("{tag} failed")),
                _ => {}
            },
            mode,
            database: 0,
            misplaced: false,
            out: Vec::new(),
            sent: 0,
            awaited: VecDeque::new(),
            expiries: Vec::new(),
            progress: Progress::begun(Micros::now()),
            jobs: 0,
            window: FIRST_WINDOW,
            breaker: &Breaker::new(crate::config::Breaker::default(), Arc::default()),
        };
        stream.take_up(&tracked);
        assert_eq!(stream.receive(&mut Scanner::default(), replies).unwrap(), replies.len());
        assert!(stream.awaited.is_empty());
    }
    told
}

#[test]
fn a_database_that_is_refused_fails_its_own_reads_and_no_others() {
    let jobs = [(0, "a"), (9, "b"), (9, "c"), (1, "d")];
    let refused = b":-1\r\n+a\r\n-ERR DB index is out of range\r\n:-1\r\n+a\r\n:-1\r\n+a\r\n+OK\r\n:7\r\n+d\r\n";
    let expected = ["a [Some(-1)] +a", "b failed", "c failed", "d [Some(7)] +d"];
    assert_eq!(told(Mode::Tracking, &jobs, refused), expected);

    let wrapped = |value| format!("+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:-1\r\n+{value}\r\n");
    let refused =
        [&wrapped("a"), "-ERR DB index is out of range\r\n", &wrapped("a"), &wrapped("a"), "+OK\r\n"].concat();
    let refused = refused + &wrapped("d");
    let expected = ["a [Some(-1)] +a", "b failed", "c failed", "d [Some(-1)] +d"];
    assert_eq!(told(Mode::Ttl, &jobs, refused.as_bytes()), expected);
}

#[test]
fn an_expiry_that_may_not_be_asked_for_is_unknown() {
    let replies = b"-NOPERM this user has no permissions to run the 'pttl' command\r\n$1\r\nv\r\n:5\r\n$1\r\nw\r\n";
    assert_eq!(told(Mode::Tracking, &[(0, "a"), (0, "b")], replies), ["a [None] $1\r\nv", "b [Some(5)] $1\r\nw"]);
}

#[test]
fn only_an_origin_that_will_never_track_is_done_without_it() {
    let unable = |words: &str| super::probe::unable(&Failure::Refused(words.to_owned()));
    for never in [
        "ERR unknown command `HELLO`, with args beginning with: `3`, ",
        "ERR unknown subcommand 'TRACKING'. Try CLIENT HELP.",
        "NOPROTO unsupported protocol version",
        "NOPERM this user has no permissions to run the 'client|tracking' command",
        "NOPERM this user has no permissions to run the 'client' command or its subcommand",
    ] {
        assert!(unable(never), "{never}");
    }
    for passing in [
        "NOAUTH Authentication required.",
        "WRONGPASS invalid username-password pair or user is disabled.",
        "LOADING Redis is loading the dataset in memory",
        "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
        "ERR max number of clients reached",
        "DENIED Redis is running in protected mode",
    ] {
        assert!(!unable(passing), "{passing}");
    }
    assert!(!super::probe::unable(&Failure::Connect("ERR".to_owned())));
}

#[test]
fn a_connection_that_falls_behind_takes_no_more_jobs_than_it_may_owe_answers() {
    let tracked = Tracked::<()>::default();
    let job = || Job { database: 0, keys: SmallVec::new(), request: b"x".to_vec(), tag: () };
    assert!(tracked.submit(job()).is_err(), "there is no connection");
    tracked.set_open();
    assert!(tracked.submit(job()).is_ok() && tracked.has_time());
    tracked.awaited.store(BUSY, Ordering::Relaxed);
    assert!(tracked.submit(job()).is_ok() && !tracked.has_time());
    tracked.awaited.store(MAX_AWAITED, Ordering::Relaxed);
    assert!(tracked.submit(job()).is_err());
    assert_eq!(tracked.shut().len(), 2);
    tracked.set_open();
    assert!(tracked.submit(job()).is_ok() && tracked.has_time());
}
