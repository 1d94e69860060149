//! The words of qtap: what the rooms hand to one another.
//!
//! A word is plain data with the few questions that can be answered from the data alone. Nothing here reads a file, asks
//! for the time, logs, or knows where it came from or where it goes; this room imports no other (and of the contract with the kernel, `address` the table of networks). (One word stands for a file, `spool`, and
//! removes it when it is let go.)

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
