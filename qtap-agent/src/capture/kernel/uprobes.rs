//! Attaches programs to functions: all places of one program in a file with one link, if the kernel supports that (Linux 6.6), else one link each.
//!
//! In: the probes' object, its maps, and places in files. Out: [`Link`]s, which detach when dropped.

use std::collections::{BTreeMap, HashSet};
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::Duration;

use aya::Ebpf;
use aya::maps::{Map, MapData};
use aya::programs::UProbe;
use aya::programs::uprobe::{UProbeAttachLocation, UProbeAttachPoint, UProbeLink, UProbeScope};
use aya_obj::btf::BtfError;
use aya_obj::relocation::EbpfRelocationError;
use aya_obj::{Object, ParseError, ProgramSection};
use qtap_common::state::Cookie;
use qtap_common::uprobes::{self, Places};

use super::KernelError;
use super::object::{Named, load_one, program};
use super::primer::Primer;
use super::standing::Ran;

/// The programs, by name.
pub(super) const UPROBES: [&str; 14] = [
    "tls_enter",
    "tls_begin",
    "tls_exit",
    "tls_return",
    "tls_set_fd",
    "tls_free",
    "tls_set_bio",
    "tls_bio_write",
    "go_enter",
    "go_exit",
    "go_close",
    "rustls_enter",
    "rustls_exit",
    "rustls_return",
];

/// A place in a file, and the cookie that the program receives there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) file_offset: u64,
    pub(super) cookie: Cookie,
}

/// An attachment, until this is dropped.
#[derive(Debug)]
#[expect(dead_code, reason = "held for its drop")]
pub(super) enum Link {
    /// One program at all its places in a file.
    Many(OwnedFd),
    /// One program at one place.
    One(UProbeLink),
}

