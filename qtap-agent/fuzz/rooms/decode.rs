//! Records of the ring. In: records, each with its length. Out: nothing, or the promise that was broken: no record makes the decoder or the tap
//! panic, a record decodes alike however it is kept, and the tap forgets every connection at its end.
//!
//! ```text
//! script = record*
//! record = len:u16le bytes   the highest bit of `len` keeps the length in the record's own head as it is; else it is put right
//! ```

use std::mem::offset_of;
use std::sync::Arc;

use bytes::Bytes;
use qtap_agent::capture::decode::{Decoded, Decoder};
use qtap_agent::model::event::{Event, Host};
use qtap_agent::model::time::KernelTime;
use qtap_agent::tap::{Settings, Tap};

use super::Gauge;
use super::script::Input;

/// Where a record's head has its length (`qtap-common`, `Header::len`).
#[repr(C)]
struct Head {
    time: u64,
    id: u64,
    tgid: u32,
    tid: u32,
    len: u32,
}

/// Decodes each record, and tells the tap what it says.
pub(crate) fn run(data: &[u8], gauge: Gauge<'_>) {
    let base = gauge();
    let decoder = Decoder::default();
    let mut tap = Tap::new(Settings::default());
    let (mut out, mut now, mut count) = (Vec::new(), KernelTime(0), 0usize);
    tap.on_event(Event::Started(Arc::new(Host::default())), &mut out);
    let mut input = Input(data);
    while !input.0.is_empty() {
        let len = input.number::<2>() as usize;
        let mut record = input.bytes(len & 0x7fff).to_vec();
        let (said, at) = ((record.len() as u32).to_ne_bytes(), offset_of!(Head, len));
        if len & 0x8000 == 0
            && let Some(place) = record.get_mut(at..at + 4)
        {
            place.copy_from_slice(&said);
        }
        let decoded = decoder.decode(&record);
        assert_eq!(decoded, decoder.decode_shared(&Bytes::from(record)), "shared or copied");
        let Ok(decoded) = decoded else { continue };
        let event = match decoded {
            Decoded::Event(event) => event,
            Decoded::Exited { pid, time } => Event::ProcessGone { pid, time },
            Decoded::Exec(_) | Decoded::Forked { .. } | Decoded::Mapped { .. } => continue,
        };
        now = event.time().map_or(now, |time| time.max(now));
        tap.on_event(event, &mut out);
        tap.on_event(Event::Tick(now), &mut out);
        out.clear();
        count += 1;
        let bound = (4 << 20) + 64 * 1024 * count;
        assert!(gauge().saturating_sub(base) <= bound, "the tap keeps too much");
    }
    tap.finish(now, &mut out);
    assert_eq!(tap.counters().connections_active(), 0, "connections are left");
}
