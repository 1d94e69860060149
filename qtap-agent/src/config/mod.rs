//! `qtap.yaml` → checked settings of each room. In: the text, and what it refers to (variables, files of secrets). Out:
//! [`Settings`], or every fault of the file at once, each with its line and what would be right.
//!
//! ```text
//! text ─ place, yaml ─▶ nodes ─ fields by shape ─▶ file (as typed) ─ meaning ─▶ Settings
//!                                      └──────── finding ────────┴──▶ Faults, Notes
//! ```
//!
//! The file as typed comes first, its meaning second: `file/` knows keys and types, `meaning/` defaults, variables and
//! references. Old spellings end here: no other room knows them. Nothing here shows a secret.

mod fields;
mod file;
mod finding;
mod inside;
mod meaning;
mod place;
mod shape;
mod validate;
mod value;
mod wording;
mod yaml;

use std::io::Read;
use std::path::{Path, PathBuf};

pub use crate::pipeline::settings::Level;
pub use finding::{Faults, Finding, Note};
pub use validate::{Verdict, validate};
pub use value::size;

use crate::capture::settings::Filters;
use crate::export::settings::StoreSettings;
use crate::pipeline;

/// Bytes of a settings file.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// What the rooms need to know.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Where records go; ids are unique.
    pub stores: Vec<StoreSettings>,
    /// What becomes of what was seen.
    pub pipeline: pipeline::settings::Settings,
    /// What is looked at.
    pub tap: TapSettings,
}

/// What is looked at: decided in the kernel, before a byte is copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TapSettings {
    /// Connections that are looked at.
    pub direction: DirectionFilter,
    /// True: connections over loopback are not looked at.
    pub ignore_loopback: bool,
    /// False: no HTTP payload is copied, because no stack would make anything of it.
    pub http_wanted: bool,
    /// Bytes of a body that are kept, per direction (`--http-buffer-size`).
    pub http_buffer_size: usize,
    /// Processes that are left out.
    pub filters: Filters,
    /// Answers of name servers are read: they are told, or endpoints may be known by them.
    pub reads_dns: bool,
    /// Answers of name servers are told as connections.
    pub audit_dns: bool,
}

/// Bytes of a body that are kept unless told otherwise, per direction.
pub const HTTP_BUFFER_SIZE: usize = 2 << 20;

/// The most that can be asked for.
pub const MAX_HTTP_BUFFER_SIZE: u64 = 2 << 30;

/// Which connections are looked at (`tap.direction`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum DirectionFilter {
    /// All of them.
    #[default]
    All,
    /// Those that a process of this host accepted.
    Ingress,
    /// Those that a process of this host opened.
    Egress,
    /// Opened here, to a private address.
    EgressInternal,
    /// Opened here, to a public address.
    EgressExternal,
}

/// Where a file comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A file.
    Path(PathBuf),
    /// Standard input.
    Stdin,
    /// A text at hand, and the name to call it by.
    Text {
        /// Name, as messages say it.
        name: String,
        /// The text.
        text: String,
    },
}

impl Source {
    /// What `--config` and `validate` name: a path, or `-` for standard input.
    #[must_use]
    pub fn named(name: &str) -> Source {
        if name == "-" { Source::Stdin } else { Source::Path(PathBuf::from(name)) }
    }

    fn name(&self) -> String {
        match self {
            Source::Path(path) => path.display().to_string(),
            Source::Stdin => "<stdin>".to_owned(),
            Source::Text { name, .. } => name.clone(),
        }
    }

    /// Relative paths in the file start here: at its own folder, or else where qtap was started.
    fn folder(&self) -> PathBuf {
        match self {
            Source::Path(path) => path.parent().map(Path::to_path_buf).unwrap_or_default(),
            Source::Stdin | Source::Text { .. } => PathBuf::new(),
        }
    }

    fn text(self) -> Result<String, Faults> {
        let name = self.name();
        let read = match self {
            Source::Text { text, .. } => return Ok(text),
            Source::Stdin => bounded(std::io::stdin().lock()),
            Source::Path(path) if path.to_string_lossy().contains("://") => {
                return Err(Faults::whole(
                    &name,
                    "a config from a URL is not supported yet by this version",
                    "name a file",
                ));
            }
            Source::Path(path) => std::fs::File::open(path).and_then(bounded),
        };
        let bytes = read.map_err(|error| Faults::whole(&name, format!("cannot be read: {error}"), ""))?;
        if bytes.len() as u64 > MAX_FILE_BYTES {
            return Err(Faults::whole(
                &name,
                "larger than 1mb",
                "a settings file is a few kilobytes: is it the right one?",
            ));
        }
        let text =
            String::from_utf8(bytes).map_err(|_| Faults::whole(&name, "not UTF-8 text", "is it the right file?"))?;
        Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
    }
}

fn bounded(reader: impl Read) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

impl Settings {
    /// What holds when there is no file: events and objects to standard output, credentials redacted, HTTP at `level`.
    #[must_use]
    pub fn built_in(level: Level) -> Settings {
        meaning::built_in(level)
    }

    /// The same with what the command line adds: tags (`key:value`), and how much of a body is kept.
    #[must_use]
    pub fn with(mut self, tags: &[String], http_buffer_size: usize) -> Settings {
        self.pipeline.tags.extend_from_slice(tags);
        self.tap.http_buffer_size = http_buffer_size;
        self
    }
}

/// Reads and checks a file. `env` looks up environment variables.
///
/// # Errors
/// Everything that is wrong with the file.
pub fn load(source: Source, env: &dyn Fn(&str) -> Option<String>) -> Result<(Settings, Vec<Note>), Faults> {
    let (name, folder) = (source.name(), source.folder());
    let text = source.text()?;
    let root = yaml::read(&text).map_err(|malformed| Faults::malformed(&name, &text, malformed))?;
    let out = finding::Findings::default();
    let typed = file::read(root.as_ref(), &out);
    let macros = meaning::macros(&typed, &out);
    let around = meaning::Around { env, folder: &folder, out: &out, macros: &macros };
    let settings = meaning::settle(&typed, &around);
    let (faults, notes) = out.tell(&name, &text, root.as_ref());
    if faults.is_empty() { Ok((settings, notes)) } else { Err(Faults(faults)) }
}

#[cfg(test)]
mod tests;
