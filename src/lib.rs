//! Larder.
pub mod memory;
pub mod resp;
