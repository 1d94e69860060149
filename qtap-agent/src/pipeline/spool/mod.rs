//! Bodies that are too large for memory: pieces of an exchange come in and are put together on disk, the whole exchange comes out
//! with its last piece. What has no place is left out, counted, and said in the body's `missing` ranges, so that the rest of the
//! exchange is told all the same.
//!
//! ```text
//! piece ─► way: memory, up to 64 KiB ─► file without a name ─ last piece ─► Bulk ─ artifact ─► document, a file with one
//! ```
//!
//! Bounds: files at once (`MOST_FILES`), exchanges at once (`MOST_EXCHANGES`), bytes of all files, documents that wait for
//! their stores included ([`Folder::open`]).

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

/// Bodies on disk at once: each is an open file, and a host has few transfers of this size at a time.
const MOST_FILES: usize = 64;
/// Exchanges whose pieces are put together at once; what they hold in memory is at most twice 64 KiB each.
const MOST_EXCHANGES: usize = 256;

/// Names an exchange: its connection, and its number there.
type Name = (ConnectionUid, u64);

/// The bodies of an exchange that are on disk.
#[derive(Debug)]
pub(super) struct Spooled {
    /// Where its documents go.
    pub(super) folder: Folder,
    pub(super) request: Option<Bulk>,
    pub(super) response: Option<Bulk>,
}

/// Exchanges that are being put together.
#[derive(Debug, Default)]
pub(super) struct Spools {
    /// None: nothing can be put on disk.
    folder: Option<Folder>,
    open: HashMap<Name, [Way; 2]>,
}

impl Spools {
    /// In that folder.
    pub(super) fn new(folder: Folder) -> Spools {
        Spools { folder: Some(folder), open: HashMap::new() }
    }

    /// Takes a piece of the exchange `name`. With the last one `http` becomes the whole exchange, and what of it is on disk comes
    /// out; before that, none.
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
