//! The parts of frames that the tracked connection looks into.

use std::io;

use smallvec::SmallVec;

/// Hands on the keys that an invalidation tells of; `None` for all there are.
pub(super) fn push(frame: &[u8], mut changed: impl FnMut(Option<&[u8]>)) -> io::Result<()> {
    let fault = || io::Error::new(io::ErrorKind::InvalidData, "malformed invalidation push");
    let (_, rest) = line(frame).ok_or_else(fault)?;
    let Some(rest) = rest.strip_prefix(b"$10\r\ninvalidate\r\n") else {
        // Some other push; none was asked for.
        return Ok(());
    };
    if matches!(rest, b"_\r\n" | b"*-1\r\n" | b"$-1\r\n") {
        changed(None);
        return Ok(());
    }
    let (header, mut rest) = line(rest).ok_or_else(fault)?;
    let count = header.strip_prefix(b"*").and_then(integer).ok_or_else(fault)?;
    for _ in 0..count {
        let (header, body) = line(rest).ok_or_else(fault)?;
        let length = header.strip_prefix(b"$").and_then(integer).ok_or_else(fault)?;
        let length = usize::try_from(length).map_err(|_| fault())?;
        changed(Some(body.get(..length).ok_or_else(fault)?));
        rest = body.get(length + 2..).ok_or_else(fault)?;
    }
    Ok(())
}

/// `PTTL` of a job's keys, where it was told.
pub(super) type Expiries = SmallVec<[Option<i64>; 4]>;

/// The parts of an EXEC reply: expiries, then the value.
pub(super) fn unwrap(frame: &[u8], keys: usize) -> Option<(Expiries, &[u8])> {
    let (header, mut rest) = line(frame)?;
    if integer(header.strip_prefix(b"*")?)? != keys as i64 + 1 {
        return None;
    }
    let mut expiries = SmallVec::new();
    for _ in 0..keys {
        let (expiry, behind) = line(rest)?;
        expiries.push(expiry.strip_prefix(b":").and_then(integer));
        rest = behind;
    }
    Some((expiries, rest))
}

/// The first line of `bytes` without its end, and what follows.
pub(super) fn line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n")?;
    Some((&bytes[..end], &bytes[end + 2..]))
}

pub(super) fn integer(digits: &[u8]) -> Option<i64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}
