//! Larder in front of a primary that Sentinels watch over.

mod coherence;
mod switches;
