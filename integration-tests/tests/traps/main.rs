//! The ways in which a caching proxy goes wrong: one test for each that can be shown from outside.
//!
//! Each has broken a real system. The name of a trap (T1, T3, ...) stands at its test, with its story in a line or two.
//! Two cannot be shown here: T14 needs a server with TTLs on hash fields, T53 a step of the machine's clock. Two more
//! are in `outage.rs`: T6, the silently lost connection, and T20, the write that timed out. T4 is shown by T3's
//! test, T58 by those of T11 and T32.

mod flights;
mod keys;
mod pushes;
mod reads;
mod sessions;
mod shapes;
mod times;
mod writes;
