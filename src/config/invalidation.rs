//! Where a cache without tracking is told of changes: a pub/sub channel of a Redis.

use super::section::Section;
use super::units;

/// The channel on which changes of an upstream's keys are told.
#[derive(Clone, Debug, PartialEq)]
pub struct Invalidation {
    /// Name of the channel. Required.
    pub channel: String,
    /// The upstream, of a Redis kind, that passes the messages on. Required.
    pub upstream: String,
    /// Kind memcached: a message that no Larder has sent also deletes its keys there. Default: false.
    pub delete: bool,
}

impl Invalidation {
    pub(super) fn read(mut section: Section<'_>) -> Invalidation {
        const CHANNEL: &str = "add a name such as larder:pages";
        const UPSTREAM: &str = "add the name of an upstream of kind redis";
        let channel = section.required("channel", CHANNEL, units::text).unwrap_or_default();
        let upstream = section.required("upstream", UPSTREAM, units::text).unwrap_or_default();
        let delete = section.value("delete", false, units::flag);
        section.finish();
        Invalidation { channel, upstream, delete }
    }
}
