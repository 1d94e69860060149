//! Live capture: the probes, loaded and attached, and what they write.
//!
//! In: what is wanted. Out: events, in the order of the ring. Present with the feature `kernel` only.

mod layout;
mod object;

use crate::capture::btf::BtfError;

/// Why the probes could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// No type information, or not what the probes need.
    #[error("kernel type information: {0}")]
    Btf(BtfError),
    /// The number of CPUs could not be read.
    #[error("number of CPUs: {0}")]
    Cpus(std::io::Error),
    /// The object is not the one this agent was built with.
    #[error("the probes' object has no `{0}`")]
    Object(&'static str),
    /// The object or its maps were refused.
    #[error("the kernel refused the probes: {0}")]
    Refused(#[from] aya::EbpfError),
    /// A program was refused.
    #[error("the kernel refused the probe `{name}`: {error}")]
    Load {
        /// Program.
        name: &'static str,
        /// The kernel's reason, with the verifier's log.
        error: aya::programs::ProgramError,
    },
    /// A program could not be attached.
    #[error("the probe `{name}` can't be attached: {error}")]
    Attach {
        /// Program.
        name: &'static str,
        /// Why.
        error: aya::programs::ProgramError,
    },
    /// A map could not be used.
    #[error("a map of the probes: {0}")]
    Map(#[from] aya::maps::MapError),
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn loads() {
        let wanted = qtap_common::globals::Wanted {
            scope: 1,
            http: 1,
            call_limit: 1 << 21,
            wake_above: 1 << 20,
            ..Default::default()
        };
        match object::load(wanted, 1 << 23, false) {
            Ok(_) => {}
            Err(e) => {
                let s = format!("{e}");
                let n = s.len();
                println!("{}\n....\n{}", &s[..s.len().min(3000)], &s[n.saturating_sub(6000)..]);
                panic!()
            }
        }
    }
}
