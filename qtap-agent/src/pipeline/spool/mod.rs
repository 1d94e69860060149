//! Bodies that are too large for memory. In: pieces of an exchange, which are assembled on disk. Out: with the last piece, the whole
//! exchange. Bytes that could not be stored are left out, counted, and listed in the body's `missing` ranges, so that the rest of the
//! exchange is still reported.
//!
//! ```text
//! piece ─► way: memory, up to 64 KiB ─► unnamed file ─ last piece ─► Bulk ─ artifact ─► document, a named file
//! ```
//!
//! Bounds: files at once (`MOST_FILES`), exchanges at once (`MOST_EXCHANGES`), bytes of all files, including documents that wait for
//! their stores ([`Folder::open`]).

mod body;
mod folder;
mod growing;

use std::collections::HashMap;

use self::body::Way;
pub(super) use self::body::{Bulk, Utf8};
pub use self::folder::Folder;
pub(super) use self::growing::Document;
use crate::model::conn::ConnectionUid;
use crate::model::exchange::HttpExchange;
use crate::model::loss::Tally;

/// Maximum bodies on disk at once: each is an open file, and a host has few transfers of this size at a time.
const MOST_FILES: usize = 64;
/// Maximum exchanges being assembled at once; each holds at most twice 64 KiB in memory.
const MOST_EXCHANGES: usize = 256;

/// Identifies an exchange: its connection, and its number there.
type Name = (ConnectionUid, u64);

/// The bodies of an exchange that are on disk.
#[derive(Debug)]
pub(super) struct Spooled {
    /// The folder for its documents.
    pub(super) folder: Folder,
    pub(super) request: Option<Bulk>,
    pub(super) response: Option<Bulk>,
}

/// Exchanges that are being assembled.
#[derive(Debug, Default)]
pub(super) struct Spools {
    /// `None`: nothing can be stored on disk.
    folder: Option<Folder>,
    open: HashMap<Name, [Way; 2]>,
}

impl Spools {
    /// Stores bodies in that folder.
    pub(super) fn new(folder: Folder) -> Spools {
        Spools { folder: Some(folder), open: HashMap::new() }
    }

    /// Adds a piece of the exchange `name`. With the last piece, `http` becomes the whole exchange, and its bodies on disk, if any, are
    /// returned; until then the result is `None`.
    pub(super) fn join(&mut self, name: Name, http: &mut HttpExchange, lost: &mut Tally) -> Option<Option<Spooled>> {
        let part = http.part?;
        let mut ways = self.open.remove(&name).unwrap_or_default();
        let files = self.open.values().flatten().filter(|way| way.has_file()).count();
        let bodies = [http.request.as_mut().map(|r| &mut r.body), http.response.as_mut().map(|r| &mut r.body)];
        for (way, body) in ways.iter_mut().zip(bodies) {
            let Some(body) = body else { continue };
            let folder = self.folder.as_ref().filter(|_| files < MOST_FILES || way.has_file());
            way.take(body, folder, lost);
        }
        if !part.last {
            if self.open.len() < MOST_EXCHANGES {
                self.open.insert(name, ways);
            } else {
                ways.iter().for_each(|way| way.count_lost(lost));
            }
            return None;
        }
        http.part = None;
        let [request, response] = ways;
        let request = http.request.as_mut().and_then(|message| request.finish(&mut message.body));
        let response = http.response.as_mut().and_then(|message| response.finish(&mut message.body));
        let folder = self.folder.clone().filter(|_| request.is_some() || response.is_some());
        Some(folder.map(|folder| Spooled { folder, request, response }))
    }
}
