//! The rooms of qtap. See `ARCHITECTURE.md` for the plan of the house.

pub mod capture;
pub mod export;
pub mod model;
pub mod pipeline;
pub mod stream;
