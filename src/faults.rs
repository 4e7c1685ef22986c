//! Faults that a test build can be told to have, to prove that the tests notice them. A release build has none.

/// Whether invalidations pushed by the origin are ignored (`LARDER_FAULT=drop-invalidations`).
#[cfg(feature = "faults")]
pub fn drops_invalidations() -> bool {
    use std::sync::OnceLock;
    static FAULT: OnceLock<bool> = OnceLock::new();
    *FAULT.get_or_init(|| std::env::var("LARDER_FAULT").is_ok_and(|fault| fault == "drop-invalidations"))
}

/// Whether invalidations pushed by the origin are ignored: never in this build.
#[cfg(not(feature = "faults"))]
pub const fn drops_invalidations() -> bool {
    false
}
