//! Client-side caching behind Larder: CLIENT TRACKING in all its modes, and that nobody is left with an old value.

mod convergence;
mod conversation;
mod interruptions;
