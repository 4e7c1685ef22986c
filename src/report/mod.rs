//! What is told of the running process, as data: INFO, LARDER LADDER, NODES, HOTKEYS and STATS, `/state`, the dashboard and `larder top`
//! are renderings of it, so that they cannot disagree.
//!
//! * [`figures`]: the numbers of `/metrics` under their short names;
//! * [`upstreams`]: where each upstream stands as a whole;
//! * [`ladder`]: where each server stands on each ladder;
//! * [`nodes`]: the servers, and whether what was read from them is covered;
//! * [`hotkeys`]: the keys that are read most;
//! * [`readiness`]: whether clients should be sent here;
//! * [`state`]: all of these in one, which is what `/state` shows.

pub mod figures;
pub mod hotkeys;
pub mod ladder;
pub mod latency;
pub mod nodes;
pub mod readiness;
pub mod sampler;
pub mod state;
pub mod upstreams;
