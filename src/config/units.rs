//! Values with their units: durations `250ms`, sizes `64mb`, shares `10%`, counts and plain text, both ways.
//!
//! A number without a unit is never a duration: 5 would be seconds to one reader and milliseconds to another.

use super::fault::{Wrong, nearest, shown};
use super::tree::Value;
use std::time::Duration;

const DURATION: &str = "write a duration such as 250ms, 5s, 1m";
const SIZE: &str = "write a size such as 64kb, 256mb, 1gb, or a number of bytes";
const SHARE: &str = "write a share such as 10%";
/// Longest duration: a year. Beyond it a number is a slip, and sums of times could overflow.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// `250ms`, `5s`, `5m`, `1h`: a whole number and its unit.
pub(super) fn duration(value: &Value) -> Result<Duration, Wrong> {
    let text = match value {
        Value::Text(text) => text.trim(),
        Value::Integer(0) => return Err(Wrong::new("0 has no unit", "write 0s")),
        Value::Integer(number) => {
            return Err(Wrong::new(format!("{number} has no unit"), DURATION));
        }
        Value::Float(number) => return Err(Wrong::new(format!("{number} has no unit"), DURATION)),
        other => return Err(misplaced(other, "a duration", DURATION)),
    };
    let (number, unit) = number_and_unit(text);
    let milliseconds: u64 = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60 * 1000,
        "h" => 3600 * 1000,
        "" if !number.is_empty() => {
            return Err(Wrong::new(format!("\"{}\" has no unit", shown(text)), DURATION));
        }
        _ => return Err(not(text, "a duration", DURATION)),
    };
    let number: u64 = match number.parse() {
        Ok(number) => number,
        Err(_) if !number.is_empty() => return Err(too_long(text)),
        Err(_) => return Err(not(text, "a duration", DURATION)),
    };
    match number.checked_mul(milliseconds).map(Duration::from_millis) {
        Some(duration) if duration <= LONGEST => Ok(duration),
        _ => Err(too_long(text)),
    }
}

fn too_long(text: &str) -> Wrong {
    Wrong::new(format!("\"{}\" is longer than a year", shown(text)), "write at most 8760h")
}

/// `64kb`, `1mb`, `1gb` in steps of 1024 as in redis.conf, or a plain number of bytes.
pub(super) fn size(value: &Value) -> Result<u64, Wrong> {
    let text = match value {
        Value::Text(text) => text.trim(),
        Value::Integer(number) => {
            return u64::try_from(*number).map_err(|_| Wrong::new(format!("{number} is not a size"), SIZE));
        }
        other => return Err(misplaced(other, "a size", SIZE)),
    };
    let (number, unit) = number_and_unit(text);
    let unit = unit.to_ascii_lowercase();
    let shift = match unit.as_str() {
        "" if !number.is_empty() => 0,
        "kb" => 10,
        "mb" => 20,
        "gb" => 30,
        // In redis.conf `k` is 1000 and `kb` is 1024; nobody remembers which, so only one of them is taken.
        "k" | "m" | "g" if !number.is_empty() => {
            return Err(Wrong::new(
                format!("\"{}\" has the unknown unit {unit}", shown(text)),
                format!("write {number}{unit}b"),
            ));
        }
        _ => return Err(not(text, "a size", SIZE)),
    };
    let Ok(number) = number.parse::<u64>() else {
        return Err(not(text, "a size", SIZE));
    };
    number.checked_mul(1 << shift).ok_or_else(|| Wrong::new(format!("\"{}\" is too large", shown(text)), SIZE))
}

/// `10%` as 0.1; between 0% and 100%.
pub(super) fn share(value: &Value) -> Result<f64, Wrong> {
    let text = match value {
        Value::Text(text) => text.trim(),
        Value::Integer(number) => {
            return Err(Wrong::new(format!("{number} has no %"), SHARE));
        }
        Value::Float(number) => return Err(Wrong::new(format!("{number} has no %"), SHARE)),
        other => return Err(misplaced(other, "a share", SHARE)),
    };
    let number = text.strip_suffix('%').map(str::trim_end);
    let plain = |number: &&str| number.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let Some(Ok(number)) = number.filter(plain).map(str::parse::<f64>) else {
        return Err(not(text, "a share", SHARE));
    };
    if number > 100.0 {
        return Err(Wrong::new(format!("\"{}\" is more than 100%", shown(text)), "write a share between 0% and 100%"));
    }
    Ok(number / 100.0)
}

/// A whole number that fits the type asked for.
pub(super) fn count<T: TryFrom<i128>>(value: &Value) -> Result<T, Wrong> {
    const COUNT: &str = "write a whole number such as 100";
    match value {
        Value::Integer(number) => T::try_from(*number).map_err(|_| {
            let size = if *number < 0 { "below zero" } else { "too large" };
            Wrong::new(format!("{number} is {size}"), COUNT)
        }),
        Value::Text(text) => Err(not(text, "a number", COUNT)),
        other => Err(misplaced(other, "a whole number", COUNT)),
    }
}

/// Text; a number is refused because its spelling (leading zeros, 1e3) is lost before it gets here.
pub(super) fn text(value: &Value) -> Result<String, Wrong> {
    match value {
        Value::Text(text) if !text.is_empty() => Ok(text.clone()),
        Value::Text(_) => Err(Wrong::new("the text is empty", "write a text, or leave the key out")),
        Value::Bool(_) | Value::Integer(_) | Value::Float(_) => {
            Err(Wrong::new("this is a number or a truth value to YAML, not a text", "put it in quotes"))
        }
        other => Err(misplaced(other, "a text", "write one word or a text in quotes")),
    }
}

