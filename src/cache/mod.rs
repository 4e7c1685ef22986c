//! The near-cache: replies of hot keys, kept in this process, coherent with their origin.
//!
//! ```text
//!   read ──> NearCache::find ──> fresh entry ──────────────────────────────────> reply
//!                    │ miss
//!                    └─> NearCache::join ─> Lead(fill) ─> tracked connection ─> NearCache::finish
//!                                        ├> Follow   (another's fill will answer)
//!                                        └> Bypass   (fenced, not covered: the origin answers, nothing is kept)
//!   write ─> NearCache::fence ─> origin ─> NearCache::lift ─> reply
//!   push ──> NearCache::invalidate
//! ```
//!
//! * [`entry`]: one allocation per cached reply; an entry of a key is the chain of its replies.
//! * [`freshness`]: THE function that says whether a reply may be served.
//! * [`coverage`]: whether pushes for an endpoint's entries are arriving, as one word to compare.
//! * [`fills`]: generations, fences and flights: what keeps an older reply from being stored after a newer write.
//! * [`store`]: the bounded map behind one small interface.
//! * [`policy`]: how long a reply may live.
//! * [`hotkeys`]: which keys are read most.

pub mod coverage;
pub mod entry;
pub mod fills;
pub mod freshness;
pub mod hotkeys;
pub mod near;
pub mod policy;
pub mod store;

pub use coverage::{Coverage, Stamp};
pub use entry::{Entry, Form, Query};
pub use fills::{Fence, Fill, Waiter};
pub use freshness::Freshness;
pub use near::{Join, NearCache};
