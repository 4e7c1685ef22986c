//! The ways in which a caching proxy goes wrong: one test for each that can be shown from outside.
//!
//! Each has broken a real system. The name of a trap (T1, T3, ...) stands at its test, with its story in a line or two.
//! Some are shown elsewhere: T14, fields of hashes that expire, in `coherence_modes.rs`; T53, a step of the machine's
//! clock, by a rule of `tests/tidy.rs` on which clock may be read; T6, the silently lost connection, and T20, the write
//! that timed out, in `outage.rs`. T4 is shown by T3's test, T58 also by T11's. Those whose tests need other surroundings bear
//! the name there: T15 in `replicas.rs`, T16 and T17 in `cluster/`, T47 and T60 in `outage.rs`, T59 in `cluster_facade.rs`, T46
//! in `ring/`. T48 (hedged reads) cannot happen: `docs/consistency.md` says why.

mod flights;
mod keys;
mod pushes;
mod reads;
mod sessions;
mod shapes;
mod times;
mod writes;
