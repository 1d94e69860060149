//! Processors that machines and images are made for, and their differences. In: the name of a kernel, or of an image's platform, from the
//! command line. Out: facts, each in one place.

use std::env;

/// A processor, with its name in various places.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Processor {
    /// Debian's name.
    pub(crate) debian: &'static str,
    /// Rust's name.
    pub(crate) rust: &'static str,
    /// `e_machine` in its ELF headers.
    pub(crate) elf: u16,
    /// The Rust target of programs for it, and the compiler that links them.
    pub(crate) target: &'static str,
    pub(crate) linker: &'static str,
    /// The emulator, and its package.
    pub(crate) qemu: &'static str,
    pub(crate) qemu_package: &'static str,
    /// Emulator options for translating its code.
    pub(crate) translated: &'static [&'static str],
    /// Emulator options for the rest of the machine.
    pub(crate) board: &'static [&'static str],
    /// The console of its kernel.
    pub(crate) console: &'static str,
    /// The device for the output of the job, and emulator options that create it.
    pub(crate) voice: &'static str,
    pub(crate) voice_device: &'static [&'static str],
}

const X86_64: Processor = Processor {
    debian: "amd64",
    rust: "x86_64",
    elf: 62,
    target: "x86_64-unknown-linux-gnu",
    linker: "x86_64-linux-gnu-gcc",
    qemu: "qemu-system-x86_64",
    qemu_package: "qemu-system-x86",
    // One thread for all CPUs: with more, one CPU may execute what another has just changed. A kernel that patches its own code, as it does when a
    // tracepoint gets its first probe, crashes then (`Oops: int3`). And no fast `rep movsb`: kernel and C library would copy by it, and it is translated
    // byte by byte, which makes tests a sixth slower.
    translated: &["-accel", "tcg,thread=single", "-cpu", "max,-erms,-fsrm"],
    board: &[],
    console: "ttyS0",
    voice: "ttyS1",
    voice_device: &["-serial", "stdio"],
};

const ARM64: Processor = Processor {
    debian: "arm64",
    rust: "aarch64",
    elf: 183,
    target: "aarch64-unknown-linux-gnu",
    linker: "aarch64-linux-gnu-gcc",
    qemu: "qemu-system-aarch64",
    qemu_package: "qemu-system-arm",
    // A CPU that clouds offer, not `max`: that one signs pointers, which takes most of the time under translation.
    translated: &["-accel", "tcg", "-cpu", "neoverse-n1"],
    board: &["-machine", "virt,gic-version=3"],
    console: "ttyAMA0",
    // The machine has a single serial line.
    voice: "hvc0",
    voice_device: &[
        "-device",
        "virtio-serial-pci",
        "-chardev",
        "stdio,id=voice,signal=off",
        "-device",
        "virtconsole,chardev=voice",
    ],
};

/// The suffix of a version for a kernel that is not for the host's processor: `6.12-arm64`.
const FOREIGN: &str = "-arm64";

impl Processor {
    /// The processor of a kernel, and the kernel's name without the suffix. A folder keeps its name, whose suffix is Debian's for the processor.
    pub(crate) fn of(kernel: &str) -> (&'static Processor, &str) {
        match kernel.strip_suffix(FOREIGN) {
            Some(version) if !kernel.contains('/') => (&ARM64, version),
            Some(_) => (&ARM64, kernel),
            None => (&X86_64, kernel),
        }
    }

    /// The processor of a platform, as podman and docker name it: `linux/arm64`, optionally followed by the variant that all of them have, `/v8`.
    pub(crate) fn of_platform(platform: &str) -> Result<&'static Processor, String> {
        let name = platform.strip_suffix("/v8").unwrap_or(platform);
        let found = [&X86_64, &ARM64].into_iter().find(|processor| name == processor.platform());
        found.ok_or_else(|| format!("images are built for {} and {}", X86_64.platform(), ARM64.platform()))
    }

    /// Its platform, which uses Debian's name.
    pub(crate) fn platform(&self) -> String {
        format!("linux/{}", self.debian)
    }

    /// True when its programs run directly on this host.
    pub(crate) fn is_the_hosts(&self) -> bool {
        self.rust == env::consts::ARCH
    }
}

#[cfg(test)]
mod tests {
    use super::Processor;

    #[test]
    fn a_kernel_says_its_processor() {
        let of = |kernel| {
            let (processor, name) = Processor::of(kernel);
            (processor.debian, name)
        };
        assert_eq!(of("6.12"), ("amd64", "6.12"));
        assert_eq!(of("6.12-arm64"), ("arm64", "6.12"));
        assert_eq!(of("/x/linux-image-6.1.0-56-cloud-arm64"), ("arm64", "/x/linux-image-6.1.0-56-cloud-arm64"));
    }

    #[test]
    fn a_platform_is_named_as_podman_names_it() {
        let of = |platform| Processor::of_platform(platform).map(|processor| processor.rust);
        assert_eq!(of("linux/arm64"), Ok("aarch64"));
        assert_eq!(of("linux/arm64/v8"), Ok("aarch64"));
        assert_eq!(of("linux/amd64"), Ok("x86_64"));
        assert!(of("linux/arm/v7").is_err_and(|why| why.contains("linux/amd64 and linux/arm64")));
    }
}
