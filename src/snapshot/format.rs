//! The file: a header, records, an end, and a checksum over all of it. Numbers are little-endian.
//!
//! ```text
//! header   "LARDERNC", version u16, written at u64 (ms since 1970), owner: length u32 and text
//! record   1 u8, length u32 of what follows:
//!          database u16, flags u8, connection u32, age u64, life i64, left u64 (ms; u64::MAX: no end),
//!          lengths of command u8, key u32, arguments u32, reply u32, then these four
//! end      0 u8, number of records u64, CRC-32 u32 of every byte before it; nothing follows
//! ```
//!
//! A length is compared with what is left of the file before anything is made room for. What is not understood to the last byte is
//! refused as a whole: half a snapshot would be no more than a guess at which half is right.

use std::fmt;
use std::io::{self, Read, Write};

use crc::{CRC_32_ISO_HDLC, Crc, Digest, Table};

use crate::command::{Nulls, Shape};

/// Changes whenever the meaning of a byte does.
pub const VERSION: u16 = 1;

/// How every snapshot begins, whatever its version.
pub const MAGIC: [u8; 8] = *b"LARDERNC";
/// A byte costs a sixteenth of a step with a table of 16 kB, which matters where all of them are looked at.
static CRC32: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISO_HDLC);

/// As long as a configuration can be, from which it is made.
const MOST_OWNER: u32 = 1 << 20;
/// Bytes of a record before its command, behind its length.
const FIXED: usize = 2 + 1 + 4 + 8 + 8 + 8 + 1 + 4 + 4 + 4;
/// Bytes of the end.
const END: u64 = 1 + 8 + 4;

const SAME_IN_BOTH: u8 = 1;
const PAIRS: u8 = 2;
const NULL_ARRAY: u8 = 4;
const NEGATIVE: u8 = 8;

/// Whose replies they are, and as of when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// When the writing began, in milliseconds since 1970.
    pub written_at: u64,
    /// Which upstream they were read from.
    pub owner: String,
}

/// One cached reply. Times are in milliseconds from when the writing began.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Record<'a> {
    /// Database of the origin.
    pub database: u16,
    /// Full name of the command: rows have other numbers in another version.
    pub command: &'a str,
    /// The key.
    pub key: &'a [u8],
    /// The other arguments, as they were on the wire.
    pub args: &'a [u8],
    /// The reply.
    pub reply: &'a [u8],
    /// How the reply is rewritten for RESP2.
    pub shape: Shape,
    /// It needs no rewriting.
    pub same_in_both: bool,
    /// It says that something is not there.
    pub negative: bool,
    /// Replies with the same number were all true at one moment; nothing is known of those with 0.
    pub connection: u32,
    /// How long ago it was last known to be true.
    pub age: u64,
    /// How long it would still have been fresh; below 0 if its time was over.
    pub life: i64,
    /// How long the key itself still had at the origin, if it had an end.
    pub left: Option<u64>,
}

/// Why a snapshot is not used.
#[derive(Debug)]
pub enum Refused {
    /// It cannot be read at all.
    Io(io::Error),
    /// It is something else.
    Foreign,
    /// Another version of Larder has written it.
    Version(u16),
    /// It ends too early.
    Short,
    /// Something in it cannot be.
    Damaged(&'static str),
    /// It is larger than the near-cache may be.
    Large(u64),
    /// Its replies are those of another upstream.
    Owner(String),
    /// It was written in the future, by so many milliseconds.
    Future(u64),
    /// Others than its owner may write to it.
    Exposed(u32),
}

// === writing ===

/// Writes a snapshot.
pub struct Writer<W> {
    out: W,
    digest: Digest<'static, u32, Table<16>>,
    room: u64,
    count: u64,
    frame: Vec<u8>,
}

impl<W: Write> Writer<W> {
    /// Writes the header. `most`: bytes that the records may have.
    pub fn begin(out: W, header: &Header, most: u64) -> io::Result<Self> {
        let owner = header.owner.as_bytes();
        let length = u32::try_from(owner.len()).ok().filter(|length| *length <= MOST_OWNER);
        let length = length.ok_or_else(|| io::Error::other("the names of the upstream are too long"))?;
        let mut writer = Self { out, digest: CRC32.digest(), room: most, count: 0, frame: Vec::new() };
        writer.frame.extend(MAGIC);
        writer.frame.extend(VERSION.to_le_bytes());
        writer.frame.extend(header.written_at.to_le_bytes());
        writer.frame.extend(length.to_le_bytes());
        writer.frame.extend(owner);
        writer.flush_frame()?;
        Ok(writer)
    }

