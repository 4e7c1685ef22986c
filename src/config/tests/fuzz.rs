//! No text makes the reader panic or take long, and what it accepts it can print and read again.

use super::*;
use proptest::prelude::*;

const EXAMPLE: &str = include_str!("../../../config.example.yaml");

/// Reads a text; an accepted one must print as a text that reads the same.
fn read(text: &str) {
    let errors = match parse(text, "t.yaml") {
        Ok(mut config) => {
            let again = good(&config.to_string());
            config.admin.configured = true;
            for upstream in config.upstreams.values_mut() {
                upstream.password = upstream.password.take().map(|_| Secret::new("***"));
            }
            assert_eq!(again, config);
            return;
        }
        Err(errors) => errors,
    };
    assert!(!errors.is_empty());
    let lines = text.split(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']).count();
    for error in &errors {
        assert!(error.line.unwrap_or(1) <= lines + 1, "{error}");
        assert!(!error.problem.is_empty() && !error.remedy.is_empty(), "{error}");
        let text = error.to_string();
        for phrase in ["invalid type", "invalid value", "expected a ", "untagged", "missing field", "unknown field"] {
            assert!(!text.contains(phrase), "{text}");
        }
    }
}

/// Pieces of which YAML and this format are made.
fn piece() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "listeners",
        "upstreams",
        "routes",
        "near_cache",
        "ladders",
        "admin",
        "limits",
        "address",
        "kind",
        "redis",
        "memory",
        "keys",
        "endpoints",
        "tls",
        "ttl",
        "rung",
        "for",
        "local-only",
        "5s",
        "5",
        "10%",
        "1mb",
        "127.0.0.1:1",
        "[::1]:1",
        "unix:/x",
        "main",
        ": ",
        ":",
        "\n",
        "\n  ",
        "\n    ",
        "- ",
        "[",
        "]",
        "{",
        "}",
        ", ",
        "\"",
        "'",
        "#",
        " #",
        "&a ",
        "*a",
        "*",
        "!t ",
        "!!int ",
        "|\n",
        ">\n",
        "? ",
        "<<: ",
        "---\n",
        "...\n",
        "%YAML",
        "~",
        "true",
        "0x1f",
        "1e400",
        ".nan",
        "\t",
        "\\",
        "\u{feff}",
        "é",
        "\0",
        "\r",
        "99999999999999999999999999999999999999999",
        "-1",
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_text_is_read_without_a_panic(text in any::<String>()) {
        read(&text);
    }

    #[test]
    fn any_row_of_yaml_pieces_is_read_without_a_panic(pieces in prop::collection::vec(piece(), 0..60)) {
        read(&pieces.concat());
        read(&format!("{SMALLEST}{}", pieces.concat()));
    }

    #[test]
    fn a_mangled_example_is_read_without_a_panic(
        cuts in prop::collection::vec((0usize..1000, 0usize..30, piece()), 1..4),
    ) {
        // Without the comments, so that most cuts hit something that counts.
        let lines = EXAMPLE.lines().filter(|line| !line.trim_start().starts_with('#') && !line.is_empty());
        let mut chars: Vec<char> = lines.flat_map(|line| line.chars().chain(['\n'])).collect();
        for (place, length, piece) in cuts {
            let start = chars.len() * place / 1000;
            let end = (start + length).min(chars.len());
            chars.splice(start..end, piece.chars());
        }
        read(&chars.into_iter().collect::<String>());
    }
}

#[test]
fn texts_made_to_take_long_are_refused_early() {
    let mut texts = vec!["x".repeat((1 << 20) + 1)];
    for unit in
        ["[", "{", "[a: ", "- ", "? ", "- a\n", "!", "&a ", "\"", "a: {}\n", "- {}\n", "routes: [{}]\n", "\n", "#"]
    {
        texts.push(unit.repeat((1 << 20) / unit.len()));
    }
    let mut bomb = "a: &a [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
    for (name, last) in ('b'..='z').zip('a'..) {
        let aliases = vec![format!("*{last}"); 10].join(",");
        bomb.push_str(&format!("{name}: &{name} [{aliases}]\n"));
    }
    texts.push(bomb);
    texts.push(format!("{SMALLEST}routes:\n{}", "- {upstream: upstream_x}\n".repeat(9_000)));
    texts.push(format!("upstreams:\n{}", (0..9_000).map(|n| format!("  u{n}: {{}}\n")).collect::<String>()));
    let start = std::time::Instant::now();
    for text in &texts {
        assert!(parse(text, "t.yaml").is_err());
    }
    // Unbounded, the nested ones alone take minutes; the margin is for a slow machine.
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
}
