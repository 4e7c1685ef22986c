//! Redis's glob patterns: `*`, `?`, `[abc]`, `[a-z]`, `[^a]`, and `\` before a byte that stands for itself.
//!
//! Only the last `*` is ever tried again, since an earlier one could not do better; so the work is bounded by the product of
//! both lengths, whatever the pattern.

/// Whether `text` matches `pattern`.
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    // As in Redis, where only the pattern of exactly `*` (which callers handle) matches the empty key.
    if text.is_empty() {
        return pattern.is_empty();
    }
    let (mut p, mut t) = (0, 0);
    // Where to go on after the last star: the pattern behind it, and the first byte that it has not swallowed.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            p += 1;
            star = Some((p, t));
            continue;
        }
        if let Some(len) = step(&pattern[p..], text[t]) {
            p += len;
            t += 1;
            continue;
        }
        let Some((behind, from)) = star else {
            return false;
        };
        star = Some((behind, from + 1));
        (p, t) = (behind, from + 1);
    }
    pattern[p..].iter().all(|&byte| byte == b'*')
}

/// The length of the pattern's first element if it matches `byte`.
fn step(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern {
        [] => None,
        [b'?', ..] => Some(1),
        [b'[', set @ ..] => {
            let (matched, len) = in_set(set, byte);
            matched.then_some(len + 1)
        }
        [b'\\', literal, ..] => (*literal == byte).then_some(2),
        [literal, ..] => (*literal == byte).then_some(1),
    }
}

/// Whether `byte` is in the set that begins behind a `[`, and how long the set is. One that is not closed ends with the
/// pattern.
fn in_set(set: &[u8], byte: u8) -> (bool, usize) {
    let inverted = set.first() == Some(&b'^');
    let mut i = usize::from(inverted);
    let mut found = false;
    loop {
        match &set[i..] {
            [] => break,
            [b'\\', literal, ..] => {
                found |= *literal == byte;
                i += 2;
            }
            [b']', ..] => {
                i += 1;
                break;
            }
            [low, b'-', high, ..] => {
                found |= (*low.min(high)..=*low.max(high)).contains(&byte);
                i += 3;
            }
            [literal, ..] => {
                found |= *literal == byte;
                i += 1;
            }
        }
    }
    (found != inverted, i)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_match_as_in_redis() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("", "a", false),
            ("**", "", false),
            ("**", "a", true),
            ("a*", "a", true),
            ("a?", "a", false),
            ("*a*b*c", "xxaxxbxxbc", true),
            ("*a*b*c", "xxaxxbxxbcd", false),
            ("h[ae]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[b-a]llo", "hallo", true),
            ("h\\*", "h*", true),
            ("h\\*", "hx", false),
            ("\\", "\\", true),
            ("[a\\]]", "]", true),
            ("[]", "a", false),
            ("[^]", "a", true),
            ("[ab", "b", true),
            ("[a-", "-", true),
            ("*]", "a]", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn hostile_patterns_cost_no_more_than_the_product_of_the_lengths() {
        let pattern = "a*".repeat(2000) + "b";
        assert!(!matches(pattern.as_bytes(), "a".repeat(4000).as_bytes()));
    }
}
