//! Fuzz target: answers of name servers. In: bytes. Out: nothing, or the panic that names a broken promise; see `rooms`.
#![no_main]

#[path = "../rooms/mod.rs"]
mod rooms;

use libfuzzer_sys::fuzz_target;

#[global_allocator]
static ALLOCATED: peak_alloc::PeakAlloc = peak_alloc::PeakAlloc;

fuzz_target!(|data: &[u8]| rooms::dns::run(data, &|| ALLOCATED.current_usage()));
