//! Redis's glob patterns, without regard to ASCII case: `COMMAND LIST FILTERBY PATTERN conf*`.
//!
//! `*`, `?`, `[a-z]`, `[^a-z]` and a backslash before a character that shall mean itself. Time is bounded by the product
//! of both lengths: only the last star is ever tried again.

/// Whether `pattern` matches all of `text`.
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Behind the last star, and where its match of the text began.
    let mut retry: Option<(usize, usize)> = None;
    loop {
        if pattern.get(p) == Some(&b'*') {
            p += 1;
            retry = Some((p, t));
            continue;
        }
        match (pattern.get(p..).filter(|rest| !rest.is_empty()), text.get(t)) {
            (None, None) => return true,
            (Some(rest), Some(byte)) => {
                let (matched, width) = one(rest, byte.to_ascii_lowercase());
                if matched {
                    p += width;
                    t += 1;
                    continue;
                }
            }
            (_, None) => return false,
            (None, Some(_)) => {}
        }
        match retry {
            Some((star, begin)) => {
                retry = Some((star, begin + 1));
                (p, t) = (star, begin + 1);
            }
            None => return false,
        }
    }
}

/// Whether the first element of `pattern`, which is not a star, matches `byte`, and how long it is.
fn one(pattern: &[u8], byte: u8) -> (bool, usize) {
    match pattern {
        [b'?', ..] => (true, 1),
        [b'[', rest @ ..] => {
            let (matched, width) = class(rest, byte);
            (matched, width + 1)
        }
        [b'\\', escaped, ..] => (escaped.eq_ignore_ascii_case(&byte), 2),
        [literal, ..] => (literal.eq_ignore_ascii_case(&byte), 1),
        [] => (false, 0),
    }
}

/// The same for what stands behind `[`; a class that is never closed ends with the pattern.
fn class(class: &[u8], byte: u8) -> (bool, usize) {
    let negated = class.first() == Some(&b'^');
    let mut i = usize::from(negated);
    let mut matched = false;
    loop {
        match class.get(i..).unwrap_or_default() {
            [b']', ..] => return (matched != negated, i + 1),
            [] => return (matched != negated, i),
            [b'\\', escaped, ..] => {
                matched |= escaped.eq_ignore_ascii_case(&byte);
                i += 2;
            }
            [low, b'-', high, ..] => {
                let (low, high) = (low.to_ascii_lowercase(), high.to_ascii_lowercase());
                matched |= (low.min(high)..=low.max(high)).contains(&byte);
                i += 3;
            }
            [literal, ..] => {
                matched |= literal.eq_ignore_ascii_case(&byte);
                i += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_match_as_in_redis() {
        let cases: [(&str, &str, bool); 20] = [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("conf*", "CONFIG|get", true),
            ("CONF*", "config", true),
            ("conf*", "con", false),
            ("*get", "config|get", true),
            ("*g*t*", "config|get", true),
            ("*g*x*", "config|get", false),
            ("?et", "get", true),
            ("?et", "et", false),
            ("[gs]et", "SET", true),
            ("[^g]et", "get", false),
            ("[a-h]et", "get", true),
            ("[h-a]et", "get", true),
            ("[ge", "e", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("[\\]]", "]", true),
            ("\\", "\\", true),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn many_stars_end_soon() {
        assert!(!matches("a*".repeat(1000).as_bytes(), &[b'a'; 900]));
    }
}
