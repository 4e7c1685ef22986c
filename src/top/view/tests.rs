use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::*;

fn recorded() -> State {
    serde_json::from_str(include_str!("recorded.json")).expect("it is a state")
}

/// What stands on a terminal of this size.
fn drawn(view: &View, width: u16, height: u16, now: Instant) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal in memory");
    terminal.draw(|frame| view.draw(frame, now)).expect("nothing can fail there");
    let buffer = terminal.backend().buffer().clone();
    let cell = |x, y| buffer.cell((x, y)).map_or(" ", |cell| cell.symbol());
    (0..height).map(|y| (0..width).map(|x| cell(x, y)).collect()).collect()
}

#[test]
fn everything_that_matters_fits_on_80_by_24() {
    let (mut view, now) = (View::new("127.0.0.1:9180"), Instant::now());
    view.hear(Ok(recorded()), now);
    let lines = drawn(&view, 80, 24, now);
    let shown = lines.join("\n");
    assert!(lines[0].starts_with(" larder 0.1.0  serving  ready  up 1h 2m  127.0.0.1:9180"), "{shown}");
    assert!(lines[1].starts_with(" requests/s     12.3 k") && lines[1].contains("runway         83.0 %"), "{shown}");
    assert!(lines[2].contains("hit ratio      97.2 %") && lines[2].contains("since start    95.1 %"), "{shown}");
    assert!(
        lines[3].contains("upstream p50   85 us") && lines[3].contains("near-cache     12.0 MiB, 4.7 %"),
        "{shown}"
    );
    assert!(lines[4].contains("upstream p99   1.20 ms") && lines[5].contains("upstream p99.9 - "), "{shown}");
    assert!(shown.contains("requests per second, 3 s, at most 12.3 k") && shown.contains('█'), "{shown}");
    // The server that is down comes first, with what comes next.
    let at =
        |words: &str| lines.iter().position(|line| line.contains(words)).unwrap_or_else(|| panic!("{words}: {shown}"));
    let down = &lines[at("10.0.0.1:6379")];
    assert!(at("10.0.0.1:6379") < at("10.0.0.2:11211"), "{shown}");
    for words in ["main", "open", "local-only", "12s", "stale-read-only in 17s"] {
        assert!(down.contains(words), "{words}: {shown}");
    }
    assert!(lines[at("user:1:profile")].contains(" 51.2 k"), "{shown}");
    assert!(shown.contains(" a-key-that-is-too-long-f~ 20"), "{shown}");
    assert!(at("normal -> local-only") < at("larder 0.1.0 serves"), "the newest first: {shown}");
    assert!(lines[at("normal -> local-only")].contains("12s ago"), "{shown}");
    assert!(lines[23].starts_with(" q quits"), "{shown}");
}

#[test]
fn a_process_that_is_gone_is_told_of_with_since_when_and_the_rest_stays() {
    let (mut view, now) = (View::new("127.0.0.1:9180"), Instant::now());
    view.hear(Err("cannot be reached: refused".to_owned()), now);
    let lines = drawn(&view, 80, 24, now + Duration::from_secs(65));
    assert!(
        lines[23].starts_with(" GONE for 1m 5s: 127.0.0.1:9180 cannot be reached: refused; trying again"),
        "{lines:?}"
    );
    view.hear(Ok(recorded()), now);
    assert!(!drawn(&view, 80, 24, now).join("").contains("GONE"));
    view.hear(Err("a".to_owned()), now);
    view.hear(Err("b".to_owned()), now + Duration::from_secs(1));
    let lines = drawn(&view, 80, 24, now + Duration::from_secs(3));
    assert!(lines[23].contains("GONE for 3s: 127.0.0.1:9180 b;") && lines[0].contains("serving"), "{lines:?}");
}

#[test]
fn another_process_begins_a_curve_of_its_own() {
    let (mut view, now) = (View::new("x"), Instant::now());
    view.hear(Ok(recorded()), now);
    view.hear(Ok(recorded()), now);
    assert_eq!(view.requests.len(), 6);
    view.hear(Ok(State { run_id: "cd34".to_owned(), ..recorded() }), now);
    assert_eq!(view.requests, [100, 12000, 12346]);
}

#[test]
fn no_size_is_too_small_or_too_large() {
    let (mut view, now) = (View::new("127.0.0.1:9180"), Instant::now());
    let mut state = recorded();
    state.ladder = state.ladder.iter().cycle().take(70).cloned().collect();
    view.hear(Ok(state), now);
    for (width, height) in [(1, 1), (2, 3), (20, 5), (40, 10), (80, 24), (81, 25), (200, 60), (500, 200)] {
        let lines = drawn(&view, width, height, now);
        assert_eq!(lines.len(), usize::from(height));
    }
    assert!(drawn(&view, 80, 24, now).join("").contains(" servers (64 more) "));
}
