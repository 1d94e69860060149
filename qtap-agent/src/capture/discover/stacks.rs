//! Programs that switch stacks: runtimes with fibers, coroutines, or green threads of their own. In: a program. Out: whether it is one.
//!
//! A thread has one list of the return addresses that the kernel's return probes replaced, ordered by stack pointer (`kernel/events/uprobes.c`). A program
//! that leaves a probed call by switching to another stack, and makes such a call there, returns by addresses that are no longer on the list: the
//! kernel kills it with SIGILL. So the files that such programs use have no return probes.
//!
//! Such a program is known by the functions that it imports or defines. One that has its own assembly for it, and no names, is not: that is what
//! `--return-probes never` is for.

use super::elf::Elf;

/// Functions that switch stacks, or tell a collector of garbage that stacks are switched.
const SWITCH: [&str; 10] = [
    // POSIX 2001. Not `makecontext`: OpenSSL itself calls that, for jobs (`crypto/async`) that leave its calls by the stack they came on.
    "swapcontext",
    // Boost.Context, and what contains a copy of it.
    "make_fcontext",
    "jump_fcontext",
    "ontop_fcontext",
    // libgc, for Crystal's fibers and others' threads of their own.
    "GC_set_stackbottom",
    "GC_set_push_other_roots",
    // libco, State Threads, brpc.
    "co_create",
    "co_switch",
    "st_thread_create",
    "bthread_start_background",
];

/// True when a program switches stacks.
#[must_use]
pub fn switches(program: &Elf) -> bool {
    program.mentions(&SWITCH)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::print_stdout)]
mod tests {
    use std::path::Path;
    use std::process::Command;

    use super::*;

    #[test]
    fn by_what_is_imported_or_defined() {
        let folder = tempfile::tempdir().unwrap();
        let build = |name: &str, source: &str, flags: &[&str]| {
            let (code, program) = (folder.path().join(format!("{name}.c")), folder.path().join(name));
            std::fs::write(&code, source).unwrap();
            let built = Command::new("cc").args(flags).arg("-w").arg("-o").arg(&program).arg(&code).status();
            built.is_ok_and(|status| status.success()).then(|| switches(&Elf::open(&program).unwrap()))
        };
        let imports = "#include <ucontext.h>\nint main() { ucontext_t a, b; return swapcontext(&a, &b); }";
        let defines = "void jump_fcontext() {} int main() { jump_fcontext(); }";
        let neither = "int main() { return 0; }";
        let Some(plain) = build("neither", neither, &[]) else { return println!("skipped: no C compiler") };
        assert!(!plain);
        assert_eq!(build("imports", imports, &[]), Some(true));
        assert_eq!(build("stripped", imports, &["-s"]), Some(true));
        assert_eq!(build("defines", defines, &[]), Some(true));
        assert!(!switches(&Elf::open(Path::new("/proc/self/exe")).unwrap()));
    }
}