    /// Writes a record; `false` if there is no room for it.
    pub fn put(&mut self, record: &Record<'_>) -> io::Result<bool> {
        let Record { command, key, args, reply, .. } = *record;
        let length = FIXED + command.len() + key.len() + args.len() + reply.len();
        let (Ok(name), Ok(body)) = (u8::try_from(command.len()), u32::try_from(length)) else { return Ok(false) };
        let whole = u64::from(body) + 5;
        if whole > self.room {
            return Ok(false);
        }
        self.room -= whole;
        self.count += 1;
        let flags = [
            (record.same_in_both, SAME_IN_BOTH),
            (record.shape.pairs, PAIRS),
            (record.shape.nulls == Nulls::Array, NULL_ARRAY),
            (record.negative, NEGATIVE),
        ];
        let frame = &mut self.frame;
        frame.push(1);
        frame.extend(body.to_le_bytes());
        frame.extend(record.database.to_le_bytes());
        frame.push(flags.into_iter().filter(|(set, _)| *set).fold(0, |all, (_, flag)| all | flag));
        frame.extend(record.connection.to_le_bytes());
        frame.extend(record.age.to_le_bytes());
        frame.extend(record.life.to_le_bytes());
        frame.extend(record.left.unwrap_or(u64::MAX).to_le_bytes());
        frame.push(name);
        // All three are parts of what fits into 32 bits.
        [key, args, reply].into_iter().for_each(|part| frame.extend((part.len() as u32).to_le_bytes()));
        frame.extend(command.as_bytes());
        self.flush_frame()?;
        for part in [key, args, reply] {
            self.digest.update(part);
            self.out.write_all(part)?;
        }
        Ok(true)
    }

    /// Writes the end. How many records there are.
    pub fn finish(mut self) -> io::Result<(W, u64)> {
        self.frame.push(0);
        self.frame.extend(self.count.to_le_bytes());
        self.flush_frame()?;
        self.out.write_all(&self.digest.finalize().to_le_bytes())?;
        self.out.flush()?;
        Ok((self.out, self.count))
    }

    fn flush_frame(&mut self) -> io::Result<()> {
        self.digest.update(&self.frame);
        self.out.write_all(&self.frame)?;
        self.frame.clear();
        Ok(())
    }
}

// === reading ===

/// Reads a snapshot. Its records are worth nothing before [`Reader::next_record`] has said that there are no more.
pub struct Reader<R> {
    input: R,
    digest: Digest<'static, u32, Table<16>>,
    /// Bytes of the file that have not been read.
    left: u64,
    count: u64,
    body: Vec<u8>,
}

impl<R: Read> Reader<R> {
    /// Reads the header of a file of `length` bytes. `most`: bytes that the records may have.
    pub fn begin(input: R, length: u64, most: u64) -> Result<(Self, Header), Refused> {
        let mut reader = Self { input, digest: CRC32.digest(), left: length, count: 0, body: Vec::new() };
        match reader.array::<8>() {
            Ok(MAGIC) => {}
            Err(Refused::Io(error)) => return Err(Refused::Io(error)),
            _ => return Err(Refused::Foreign),
        }
        let version = u16::from_le_bytes(reader.array()?);
        if version != VERSION {
            return Err(Refused::Version(version));
        }
        let written_at = u64::from_le_bytes(reader.array()?);
        let owner = u32::from_le_bytes(reader.array()?);
        if owner > MOST_OWNER {
            return Err(Refused::Damaged("the name of its upstream cannot be so long"));
        }
        reader.fill(owner)?;
        let owner = String::from_utf8(std::mem::take(&mut reader.body));
        let owner = owner.map_err(|_| Refused::Damaged("the name of its upstream is no text"))?;
        if reader.left > most.saturating_add(END) {
            return Err(Refused::Large(length));
        }
        Ok((reader, Header { written_at, owner }))
    }

    /// The next record; `None` behind the last one of a snapshot that is whole.
    pub fn next_record(&mut self) -> Result<Option<Record<'_>>, Refused> {
        match self.array()? {
            [0] => self.end().map(|()| None),
            [1] => self.record().map(Some),
            _ => Err(Refused::Damaged("neither a record nor the end stands where one of them belongs")),
        }
    }

