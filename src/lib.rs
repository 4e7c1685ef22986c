//! Larder.

pub mod cli;
pub mod config;
