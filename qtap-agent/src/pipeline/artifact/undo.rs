//! Undoes one content coding incrementally: bytes that the sender flushed come out at once, so that a body can be
//! reported in parts. In: the bytes as carried, in pieces of any size. Out: the decoded bytes, appended to a `Vec` within a
//! bound.

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use flate2::{Decompress, FlushDecompress, Status};
use zstd::zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer};

/// Largest zstd window, as a power of two: 8 MiB (RFC 9659: HTTP content may not ask for more).
const ZSTD_WINDOW: u32 = 23;
/// Largest window of deflate, as a power of two (RFC 1951 §2).
const DEFLATE_WINDOW: u8 = 15;
/// Output space to request at a time.
const ROOM: usize = 64 << 10;
/// Memory of a deflate decoder: its window and its tables.
const DEFLATE_MEMORY: usize = 64 << 10;
/// Memory of a br decoder in addition to its window.
const BROTLI_MEMORY: usize = 64 << 10;

/// The decoder of one coding. Large state is on the heap.
pub(super) enum Undo {
    /// gzip (RFC 1952), possibly several members in a row.
    Gzip(Inflate),
    /// `deflate` is the zlib format (RFC 9110 §8.4.1.2), but some servers send raw deflate: the first two bytes decide.
    Deflate(Deflate),
    /// br (RFC 7932).
    Brotli(Box<Brotli>),
    /// zstd (RFC 8878), possibly several frames in a row, including skippable ones.
    Zstd(Zstd),
}

/// Why decoding stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// The bound was reached.
    Bound,
    /// The bytes are not valid in this coding.
    Broken,
}

/// Bytes read and written by one step.
#[derive(Debug, Clone, Copy, Default)]
struct Step {
    read: usize,
    written: usize,
}

impl Undo {
    /// The decoder of `coding`; `None` for an unknown coding.
    pub(super) fn of(coding: &str) -> Option<Undo> {
        let is = |name: &str| coding.eq_ignore_ascii_case(name);
        if is("gzip") || is("x-gzip") {
            Some(Undo::Gzip(Inflate::new(Decompress::new_gzip(DEFLATE_WINDOW))))
        } else if is("deflate") {
            Some(Undo::Deflate(Deflate::default()))
        } else if is("br") {
            Some(Undo::Brotli(Box::new(Brotli::new())))
        } else if is("zstd") {
            Zstd::new().map(Undo::Zstd)
        } else {
            None
        }
    }

    /// Consumes all of `input`; appends at most `bound` bytes to `out`.
    pub(super) fn push(&mut self, mut input: &[u8], out: &mut Vec<u8>, bound: usize) -> Result<(), Stop> {
        let most = out.len().saturating_add(bound);
        loop {
            let start = out.len();
            // One byte more than the bound, to distinguish reaching it from exceeding it.
            let room = ROOM.min(most.saturating_add(1).saturating_sub(start));
            out.resize(start + room, 0);
            let step = self.step(input, out.get_mut(start..).unwrap_or_default());
            out.truncate(start + step.as_ref().map_or(0, |step| step.written));
            let step = step?;
            if out.len() > most {
                out.truncate(most);
                return Err(Stop::Bound);
            }
            input = input.get(step.read..).unwrap_or_default();
            let stuck = step.read == 0 && step.written == 0;
            if stuck || (input.is_empty() && step.written < room) {
                return Ok(());
            }
        }
    }

    fn step(&mut self, input: &[u8], room: &mut [u8]) -> Result<Step, Stop> {
        match self {
            Undo::Gzip(gzip) => {
                if gzip.ended && !input.is_empty() {
                    *gzip = Inflate::new(Decompress::new_gzip(DEFLATE_WINDOW));
                }
                gzip.step(input, room)
            }
            Undo::Deflate(deflate) => deflate.step(input, room),
            Undo::Brotli(brotli) => brotli.step(input, room),
            Undo::Zstd(zstd) => zstd.step(input, room),
        }
    }

    /// True when the input so far is complete.
    pub(super) fn is_whole(&self) -> bool {
        match self {
            Undo::Gzip(inflate) | Undo::Deflate(Deflate::Known(inflate)) => inflate.ended,
            Undo::Deflate(Deflate::Undecided(_)) => false,
            Undo::Brotli(brotli) => brotli.ended,
            Undo::Zstd(zstd) => zstd.ended,
        }
    }

    /// Approximate memory use in bytes.
    pub(super) fn memory(&self) -> usize {
        match self {
            Undo::Gzip(_) | Undo::Deflate(_) => DEFLATE_MEMORY,
            Undo::Brotli(brotli) => BROTLI_MEMORY + usize::try_from(brotli.state.ringbuffer_size).unwrap_or(0),
            Undo::Zstd(zstd) => zstd.context.sizeof(),
        }
    }
}

