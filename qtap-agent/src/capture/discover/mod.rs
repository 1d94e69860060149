//! What can be attached to on this host, and how it is named.
//!
//! In: files under /proc, ELF files of other programs. Out: plain facts. A process or file that vanished is an absence, never an
//! error; a broken or hostile file is an error of that file alone. Nothing here attaches or changes anything.

mod bio;
pub mod call;
pub mod cgroup;
pub mod elf;
pub mod engine;
pub mod environ;
pub mod feeder;
mod go;
pub mod known;
mod locate;
pub mod maps;
mod nss;
mod own_bio;
pub mod plan;
pub mod procfs;
mod rustls;
pub mod stacks;
pub mod users;
mod version;
