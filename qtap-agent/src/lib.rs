//! The rooms of qtap. See `ARCHITECTURE.md` for the plan of the house.

pub mod admin;
pub mod capture;
pub mod cli;
pub mod config;
pub mod dns;
pub mod export;
pub mod http;
pub mod logging;
pub mod model;
pub mod pipeline;
pub mod run;
pub mod stream;
pub mod tap;
