//! What is kept: one allocation per cached reply.
//!
//! An entry belongs to (upstream, key) and is a chain of forms, one per (database, exact command), newest first. The
//! chain is never changed in place: a new form is put before it. Key, arguments and reply lie behind the header in
//! one piece of memory that belongs to the cache alone, so that no read buffer is kept alive by a small value.

use std::hash::{Hash, Hasher};

use quick_cache::Equivalent;
use triomphe::ThinArc;

use super::coverage::Stamp;
use crate::clock::Micros;
use crate::command::{Nulls, Shape};

/// Replies of one key: the newest form and the chain behind it.
#[derive(Clone, Debug)]
pub struct Entry(ThinArc<Form, u8>);

/// The facts of one cached reply.
///
/// In this order, because what a hit looks at should lie together, right before the key and the reply.
#[derive(Debug)]
#[repr(C)]
pub struct Form {
    /// Hash of (upstream, key), as the store uses it.
    pub hash: u64,
    /// When its request was sent: its age counts from here. Later reads of a connection have later ones.
    pub read_at: Micros,
    /// Bytes of this form and of the chain behind it, overhead included.
    weight: u32,
    /// Number of the upstream.
    pub upstream: u16,
    /// Number of the command's row.
    pub command: u16,
    /// The next form of the same key.
    next: Option<Entry>,
    /// Under which coverage it was read.
    pub stamp: Stamp,
    /// Not served as fresh from here on.
    pub expires_at: Micros,
    key_len: u32,
    args_len: u32,
    /// Database of the origin.
    pub database: u16,
    flags: u8,
    /// Milliseconds from `expires_at` to the key's own end at the origin; [`ENDLESS`]: it has none, or one far away.
    left: u32,
}

/// No end that could be met: 49 days is longer than any stale answer is allowed to be.
const ENDLESS: u32 = u32::MAX;

/// A key has at most this many cached forms; the older half goes when one more comes.
pub const MAX_FORMS: usize = 128;

/// What an entry costs beyond its own allocation: its slot in the store (key and value handles, links, state), the
/// hash index, and the allocator's rounding. Measured with a million entries; see `docs/decisions`.
pub const SLOT_OVERHEAD: u32 = 72;

const SAME_IN_BOTH: u8 = 1;
const PAIRS: u8 = 2;
const NULL_ARRAY: u8 = 4;
const NEGATIVE: u8 = 8;

/// Everything a form is made of.
#[derive(Clone, Copy, Debug)]
pub struct Parts<'a> {
    /// Hash of (upstream, key).
    pub hash: u64,
    /// Number of the upstream.
    pub upstream: u16,
    /// Database of the origin.
    pub database: u16,
    /// Number of the command's row.
    pub command: u16,
    /// The key.
    pub key: &'a [u8],
    /// The command's other arguments, as they were on the wire.
    pub args: &'a [u8],
    /// The reply as the origin sends it to a RESP3 client.
    pub reply: &'a [u8],
    /// How the reply is rewritten for RESP2.
    pub shape: Shape,
    /// The reply needs no rewriting for RESP2.
    pub same_in_both: bool,
    /// It says that something is not there.
    pub negative: bool,
    /// Under which coverage it was read.
    pub stamp: Stamp,
    /// When its request was sent.
    pub read_at: Micros,
    /// Not served as fresh from here on.
    pub expires_at: Micros,
    /// When the key itself expires at the origin, not before `expires_at`.
    pub ends_at: Micros,
}

impl Entry {
    /// Copies the parts into an entry of one form.
    pub fn new(parts: &Parts<'_>) -> Self {
        Self::before(None, parts)
    }

    /// Copies the parts into a form in front of those of `older` that are still of use (`keep`).
    pub fn in_front_of(older: &Self, parts: &Parts<'_>, keep: impl Fn(&Form) -> bool) -> Self {
        let same = |form: &Entry| form.matches(parts.database, parts.command, parts.args);
        let all_stay = older.forms().all(|form| keep(form.facts()) && !same(form));
        if all_stay && older.forms().count() < MAX_FORMS {
            return Self::before(Some(older.clone()), parts);
        }
        // Rare: something in the chain has to go, so the rest of it is laid anew, oldest first.
        let kept: Vec<&Entry> =
            older.forms().filter(|form| keep(form.facts()) && !same(form)).take(MAX_FORMS / 2).collect();
        let chain = kept.into_iter().rev().fold(None, |next, form| Some(Self::before(next, &form.parts())));
        Self::before(chain, parts)
    }