/// `true` or `false`.
pub(super) fn flag(value: &Value) -> Result<bool, Wrong> {
    const FLAG: &str = "write true or false";
    match value {
        Value::Bool(flag) => Ok(*flag),
        Value::Text(text) => Err(not(text, "true or false", FLAG)),
        other => Err(misplaced(other, "true or false", FLAG)),
    }
}

/// One word out of a fixed set.
pub(super) fn choice<T: Copy>(value: &Value, names: &[(&'static str, T)]) -> Result<T, Wrong> {
    let list = names.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    let Value::Text(text) = value else {
        return Err(misplaced(value, "one of a few words", &format!("write one of {list}")));
    };
    if let Some((_, choice)) = names.iter().find(|(name, _)| name == text) {
        return Ok(*choice);
    }
    let remedy = match nearest(text, names.iter().map(|(name, _)| *name)) {
        Some(near) => format!("did you mean {near}? The words are {list}"),
        None => format!("write one of {list}"),
    };
    Err(Wrong::new(format!("\"{}\" is not known here", shown(text)), remedy))
}

/// The fault of a value that has the wrong shape altogether.
pub(super) fn misplaced(value: &Value, wanted: &str, remedy: &str) -> Wrong {
    let found = match value {
        Value::Null => {
            return Wrong::new("the value is missing", format!("{remedy}, or leave the key out"));
        }
        Value::Bool(flag) => flag.to_string(),
        Value::Integer(number) => format!("the number {number}"),
        Value::Float(number) => format!("the number {number}"),
        Value::Text(text) => format!("the text \"{}\"", shown(text)),
        Value::List(_) => "a list".to_owned(),
        Value::Map(_) => "a map of keys".to_owned(),
    };
    Wrong::new(format!("{found} stands where {wanted} belongs"), remedy)
}

fn not(text: &str, wanted: &str, remedy: &str) -> Wrong {
    Wrong::new(format!("\"{}\" is not {wanted}", shown(text)), remedy)
}

/// Splits `250ms` into its digits and what follows them.
fn number_and_unit(text: &str) -> (&str, &str) {
    let end = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(end);
    (number, unit.trim_start())
}

/// A duration as it would be written: the largest unit that leaves no rest.
pub(super) fn show_duration(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    match milliseconds {
        0 => "0s".to_owned(),
        ms if ms % 1000 != 0 => format!("{ms}ms"),
        ms if ms % 60_000 != 0 => format!("{}s", ms / 1000),
        ms if ms % 3_600_000 != 0 => format!("{}m", ms / 60_000),
        ms => format!("{}h", ms / 3_600_000),
    }
}

/// A size as it would be written.
pub(super) fn show_size(size: u64) -> String {
    match size {
        0 => "0".to_owned(),
        size if size % (1 << 30) == 0 => format!("{}gb", size >> 30),
        size if size % (1 << 20) == 0 => format!("{}mb", size >> 20),
        size if size % (1 << 10) == 0 => format!("{}kb", size >> 10),
        size => size.to_string(),
    }
}

/// A share as it would be written.
pub(super) fn show_share(share: f64) -> String {
    // Rounded so that 0.07 is 7% and not 7.000000000000001%.
    format!("{}%", (share * 1e8).round() / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_value(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    #[test]
    fn durations_need_a_unit() {
        for (text, milliseconds) in [("250ms", 250), ("5s", 5000), ("5m", 300_000), ("1h", 3_600_000), ("0s", 0)] {
            let duration = duration(&text_value(text)).unwrap();
            assert_eq!(duration, Duration::from_millis(milliseconds), "{text}");
            assert_eq!(show_duration(duration), text);
        }
        for text in ["5", "", "s", "-5s", "1.5s", "5d", "1m30s", "99999999999999999999s", "8761h", "5 s s"] {
            assert!(duration(&text_value(text)).is_err(), "{text}");
        }
        assert_eq!(duration(&Value::Integer(5)).unwrap_err().problem, "5 has no unit");
        assert_eq!(duration(&text_value("5")).unwrap_err().problem, "\"5\" has no unit");
        assert!(duration(&Value::Integer(0)).unwrap_err().remedy.contains("0s"));
    }

    #[test]
    fn sizes_count_in_steps_of_1024() {
        for (text, bytes) in [("64kb", 65536), ("1mb", 1 << 20), ("1gb", 1 << 30), ("100", 100)] {
            assert_eq!(size(&text_value(text)).unwrap(), bytes, "{text}");
            assert_eq!(show_size(bytes), text);
        }
        assert_eq!(size(&text_value("1GB")).unwrap(), 1 << 30);
        assert_eq!(size(&Value::Integer(7)).unwrap(), 7);
        assert_eq!(size(&text_value("64k")).unwrap_err().remedy, "write 64kb");
        for text in ["", "kb", "-1kb", "1.5gb", "99999999999gb", "1tb"] {
            assert!(size(&text_value(text)).is_err(), "{text}");
        }
        assert!(size(&Value::Integer(-1)).is_err());
    }

    #[test]
    fn shares_lie_between_nothing_and_all() {
        for (text, value) in [("10%", 0.1), ("0%", 0.0), ("100%", 1.0), ("2.5%", 0.025)] {
            assert!((share(&text_value(text)).unwrap() - value).abs() < 1e-12, "{text}");
            assert_eq!(show_share(value), text);
        }
        for text in ["10", "%", "-1%", "101%", "NaN%", "inf%", "1e1%"] {
            assert!(share(&text_value(text)).is_err(), "{text}");
        }
    }
}