/// deflate in one of its wrappers.
#[derive(Debug)]
pub(super) struct Inflate {
    state: Decompress,
    ended: bool,
}

impl Inflate {
    fn new(state: Decompress) -> Inflate {
        Inflate { state, ended: false }
    }

    /// Input after the end is consumed and ignored.
    fn step(&mut self, input: &[u8], room: &mut [u8]) -> Result<Step, Stop> {
        if self.ended {
            return Ok(Step { read: input.len(), written: 0 });
        }
        let (read, written) = (self.state.total_in(), self.state.total_out());
        let status = self.state.decompress(input, room, FlushDecompress::None).map_err(|_| Stop::Broken)?;
        self.ended = status == Status::StreamEnd;
        // Both are at most the length of a slice.
        Ok(Step { read: (self.state.total_in() - read) as usize, written: (self.state.total_out() - written) as usize })
    }
}

/// `deflate`; the check bits of its first two bytes tell zlib from raw deflate (RFC 1950 §2.2).
#[derive(Debug)]
pub(super) enum Deflate {
    /// Holds the first byte once it has arrived.
    Undecided(Option<u8>),
    Known(Inflate),
}

impl Default for Deflate {
    fn default() -> Self {
        Deflate::Undecided(None)
    }
}

impl Deflate {
    fn step(&mut self, input: &[u8], room: &mut [u8]) -> Result<Step, Stop> {
        let first = match self {
            Deflate::Known(inflate) => return inflate.step(input, room),
            Deflate::Undecided(first) => *first,
        };
        let (method, flags) = match (first, input) {
            (_, []) => return Ok(Step::default()),
            (None, [method]) => {
                *self = Deflate::Undecided(Some(*method));
                return Ok(Step { read: 1, written: 0 });
            }
            (None, [method, flags, ..]) => (*method, *flags),
            (Some(method), [flags, ..]) => (method, *flags),
        };
        let zlib = method & 0x0f == 8 && u16::from_be_bytes([method, flags]).is_multiple_of(31);
        let mut inflate = Inflate::new(Decompress::new(zlib));
        // One byte alone yields no output: a stored block has a five-byte header, and a code is decoded together with the bytes after it.
        let before = match first {
            Some(first) => inflate.step(&[first], room)?.written,
            None => 0,
        };
        let step = inflate.step(input, room.get_mut(before..).unwrap_or_default());
        *self = Deflate::Known(inflate);
        step.map(|step| Step { written: before + step.written, ..step })
    }
}

/// br. The window grows on demand, up to 16 MiB.
pub(super) struct Brotli {
    state: BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>,
    total: usize,
    ended: bool,
}

impl Brotli {
    fn new() -> Brotli {
        let alloc = StandardAlloc::default;
        Brotli { state: BrotliState::new_strict(alloc(), alloc(), alloc()), total: 0, ended: false }
    }

    fn step(&mut self, input: &[u8], room: &mut [u8]) -> Result<Step, Stop> {
        if self.ended {
            return Ok(Step { read: input.len(), written: 0 });
        }
        let (mut left, mut read, mut space, mut written) = (input.len(), 0, room.len(), 0);
        let (total, state) = (&mut self.total, &mut self.state);
        let result = BrotliDecompressStream(&mut left, &mut read, input, &mut space, &mut written, room, total, state);
        match result {
            BrotliResult::ResultFailure => Err(Stop::Broken),
            BrotliResult::ResultSuccess => {
                self.ended = true;
                Ok(Step { read, written })
            }
            BrotliResult::NeedsMoreInput | BrotliResult::NeedsMoreOutput => Ok(Step { read, written }),
        }
    }
}

/// zstd.
pub(super) struct Zstd {
    context: DCtx<'static>,
    ended: bool,
}

impl Zstd {
    /// `None` when memory for it could not be allocated.
    fn new() -> Option<Zstd> {
        let mut context = DCtx::try_create()?;
        context.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW)).ok()?;
        Some(Zstd { context, ended: false })
    }

    fn step(&mut self, input: &[u8], room: &mut [u8]) -> Result<Step, Stop> {
        if self.ended && input.is_empty() {
            return Ok(Step::default());
        }
        let (mut from, mut to) = (InBuffer::around(input), OutBuffer::around(room));
        let left = self.context.decompress_stream(&mut to, &mut from).map_err(|_| Stop::Broken)?;
        self.ended = left == 0;
        Ok(Step { read: from.pos(), written: to.pos() })
    }
}

impl std::fmt::Debug for Undo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Undo::Gzip(_) => "gzip",
            Undo::Deflate(_) => "deflate",
            Undo::Brotli(_) => "br",
            Undo::Zstd(_) => "zstd",
        })
    }
}
