//! The hash ring of a memcached upstream: which of its nodes a key lies on.

use super::fault::Wrong;
use super::listener::{Address, endpoint};
use super::section::Section;
use super::tree::Value;
use super::units;

/// How keys are shared out among the nodes. The defaults are what libmemcached does with weighted ketama. Every client of the
/// same nodes has to be set alike: one that is not looks for keys where they are not.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ring {
    /// Which points of the ring a node gets. Default: ketama.
    pub distribution: Distribution,
    /// How a key becomes a place on the ring. Default: md5.
    pub hash: KeyHash,
    /// Two characters: where a key has something between the first of the one and the next of the other, only that decides where
    /// the key lies. Default: none.
    pub hash_tag: Option<[u8; 2]>,
    /// Shares of nodes that are not like the others. Default: 1 for each.
    pub weights: Vec<(Address, u32)>,
    /// Names of nodes on the ring. Default: host and port of the endpoint, without the port 11211; or its socket's path.
    pub names: Vec<(Address, String)>,
}

/// Which points of the ring a node gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Distribution {
    /// 160 points for each node, more or less by its weight, from the MD5 of its name: `distribution: ketama` of twemproxy and
    /// `KETAMA_WEIGHTED` of libmemcached.
    #[default]
    Ketama,
    /// 100 points for each node from the key hash of its name: `KETAMA` of libmemcached without weights.
    KetamaUnweighted,
}

/// How a key becomes a place on the ring. The names are those of twemproxy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyHash {
    /// The first four bytes of the MD5.
    #[default]
    Md5,
    /// 32 bits of FNV-1a with the 64 bit figures: twemproxy's default.
    Fnv1a64,
    /// FNV-1a in 32 bits.
    Fnv1a32,
    /// FNV-1 with the 64 bit figures.
    Fnv164,
    /// FNV-1 in 32 bits.
    Fnv132,
    /// 15 bits of a CRC-32, as libmemcached has it.
    Crc32,
    /// The whole CRC-32.
    Crc32a,
    /// Jenkins's one-at-a-time: libmemcached's default.
    OneAtATime,
}

/// The words of the file.
pub(crate) const DISTRIBUTIONS: [(&str, Distribution); 2] =
    [("ketama", Distribution::Ketama), ("ketama-unweighted", Distribution::KetamaUnweighted)];

pub(crate) const HASHES: [(&str, KeyHash); 8] = [
    ("md5", KeyHash::Md5),
    ("fnv1a_64", KeyHash::Fnv1a64),
    ("fnv1a_32", KeyHash::Fnv1a32),
    ("fnv1_64", KeyHash::Fnv164),
    ("fnv1_32", KeyHash::Fnv132),
    ("crc32", KeyHash::Crc32),
    ("crc32a", KeyHash::Crc32a),
    ("one_at_a_time", KeyHash::OneAtATime),
];

/// The port that is not part of a node's name, since it is memcached's own.
const UNNAMED_PORT: u16 = 11_211;

/// Longest name: twemproxy cuts them at 85 bytes with the number of a point.
const MOST_NAME_BYTES: usize = 64;

impl Ring {
    pub(super) fn read(mut section: Section<'_>) -> Ring {
        let default = Ring::default();
        let ring = Ring {
            distribution: section
                .value("distribution", default.distribution, |value| units::choice(value, &DISTRIBUTIONS)),
            hash: section.value("hash", default.hash, |value| units::choice(value, &HASHES)),
            hash_tag: section.optional("hash_tag", hash_tag),
            weights: section.by_address("weights", endpoint, weight),
            names: section.by_address("names", endpoint, name),
        };
        section.finish();
        ring
    }

    /// The share of a node.
    pub fn weight_of(&self, endpoint: &Address) -> u32 {
        self.weights.iter().find(|(named, _)| named == endpoint).map_or(1, |(_, weight)| *weight)
    }

    /// The name from which a node's points are made: the one that was given; else, as in libmemcached and twemproxy, the host
    /// with the port unless that is 11211, or the path of a Unix socket.
    pub fn name_of(&self, endpoint: &Address) -> String {
        if let Some((_, name)) = self.names.iter().find(|(named, _)| named == endpoint) {
            return name.clone();
        }
        match endpoint {
            Address::Tcp { host, port: UNNAMED_PORT } => host.clone(),
            Address::Tcp { host, port } => format!("{host}:{port}"),
            Address::Unix(path) => path.display().to_string(),
        }
    }

    /// How many groups of points a node of this weight gets among `nodes` whose weights add up to `total`: four points each with
    /// [`Distribution::Ketama`], one with the other.
    pub fn groups(&self, weight: u32, total: u64, nodes: usize) -> u32 {
        match self.distribution {
            Distribution::KetamaUnweighted => 100,
            Distribution::Ketama => {
                // Step by step in single precision, as the others do it: where a product falls just below a whole number, so does theirs.
                let share = weight as f32 / total as f32;
                let groups = share * 160.0 / 4.0 * nodes as f32;
                (f64::from(groups) + 0.000_000_000_1) as f32 as u32
            }
        }
    }
}

/// Two printable characters.
fn hash_tag(value: &Value) -> Result<[u8; 2], Wrong> {
    let text = units::text(value)?;
    match <[u8; 2]>::try_from(text.as_bytes()) {
        Ok(tag) if tag.iter().all(u8::is_ascii_graphic) => Ok(tag),
        _ => Err(Wrong::new(
            format!("\"{}\" is not two characters", super::fault::shown(&text)),
            "write the opening and the closing character, such as \"{}\" in quotes",
        )),
    }
}

/// At least 1: a node without a share would own no key.
fn weight(value: &Value) -> Result<u32, Wrong> {
    match units::count(value)? {
        0 => Err(Wrong::new(
            "a node of weight 0 would own no key",
            "write a weight of at least 1, or remove the endpoint",
        )),
        weight => Ok(weight),
    }
}

fn name(value: &Value) -> Result<String, Wrong> {
    let name = units::text(value)?;
    match name.len() {
        0..=MOST_NAME_BYTES => Ok(name),
        _ => Err(Wrong::new(
            format!("a name of {} bytes is too long", name.len()),
            format!("write at most {MOST_NAME_BYTES} bytes"),
        )),
    }
}
