//! Makes the probes' largest tables allocate memory as they fill, if the kernel can do that safely while a probe runs: since Linux 6.1, which has an
//! allocator for it (`kernel/bpf/memalloc.c`). On older kernels they are allocated in full when they are created, as all other tables are.
//!
//! In: the probes' object. Out: the same, with one more flag in the definitions of those tables. An object of unexpected form is left unchanged.

use aya::programs::ProgramType;
use aya::sys::{BpfHelper, is_helper_supported};
use object::{Object as _, ObjectSection as _, ObjectSymbol as _};
use qtap_common::go::MAP_GO_CALLS;
use qtap_common::state::{MAP_CONNS, MAP_SESSIONS};

/// Tables that are large and mostly empty: 68 of 99 MB.
const TABLES: [&str; 3] = [MAP_CONNS, MAP_SESSIONS, MAP_GO_CALLS];
/// Section of the map definitions, and the offset of the flags in one (`struct bpf_map_def`: type, sizes of key and value, entries, flags).
const SECTION: &str = "maps";
const FLAGS_AT: u64 = 16;
/// `BPF_F_NO_PREALLOC` (`linux/bpf.h`).
const AS_THEY_FILL: u8 = 1;

/// The object, adapted to this kernel.
pub(super) fn for_this_kernel(object: &'static [u8]) -> std::borrow::Cow<'static, [u8]> {
    // This helper came with 6.1, as the allocator did.
    let is_safe = is_helper_supported(ProgramType::KProbe, BpfHelper::BPF_FUNC_user_ringbuf_drain).unwrap_or(false);
    let places = if is_safe { flags(object) } else { None };
    let Some(places) = places else { return object.into() };
    let mut changed = object.to_vec();
    for place in places {
        changed.get_mut(place).into_iter().for_each(|flags| *flags |= AS_THEY_FILL);
    }
    changed.into()
}

/// File offsets of those tables' flags: of the lowest byte of each.
fn flags(bytes: &[u8]) -> Option<Vec<usize>> {
    let file = object::File::parse(bytes).ok()?;
    let section = file.section_by_name(SECTION)?;
    let (begin, length) = section.file_range()?;
    let place = |table: &&str| {
        let symbol = file.symbols().find(|symbol| symbol.name() == Ok(*table))?;
        let at = symbol.address().checked_add(FLAGS_AT).filter(|at| *at < length)?;
        (symbol.section_index() == Some(section.index())).then_some(())?;
        usize::try_from(begin + at).ok()
    };
    TABLES.iter().map(place).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::capture::kernel::object::OBJECT;

    #[test]
    fn each_has_its_place_and_no_flag_yet() {
        let mut places = flags(OBJECT).unwrap();
        places.sort_unstable();
        places.dedup();
        assert_eq!(places.len(), TABLES.len());
        for place in places {
            assert_eq!(OBJECT[place..place + 4], [0; 4]);
            // The number of entries comes before it: 65 536.
            assert_eq!(OBJECT[place - 4..place], 65_536_u32.to_le_bytes());
        }
    }

    #[test]
    fn what_is_no_object_is_left_as_it_is() {
        assert_eq!(flags(&OBJECT[..OBJECT.len() / 2]), None);
        assert_eq!(flags(b""), None);
    }
}
