//! Tells the probes whose registers they read: `bpfel` says nothing of the machine.

fn main() -> Result<(), impl std::fmt::Debug> {
    aya_build::emit_bpf_target_arch_cfg()
}