    fn before(next: Option<Self>, parts: &Parts<'_>) -> Self {
        let Parts { key, args, reply, .. } = *parts;
        let length = key.len() + args.len() + reply.len();
        let mut bytes = Vec::with_capacity(length);
        bytes.extend_from_slice(key);
        bytes.extend_from_slice(args);
        bytes.extend_from_slice(reply);
        let own = size_of::<Form>() + 2 * size_of::<usize>() + length;
        let behind = next.as_ref().map_or(0, |form| form.facts().weight);
        let form = Form {
            next,
            hash: parts.hash,
            stamp: parts.stamp,
            expires_at: parts.expires_at,
            left: u32::try_from(parts.ends_at.since(parts.expires_at).0 / 1000).unwrap_or(ENDLESS),
            read_at: parts.read_at,
            weight: u32::try_from(own).unwrap_or(u32::MAX).saturating_add(behind),
            key_len: key.len() as u32,
            args_len: args.len() as u32,
            command: parts.command,
            database: parts.database,
            upstream: parts.upstream,
            flags: [
                (parts.same_in_both, SAME_IN_BOTH),
                (parts.shape.pairs, PAIRS),
                (parts.shape.nulls == Nulls::Array, NULL_ARRAY),
                (parts.negative, NEGATIVE),
            ]
            .into_iter()
            .fold(0, |flags, (set, flag)| if set { flags | flag } else { flags }),
        };
        Self(ThinArc::from_header_and_slice(form, &bytes))
    }

    /// The facts of the newest form.
    #[inline]
    pub fn facts(&self) -> &Form {
        &self.0.header.header
    }

    /// The key.
    #[inline]
    pub fn key(&self) -> &[u8] {
        &self.0.slice[..self.facts().key_len as usize]
    }

    /// The wire bytes of the other arguments.
    #[inline]
    pub fn args(&self) -> &[u8] {
        let start = self.facts().key_len as usize;
        &self.0.slice[start..start + self.facts().args_len as usize]
    }

    /// The reply as a RESP3 client gets it.
    #[inline]
    pub fn reply(&self) -> &[u8] {
        &self.0.slice[(self.facts().key_len + self.facts().args_len) as usize..]
    }

    /// The newest form for this very command, if there is one.
    #[inline]
    pub fn form(&self, database: u16, command: u16, args: &[u8]) -> Option<&Self> {
        self.forms().find(|form| form.matches(database, command, args))
    }

    /// All forms, newest first.
    pub fn forms(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |form| form.facts().next.as_ref())
    }

    /// Bytes of key, other arguments and reply: what `near_cache.max_entry` bounds.
    pub fn size(&self) -> u64 {
        self.0.slice.len() as u64
    }

    /// Bytes of all forms, overhead included: what the budget is charged.
    pub fn weight(&self) -> u64 {
        u64::from(self.facts().weight) + u64::from(SLOT_OVERHEAD)
    }

    #[inline]
    fn matches(&self, database: u16, command: u16, args: &[u8]) -> bool {
        let form = self.facts();
        form.command == command && form.database == database && self.args() == args
    }

    fn parts(&self) -> Parts<'_> {
        let form = self.facts();
        Parts {
            hash: form.hash,
            upstream: form.upstream,
            database: form.database,
            command: form.command,
            key: self.key(),
            args: self.args(),
            reply: self.reply(),
            shape: form.shape(),
            same_in_both: form.same_in_both(),
            negative: form.negative(),
            stamp: form.stamp,
            read_at: form.read_at,
            expires_at: form.expires_at,
            ends_at: form.ends_at(),
        }
    }
}

impl Form {
    /// How the reply is rewritten for RESP2.
    pub fn shape(&self) -> Shape {
        let nulls = if self.flags & NULL_ARRAY != 0 { Nulls::Array } else { Nulls::Bulk };
        Shape { nulls, pairs: self.flags & PAIRS != 0 }
    }

    /// The reply is the same bytes in RESP2.
    #[inline]
    pub fn same_in_both(&self) -> bool {
        self.flags & SAME_IN_BOTH != 0
    }

    /// When the key itself expires at the origin, to the millisecond before.
    pub fn ends_at(&self) -> Micros {
        if self.left == ENDLESS { Micros::NEVER } else { self.expires_at.plus(Micros(u64::from(self.left) * 1000)) }
    }

    /// The reply says that something is not there.
    pub fn negative(&self) -> bool {
        self.flags & NEGATIVE != 0
    }
}

// === impl Slot ===

/// The store's key: the entry itself, seen as its (upstream, key). Costs no second copy of the key.
#[derive(Clone, Debug)]
pub struct Slot(pub Entry);

/// How an entry is looked for.
#[derive(Clone, Copy, Debug)]
pub struct Address<'a> {
    /// Hash of upstream and key.
    pub hash: u64,
    /// Number of the upstream.
    pub upstream: u16,
    /// The key.
    pub key: &'a [u8],
}

