//! What qtap starts itself for, under first arguments that no user types.

use std::ffi::OsString;

use super::child;
use crate::capture::kernel::{holder, seccomp};

/// Runs the errand named by the process's arguments and returns its exit code; `None` if they name none.
pub fn errand(mut args: impl Iterator<Item = OsString>) -> Option<u8> {
    let first = args.nth(1)?;
    match first.to_str()? {
        child::GATE => Some(child::gate(args)),
        seccomp::CANARY => Some(seccomp::canary()),
        holder::HOLDER => Some(holder::hold()),
        _ => None,
    }
}
