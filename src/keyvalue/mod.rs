//! What every key-value upstream understands in the same way: the options, times and numbers of Redis's string commands.
//!
//! [`crate::memory`] and the memcached upstream differ in where the data is; how a command is read, and in which words it
//! is refused, is the same and stands here once.
//!
//! ```text
//! options      SET and GETEX: NX XX GET KEEPTTL PERSIST, EX PX EXAT PXAT
//! conditions   EXPIRE and its kin: NX XX GT LT, and the instant that their argument means
//! float        INCRBYFLOAT's 80-bit long double, on natural
//! clock        one reading of both clocks
//! refusal      the error texts
//! ```

pub mod clock;
pub mod conditions;
pub mod float;
mod natural;
pub mod options;
pub mod refusal;

pub use clock::{Clock, Expiry, Now};
pub use conditions::{Conditions, EndsAt};
pub use float::Extended;
pub use options::{Condition, Ending, Options, OptionsOf, Unit};
pub use refusal::Refusal;