/// Which reply is looked for.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    /// Hash of upstream and key: [`super::NearCache::hash`].
    pub hash: u64,
    /// Number of the upstream.
    pub upstream: u16,
    /// Database of the origin.
    pub database: u16,
    /// Number of the command's row.
    pub command: u16,
    /// The key.
    pub key: &'a [u8],
    /// The command's other arguments, as they were on the wire.
    pub args: &'a [u8],
}

impl<'a> Query<'a> {
    /// Where its entry is.
    #[inline]
    pub fn address(&self) -> Address<'a> {
        Address { hash: self.hash, upstream: self.upstream, key: self.key }
    }
}

impl Hash for Slot {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0.facts().hash);
    }
}

impl Hash for Address<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl PartialEq for Slot {
    fn eq(&self, other: &Self) -> bool {
        self.0.facts().upstream == other.0.facts().upstream && self.0.key() == other.0.key()
    }
}

impl Eq for Slot {}

impl Equivalent<Slot> for Address<'_> {
    #[inline]
    fn equivalent(&self, slot: &Slot) -> bool {
        self.upstream == slot.0.facts().upstream && self.key == slot.0.key()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn form(stamp: Stamp, expires_at: Micros) -> Form {
        Form {
            next: None,
            hash: 0,
            stamp,
            expires_at,
            read_at: Micros(0),
            weight: 0,
            key_len: 0,
            args_len: 0,
            command: 0,
            database: 0,
            upstream: 0,
            flags: 0,
            left: ENDLESS,
        }
    }

    pub(crate) fn parts<'a>(key: &'a [u8], args: &'a [u8], reply: &'a [u8]) -> Parts<'a> {
        Parts {
            hash: 7,
            upstream: 0,
            database: 0,
            command: 1,
            key,
            args,
            reply,
            shape: Shape { nulls: Nulls::Bulk, pairs: false },
            same_in_both: true,
            negative: false,
            stamp: Stamp(1 << 32),
            read_at: Micros(1),
            expires_at: Micros(100),
            ends_at: Micros::NEVER,
        }
    }

    #[test]
    fn the_end_of_a_key_is_kept_to_the_millisecond_before_and_only_if_it_can_be_met() {
        let ends_at = |ends_at| Entry::new(&Parts { ends_at, ..parts(b"k", b"", b"+1\r\n") }).facts().ends_at();
        assert_eq!(ends_at(Micros(100)), Micros(100));
        assert_eq!(ends_at(Micros(5_000_999)), Micros(5_000_100));
        assert_eq!(ends_at(Micros::NEVER), Micros::NEVER);
        assert_eq!(ends_at(Micros(1 << 53)), Micros::NEVER);
    }

    #[test]
    fn forms_of_a_key_are_told_apart_by_database_command_and_exact_arguments() {
        let entry = Entry::new(&parts(b"k", b"$1\r\na\r\n", b"+1\r\n"));
        let entry = Entry::in_front_of(&entry, &parts(b"k", b"$1\r\nb\r\n", b"+2\r\n"), |_| true);
        let entry = Entry::in_front_of(&entry, &Parts { database: 3, ..parts(b"k", b"", b"+3\r\n") }, |_| true);
        let reply = |db, command, args: &[u8]| entry.form(db, command, args).map(|form| form.reply().to_vec());
        assert_eq!(reply(0, 1, b"$1\r\na\r\n").as_deref(), Some(&b"+1\r\n"[..]));
        assert_eq!(reply(0, 1, b"$1\r\nb\r\n").as_deref(), Some(&b"+2\r\n"[..]));
        assert_eq!(reply(3, 1, b"").as_deref(), Some(&b"+3\r\n"[..]));
        assert_eq!(reply(0, 1, b""), None);
        assert_eq!(reply(0, 2, b"$1\r\na\r\n"), None);
    }

    #[test]
    fn a_new_reply_takes_the_place_of_the_old_one_of_the_same_form() {
        let entry = Entry::new(&parts(b"k", b"", b"+old\r\n"));
        let entry = Entry::in_front_of(&entry, &parts(b"k", b"", b"+new\r\n"), |_| true);
        assert_eq!(entry.forms().count(), 1);
        assert_eq!(entry.reply(), b"+new\r\n");
    }

    #[test]
    fn a_key_with_endlessly_many_forms_keeps_the_newest_and_stays_bounded() {
        let args: Vec<Vec<u8>> = (0..1000).map(|n| format!("$4\r\n{n:04}\r\n").into_bytes()).collect();
        let mut entry = Entry::new(&parts(b"k", &args[0], b"+0\r\n"));
        for arg in &args[1..] {
            entry = Entry::in_front_of(&entry, &parts(b"k", arg, b"+0\r\n"), |_| true);
        }
        assert!(entry.forms().count() <= MAX_FORMS);
        assert!(entry.form(0, 1, &args[999]).is_some() && entry.form(0, 1, &args[0]).is_none());
    }
}
