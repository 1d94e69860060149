//! The shared vocabulary of qtap: the types that the rooms pass to one another.
//!
//! Each type is plain data, with only the methods that the data alone can answer. Nothing here reads a file, reads the clock, logs, or knows where data
//! comes from or where it goes. This room imports no other room; of the contract with the kernel, only `address` uses the table of networks. (One type,
//! in `spool`, owns a file and removes it when dropped.)

pub mod address;
pub mod conn;
pub mod dns;
pub mod eras;
pub mod event;
pub mod exchange;
pub mod gen_ai;
pub mod host;
pub mod judge;
pub mod loss;
pub mod message;
pub mod messages;
pub mod near;
pub mod observation;
pub mod process;
pub mod record;
pub mod route;
pub mod segment;
pub mod shed;
pub mod spool;
pub mod time;
