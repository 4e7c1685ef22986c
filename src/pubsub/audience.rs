//! How many listen to a name: the upstream knows Larder as one subscriber, Larder knows its own clients.

use super::Hub;
use crate::resp::{encode, number};
use crate::upstream::subscriber::Kind;

impl Hub {
    /// Writes a reply of PUBSUB NUMSUB or SHARDNUMSUB with the numbers set right; any other reply as it is.
    pub fn set_right(&self, kind: Kind, reply: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        if self.counted_anew(kind, reply, out).is_none() {
            out.truncate(start);
            out.extend_from_slice(reply);
        }
    }

    fn counted_anew(&self, kind: Kind, reply: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let (elements, mut at) = number::length(reply.strip_prefix(b"*")?, 0)?;
        at += 1;
        encode::array(out, elements);
        for _ in 0..elements / 2 {
            let rest = reply.get(at..)?;
            let (length, start) = number::length(rest.strip_prefix(b"$")?, 0)?;
            let name = rest.get(start + 1..start + 1 + length)?;
            let line = rest.get(start + 1 + length + 2..)?;
            let end = line.windows(2).position(|pair| pair == b"\r\n")?;
            let told = number::integer(line.get(..end)?.strip_prefix(b":")?)?;
            at += start + 1 + length + 2 + end + 2;
            let audience = self.audience(kind, name);
            let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
            // Between the upstream's word and ours a subscription may have come or gone.
            let others = told.saturating_sub(number(audience.upstream)).max(0);
            encode::bulk(out, name);
            encode::integer(out, others.saturating_add(number(audience.members)));
        }
        (at == reply.len()).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_list_of_numbers_passes_unchanged() {
        let hub = Hub::default();
        for reply in [
            &b"-ERR no\r\n"[..],
            b"*0\r\n",
            b"*2\r\n$1\r\na\r\n:3\r\n",
            b"*2\r\n$1\r\na\r\n$1\r\n3\r\n",
            b"*2\r\n$9\r\na\r\n",
        ] {
            let mut out = b"before".to_vec();
            hub.set_right(Kind::Channel, reply, &mut out);
            assert_eq!(out, [b"before", reply].concat());
        }
    }
}