/// The loaded programs.
#[derive(Debug)]
pub(super) enum Uprobes {
    /// Loaded for links that hold many places.
    Many(BTreeMap<&'static str, Loaded>),
    /// Loaded and held by aya: one place per link.
    One,
}

#[derive(Debug)]
pub(super) struct Loaded {
    program: OwnedFd,
    returns: bool,
}

/// The programs, ready to be loaded for links that hold many places.
#[derive(Debug)]
pub(super) struct Relocated {
    object: Object,
    types: OwnedFd,
}

/// Why the programs are not loaded for links that hold many places.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotMany {
    #[error("the kernel has no such links: {0}")]
    Unknown(io::Error),
    #[error("the object: {0}")]
    Object(#[from] ParseError),
    #[error("the object: {0}")]
    Relocation(#[from] EbpfRelocationError),
    #[error("the object's types: {0}")]
    Types(#[from] BtfError),
    #[error("the object has no program, map or types `{0}`")]
    Missing(String),
    #[error("`{0}`: {1}")]
    Load(&'static str, io::Error),
}

impl Uprobes {
    /// Loads the programs: as `relocated`, else one by one those that aya holds.
    ///
    /// # Errors
    /// When the kernel refuses a program.
    pub(super) fn load(relocated: &Result<Relocated, NotMany>, held: Vec<Named<'_>>) -> Result<Uprobes, KernelError> {
        let not_many = |reason: &NotMany| tracing::debug!(%reason, "each probe has a link of its own");
        match relocated.as_ref().map(Relocated::load) {
            Ok(Ok(programs)) => return Ok(Uprobes::Many(programs)),
            Ok(Err(reason)) => not_many(&reason),
            Err(reason) => not_many(reason),
        }
        held.into_iter().try_for_each(load_one)?;
        Ok(Uprobes::One)
    }

    /// Attaches one program at these places of the file: in the process `pid` only, or in every process that maps it. All or none.
    pub(super) fn attach(
        &self,
        ebpf: &mut Ebpf,
        name: &'static str,
        file: &Path,
        places: &[Place],
        pid: Option<u32>,
    ) -> Result<Vec<Link>, KernelError> {
        match self {
            Uprobes::Many(programs) => {
                let loaded = programs.get(name).ok_or(KernelError::Object(name))?;
                let link = loaded.attach(file, places, pid).map_err(|error| KernelError::Link { name, error })?;
                Ok(vec![Link::Many(link)])
            }
            Uprobes::One => {
                let probe: &mut UProbe = program(ebpf, name)?;
                let one = |place: &Place| {
                    let location = UProbeAttachLocation::AbsoluteOffset(place.file_offset);
                    let scope = pid.and_then(|pid| pid.try_into().ok());
                    let scope = scope.map_or(UProbeScope::AllProcesses, UProbeScope::OneProcess);
                    let point = UProbeAttachPoint { location, cookie: Some(place.cookie.0) };
                    probe.attach(point, file, scope).and_then(|link| probe.take_link(link)).map(Link::One)
                };
                places.iter().map(one).collect::<Result<_, _>>().map_err(|error| KernelError::Attach { name, error })
            }
        }
    }

    /// Keeps the kernel prepared for new probes. `None` if each probe is attached and detached by itself, which takes longer than this saves.
    pub(super) fn primer(&self) -> Option<Primer> {
        match self {
            // Any program will do: it never runs.
            Uprobes::Many(programs) => Primer::start(programs.get("tls_set_bio")?.try_clone().ok()?),
            Uprobes::One => None,
        }
    }

    /// What the kernel knows of each program.
    pub(super) fn known(&self, ebpf: &Ebpf) -> Vec<Known> {
        match self {
            Uprobes::Many(programs) => programs.iter().map(|(name, loaded)| loaded.known(name)).collect(),
            Uprobes::One => UPROBES.into_iter().filter_map(|name| Known::of(ebpf, name)).collect(),
        }
    }
}

/// What the kernel knows of a program.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) ran: Ran,
    /// Instructions that the verifier processed.
    pub(super) verified: Option<u32>,
}

impl Known {
    /// For a program that aya has loaded.
    pub(super) fn of(ebpf: &Ebpf, program: &'static str) -> Option<Known> {
        let info = ebpf.program(program)?.info().ok()?;
        let ran = Ran { program, calls: info.run_count(), time: info.run_time() };
        Some(Known { ran, verified: info.verified_instruction_count() })
    }
}

impl Loaded {
    /// A second handle to it.
    fn try_clone(&self) -> io::Result<Loaded> {
        Ok(Loaded { program: self.program.try_clone()?, returns: self.returns })
    }

    pub(super) fn attach(&self, file: &Path, places: &[Place], pid: Option<u32>) -> io::Result<OwnedFd> {
        let file = CString::new(file.as_os_str().as_bytes())?;
        let offsets: Vec<u64> = places.iter().map(|place| place.file_offset).collect();
        let cookies: Vec<u64> = places.iter().map(|place| place.cookie.0).collect();
        let places = Places { file: &file, offsets: &offsets, cookies: &cookies, returns: self.returns, pid };
        uprobes::attach(self.program.as_fd(), places)
    }

    /// From what /proc says about its descriptor (instructions since Linux 5.16).
    fn known(&self, program: &'static str) -> Known {
        let said = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", self.program.as_raw_fd()));
        let said = said.unwrap_or_default();
        let number = |name: &str| {
            let value = said.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            value.trim().parse::<u64>().ok()
        };
        let time = Duration::from_nanos(number("run_time_ns").unwrap_or(0));
        Known {
            ran: Ran { program, calls: number("run_cnt").unwrap_or(0), time },
            verified: number("verified_insns").and_then(|count| u32::try_from(count).ok()),
        }
    }
}

impl Relocated {
    /// The programs of `object` with the maps of `ebpf`, none of which may have been taken out yet.
    pub(super) fn new(ebpf: &Ebpf, object: &[u8]) -> Result<Relocated, NotMany> {
        let mut object = Object::parse(object)?;
        let features = aya::features().btf().ok_or_else(|| missing(".BTF"))?;
        let types = object.fixup_and_sanitize_btf(features)?.ok_or_else(|| missing(".BTF"))?;
        let types = uprobes::load_types(&types.to_bytes()).map_err(|error| NotMany::Load(".BTF", error))?;
        let sections: HashSet<usize> = object.functions.keys().map(|(section, _)| *section).collect();
        let maps = object.maps.clone();
        let mut made: Vec<(&str, RawFd, &aya_obj::Map)> = Vec::new();
        for (name, map) in &maps {
            let fd = ebpf.map(name).and_then(data_of).ok_or_else(|| missing(name))?.fd();
            made.push((name, fd.as_fd().as_raw_fd(), map));
        }
        object.relocate_maps(made.into_iter(), &sections)?;
        object.relocate_calls(&sections)?;
        Ok(Relocated { object, types })
    }

    fn load(&self) -> Result<BTreeMap<&'static str, Loaded>, NotMany> {
        let Relocated { object, types } = self;
        let mut programs = BTreeMap::new();
        for name in UPROBES {
            let program = object.programs.get(name).ok_or_else(|| missing(name))?;
            let function = object.functions.get(&program.function_key()).ok_or_else(|| missing(name))?;
            let loaded = uprobes::load(uprobes::Program {
                name,
                license: &program.license,
                instructions: &function.instructions,
                types: types.as_fd(),
                functions: &function.func_info.func_info_bytes(),
                function_size: function.func_info_rec_size,
            });
            let returns = matches!(program.section, ProgramSection::URetProbe { .. });
            let loaded = Loaded { program: loaded.map_err(|error| NotMany::Load(name, error))?, returns };
            if programs.is_empty() {
                try_link(&loaded)?;
            }
            programs.insert(name, loaded);
        }
        Ok(programs)
    }
}

fn missing(name: &str) -> NotMany {
    NotMany::Missing(name.to_owned())
}

/// Whether the kernel supports such links. If it does, it refuses a directory with EBADF, as not a regular file; if not, it fails before that check.
fn try_link(loaded: &Loaded) -> Result<(), NotMany> {
    let place = Place { file_offset: 0, cookie: Cookie(0) };
    match loaded.attach(Path::new("/"), &[place], None) {
        Err(error) if error.raw_os_error() == Some(libc::EBADF) => Ok(()),
        Err(error) => Err(NotMany::Unknown(error)),
        Ok(_) => Err(NotMany::Unknown(io::ErrorKind::IsADirectory.into())),
    }
}

/// The data of a map, if it is of a kind that the probes use.
fn data_of(map: &Map) -> Option<&MapData> {
    match map {
        Map::Array(data) | Map::HashMap(data) | Map::LruHashMap(data) | Map::PerCpuArray(data) | Map::RingBuf(data) => {
            Some(data)
        }
        _ => None,
    }
}