    fn record(&mut self) -> Result<Record<'_>, Refused> {
        const LENGTHS: Refused = Refused::Damaged("the lengths of a record do not fit");
        let length = u32::from_le_bytes(self.array()?);
        self.fill(length)?;
        self.count += 1;
        let mut rest = self.body.as_slice();
        let database = u16::from_le_bytes(take(&mut rest)?);
        let [flags] = take(&mut rest)?;
        let connection = u32::from_le_bytes(take(&mut rest)?);
        let age = u64::from_le_bytes(take(&mut rest)?);
        let life = i64::from_le_bytes(take(&mut rest)?);
        let left = u64::from_le_bytes(take(&mut rest)?);
        let [command] = take(&mut rest)?;
        let mut lengths = [usize::from(command), 0, 0, 0];
        for length in &mut lengths[1..] {
            *length = u32::from_le_bytes(take(&mut rest)?) as usize;
        }
        let mut parts = [rest; 4];
        for (part, length) in parts.iter_mut().zip(lengths) {
            (*part, rest) = rest.split_at_checked(length).ok_or(LENGTHS)?;
        }
        if !rest.is_empty() {
            return Err(LENGTHS);
        }
        if flags & !(SAME_IN_BOTH | PAIRS | NULL_ARRAY | NEGATIVE) != 0 {
            return Err(Refused::Damaged("a record has unknown flags"));
        }
        let [command, key, args, reply] = parts;
        let nulls = if flags & NULL_ARRAY != 0 { Nulls::Array } else { Nulls::Bulk };
        Ok(Record {
            database,
            command: std::str::from_utf8(command).map_err(|_| Refused::Damaged("a command's name is no text"))?,
            key,
            args,
            reply,
            shape: Shape { nulls, pairs: flags & PAIRS != 0 },
            same_in_both: flags & SAME_IN_BOTH != 0,
            negative: flags & NEGATIVE != 0,
            connection,
            age,
            life,
            left: (left != u64::MAX).then_some(left),
        })
    }

    fn end(&mut self) -> Result<(), Refused> {
        if u64::from_le_bytes(self.array()?) != self.count {
            return Err(Refused::Damaged("the number of its records is wrong"));
        }
        let sum = self.digest.clone().finalize();
        if u32::from_le_bytes(self.array()?) != sum {
            return Err(Refused::Damaged("the checksum is wrong"));
        }
        if self.left != 0 {
            return Err(Refused::Damaged("something follows the end"));
        }
        Ok(())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Refused> {
        let mut bytes = [0; N];
        self.left = self.left.checked_sub(N as u64).ok_or(Refused::Short)?;
        self.input.read_exact(&mut bytes).map_err(Refused::of)?;
        self.digest.update(&bytes);
        Ok(bytes)
    }

    /// Reads `length` bytes into `body`.
    fn fill(&mut self, length: u32) -> Result<(), Refused> {
        self.left = self.left.checked_sub(u64::from(length)).ok_or(Refused::Short)?;
        self.body.resize(length as usize, 0);
        self.input.read_exact(&mut self.body).map_err(Refused::of)?;
        self.digest.update(&self.body);
        Ok(())
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], Refused> {
    let (bytes, behind) = rest.split_first_chunk().ok_or(Refused::Damaged("a record is too short"))?;
    *rest = behind;
    Ok(*bytes)
}

// === impl Refused ===

impl Refused {
    fn of(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Short,
            _ => Self::Io(error),
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "it cannot be read: {error}"),
            Self::Foreign => f.write_str("it is no snapshot of Larder"),
            Self::Version(version) => {
                write!(f, "another version of Larder has written it (format {version}, this one knows {VERSION})")
            }
            Self::Short => f.write_str("it is cut off"),
            Self::Damaged(what) => write!(f, "it is damaged: {what}"),
            Self::Large(length) => write!(f, "its {length} bytes are more than near_cache.max_memory allows"),
            Self::Owner(owner) => write!(f, "it belongs to another upstream ({owner})"),
            Self::Future(ms) => {
                write!(
                    f,
                    "it was written {} s from now, so the clock was set and nobody knows how old it is",
                    ms / 1000
                )
            }
            Self::Exposed(mode) => write!(f, "others than its owner may write to it (mode {mode:04o})"),
        }
    }
}
