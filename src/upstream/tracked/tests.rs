use super::*;

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
            heard_at: Micros::now(),
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
