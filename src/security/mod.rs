//! Who may: whom the upstream lets in, and for how long its word is taken.
//!
//! * [`login`]: has the upstream say whether credentials are good.
//! * [`verdicts`]: what it said lately.

pub mod login;
pub mod verdicts;

pub use login::verify;
pub use verdicts::{Verdict, Verdicts};
