//! Larder.
pub mod command {
    //! Stub.
    #[path = "columns.rs"]
    pub mod columns;
    pub use columns::{Nulls, Shape};
}
pub mod resp;
