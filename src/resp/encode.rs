//! The one place where a reply of Larder's own is written. Everything appends to the caller's buffer.
//!
//! A function takes the client's [`Proto`] where the two protocol versions differ and picks the form that Redis picks.

use super::{Proto, number};

/// A bulk string: `$len`, then the bytes.
#[inline]
pub fn bulk(out: &mut Vec<u8>, body: &[u8]) {
    out.reserve(body.len() + 16);
    out.push(b'$');
    number::write_length(out, body.len());
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(body);
    out.extend_from_slice(b"\r\n");
}

/// An integer: `:n`.
#[inline]
pub fn integer(out: &mut Vec<u8>, value: i64) {
    out.push(b':');
    number::write(out, value);
    out.extend_from_slice(b"\r\n");
}

/// A status: `+text`. Line ends in the text become spaces.
pub fn simple(out: &mut Vec<u8>, text: &str) {
    line(out, b'+', text);
}

/// An error: `-ERR text`, the code included. Line ends in the text become spaces, so that what a client sent can be
/// quoted without letting it write a reply.
pub fn error(out: &mut Vec<u8>, text: &str) {
    line(out, b'-', text);
}

fn line(out: &mut Vec<u8>, kind: u8, text: &str) {
    out.push(kind);
    out.extend(text.bytes().map(one_line));
    out.extend_from_slice(b"\r\n");
}

/// A byte as it may stand in a line: Redis, too, puts a space for CR and for LF.
pub(super) fn one_line(byte: u8) -> u8 {
    if matches!(byte, b'\r' | b'\n') { b' ' } else { byte }
}

/// The status `OK`.
#[inline]
pub fn ok(out: &mut Vec<u8>) {
    out.extend_from_slice(b"+OK\r\n");
}

/// No value, where one would be a string or a number.
#[inline]
pub fn null(out: &mut Vec<u8>, proto: Proto) {
    out.extend_from_slice(match proto {
        Proto::Resp2 => b"$-1\r\n",
        Proto::Resp3 => b"_\r\n",
    });
}

/// No value, where one would be an array.
pub fn null_array(out: &mut Vec<u8>, proto: Proto) {
    out.extend_from_slice(match proto {
        Proto::Resp2 => b"*-1\r\n",
        Proto::Resp3 => b"_\r\n",
    });
}

/// The head of an array; `len` elements are to follow.
#[inline]
pub fn array(out: &mut Vec<u8>, len: usize) {
    head(out, b'*', len);
}

/// The head of a map; `len` pairs are to follow, key before value.
pub fn map(out: &mut Vec<u8>, proto: Proto, len: usize) {
    match proto {
        Proto::Resp2 => head(out, b'*', len.saturating_mul(2)),
        Proto::Resp3 => head(out, b'%', len),
    }
}

/// The head of a set; `len` elements are to follow.
pub fn set(out: &mut Vec<u8>, proto: Proto, len: usize) {
    match proto {
        Proto::Resp2 => head(out, b'*', len),
        Proto::Resp3 => head(out, b'~', len),
    }
}

/// The head of a push; `len` elements are to follow. RESP3 only: what RESP2 subscribers get is an [`array()`].
pub fn push(out: &mut Vec<u8>, len: usize) {
    head(out, b'>', len);
}

#[inline]
pub(super) fn head(out: &mut Vec<u8>, kind: u8, len: usize) {
    out.push(kind);
    number::write_length(out, len);
    out.extend_from_slice(b"\r\n");
}

/// A floating point number, in the digits that Redis 7.0 writes (C's `%.17g`, and `inf`, `-inf`, `nan`): a bulk string
/// in RESP2, `,1.5` in RESP3.
pub fn double(out: &mut Vec<u8>, proto: Proto, value: f64) {
    let text = seventeen_digits(value);
    match proto {
        Proto::Resp2 => bulk(out, text.as_bytes()),
        Proto::Resp3 => line(out, b',', &text),
    }
}

/// C's `%.17g`: 17 significant digits, trailing zeros dropped, an exponent below 1e-4 and from 1e17 on.
fn seventeen_digits(value: f64) -> String {
    if value.is_nan() {
        return "nan".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    // Rust rounds correctly at any number of digits, as the C library does; the exponent after rounding decides.
    let scientific = format!("{value:.16e}");
    let Some((mantissa, exponent)) = scientific.split_once('e') else {
        return scientific;
    };
    let power: i32 = exponent.parse().unwrap_or(0);
    if (-4..17).contains(&power) {
        // 17 significant digits leave this many for the fraction; never negative, since `power` is at most 16.
        return trimmed(&format!("{value:.*}", (16 - power).unsigned_abs() as usize)).to_owned();
    }
    let sign = if power < 0 { '-' } else { '+' };
    format!("{}e{sign}{:02}", trimmed(mantissa), power.unsigned_abs())
}

/// Without the zeros behind the last digit of a fraction.
fn trimmed(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

/// A truth value: `:1` or `:0` in RESP2, `#t` or `#f` in RESP3.
pub fn boolean(out: &mut Vec<u8>, proto: Proto, value: bool) {
    out.extend_from_slice(match (proto, value) {
        (Proto::Resp2, true) => b":1\r\n",
        (Proto::Resp2, false) => b":0\r\n",
        (Proto::Resp3, true) => b"#t\r\n",
        (Proto::Resp3, false) => b"#f\r\n",
    });
}

/// Text that a client is to show as it is (`INFO`); `format` is `txt` or `mkd`. A plain bulk string in RESP2.
pub fn verbatim(out: &mut Vec<u8>, proto: Proto, format: &str, body: &[u8]) {
    debug_assert_eq!(format.len(), 3, "the protocol gives the format three bytes");
    match proto {
        Proto::Resp2 => bulk(out, body),
        Proto::Resp3 => {
            head(out, b'=', format.len() + 1 + body.len());
            out.extend_from_slice(format.as_bytes());
            out.push(b':');
            out.extend_from_slice(body);
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// A request of Larder's own: an array of bulk strings.
pub fn command(out: &mut Vec<u8>, args: &[&[u8]]) {
    array(out, args.len());
    for arg in args {
        bulk(out, arg);
    }
}

#[cfg(test)]
mod tests;
