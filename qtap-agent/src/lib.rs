//! The rooms of qtap. See `ARCHITECTURE.md` for the plan of the house.

pub mod cli;
pub mod config;
pub mod export;
pub mod logging;
pub mod model;
pub mod pipeline;
