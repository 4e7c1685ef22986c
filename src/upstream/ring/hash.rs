//! The hashes by which keys and nodes get their places.
//!
//! FNV and one-at-a-time are written in C with `char`, which has a sign on x86-64 and none on ARM. What the others do with keys
//! that are not ASCII therefore depends on the machine they were built for; here it is what they do on x86-64.

use md5::{Digest, Md5};

use crate::config::KeyHash;

/// The place of a text.
#[inline]
pub fn hash(hash: KeyHash, text: &[u8]) -> u32 {
    match hash {
        KeyHash::Md5 => four(text)[0],
        KeyHash::Fnv1a64 => fnv1a(FNV_64, text),
        KeyHash::Fnv1a32 => fnv1a(FNV_32, text),
        KeyHash::Fnv164 => fnv1(FNV_64, text),
        KeyHash::Fnv132 => fnv1(FNV_32, text),
        KeyHash::Crc32 => (crc32(text) >> 16) & 0x7fff,
        KeyHash::Crc32a => crc32(text),
        KeyHash::OneAtATime => one_at_a_time(text),
    }
}

/// The four places that an MD5 gives.
pub fn four(text: &[u8]) -> [u32; 4] {
    let digest = Md5::digest(text);
    std::array::from_fn(|place| {
        let bytes = &digest[place * 4..];
        u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
    })
}

/// Where to start, and the prime.
type Fnv = (u32, u32);

const FNV_32: Fnv = (2_166_136_261, 16_777_619);
/// The lower halves of the figures for 64 bits. Nothing of the upper halves ever gets into the lower 32 bits of the outcome, which
/// is all that counts here.
const FNV_64: Fnv = (0xcbf2_9ce4_8422_2325_u64 as u32, 0x0100_0000_01b3_u64 as u32);

fn fnv1a((start, prime): Fnv, text: &[u8]) -> u32 {
    text.iter().fold(start, |hash, byte| (hash ^ signed(*byte)).wrapping_mul(prime))
}

fn fnv1((start, prime): Fnv, text: &[u8]) -> u32 {
    text.iter().fold(start, |hash, byte| hash.wrapping_mul(prime) ^ signed(*byte))
}

fn one_at_a_time(text: &[u8]) -> u32 {
    let mut hash = 0_u32;
    for byte in text {
        hash = hash.wrapping_add(signed(*byte));
        hash = hash.wrapping_add(hash << 10);
        hash ^= hash >> 6;
    }
    hash = hash.wrapping_add(hash << 3);
    hash ^= hash >> 11;
    hash.wrapping_add(hash << 15)
}

fn crc32(text: &[u8]) -> u32 {
    use crc::{CRC_32_ISO_HDLC, Crc, Table};
    static CRC32: Crc<u32, Table<1>> = Crc::<u32, Table<1>>::new(&CRC_32_ISO_HDLC);
    CRC32.checksum(text)
}

/// A byte as C's `char` on x86-64 becomes 32 bits: its sign goes on to the left.
fn signed(byte: u8) -> u32 {
    i32::from(byte as i8) as u32
}
