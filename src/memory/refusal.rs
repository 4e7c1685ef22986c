//! The error replies that only this store gives.

use crate::keyvalue::Refusal;

impl Refusal {
    pub(super) const BIT: Self = Self::new("ERR bit is not an integer or out of range");
    pub(super) const BITFIELD_READ_ONLY: Self = Self::new("ERR BITFIELD_RO only supports the GET subcommand");
    pub(super) const BITFIELD_TYPE: Self =
        Self::new("ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.");
    pub(super) const BITOP_NOT: Self = Self::new("ERR BITOP NOT must be called with a single source key.");
    pub(super) const BIT_OFFSET: Self = Self::new("ERR bit offset is not an integer or out of range");
    pub(super) const BIT_VALUE: Self = Self::new("ERR The bit argument must be 1 or 0.");
    pub(super) const CURSOR: Self = Self::new("ERR invalid cursor");
    pub(super) const FIRST_DATABASE: Self = Self::new("ERR invalid first DB index");
    pub(super) const INT_RANGE: Self =
        Self::new("ERR value is out of range, value must between -2147483648 and 2147483647");
    pub(super) const LCS_MEMORY: Self =
        Self::new("ERR Insufficient memory, failed allocating transient memory for LCS");
    pub(super) const LCS_OPTIONS: Self = Self::new("ERR If you want both the length and indexes, please just use IDX.");
    pub(super) const NO_FREQUENCY: Self = Self::new(
        "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching \
         between policies at runtime LRU and LFU data will take some time to adjust.",
    );
    pub(super) const NO_SUCH_KEY: Self = Self::new("ERR no such key");
    pub(super) const OFFSET: Self = Self::new("ERR offset is out of range");
    pub(super) const OVERFLOW_TYPE: Self = Self::new("ERR Invalid OVERFLOW type specified");
    pub(super) const SAME_OBJECT: Self = Self::new("ERR source and destination objects are the same");
    pub(super) const SECOND_DATABASE: Self = Self::new("ERR invalid second DB index");

    pub(super) fn not_served(name: &str) -> Self {
        let name = name.replace('|', " ").to_uppercase();
        Self::of(format!(
            "ERR the memory upstream does not serve {name}: it keeps strings only; point Larder at a Redis with --upstream \
             redis://host:port"
        ))
    }
}
