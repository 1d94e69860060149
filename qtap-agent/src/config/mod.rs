//! `qtap.yaml` → checked settings of each room. In: the text, and what it refers to (variables, files of secrets). Out:
//! [`Settings`], or every fault of the file at once, each with its line and the correction.
//!
//! ```text
//! text ─ place, yaml ─▶ nodes ─ fields by shape ─▶ file (as typed) ─ meaning ─▶ Settings
//!                                      └──────── finding ────────┴──▶ Faults, Notes
//! ```
//!
//! `file/` reads the file as typed: it knows keys and types. `meaning/` then interprets it: defaults, variables and
//! references. Old spellings end here: no other room knows them. Nothing here shows a secret.

mod fields;
mod file;
mod finding;
mod inside;
mod meaning;
mod page;
mod place;
mod remote;
mod schema;
mod shape;
mod validate;
mod value;
mod wording;
mod yaml;

use std::io::Read;
use std::path::{Path, PathBuf};

use sha2::Digest as _;

pub use crate::pipeline::settings::Level;
pub use finding::{Faults, Finding, Note};
pub use schema::schema;
pub use validate::{Verdict, validate};
pub use value::{duration, size};

use crate::capture::settings::Filters;
use crate::export::settings::StoreSettings;
use crate::pipeline;

/// Maximum size of a settings file, in bytes.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// The settings that the other rooms need.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Where records go; ids are unique.
    pub stores: Vec<StoreSettings>,
    /// How observations become records.
    pub pipeline: pipeline::settings::Settings,
    /// What is captured.
    pub tap: TapSettings,
}

/// What is captured: decided in the kernel, before a byte is copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TapSettings {
    /// Directions of the connections that are captured.
    pub direction: DirectionFilter,
    /// True: connections over loopback are not captured.
    pub ignore_loopback: bool,
    /// False: no HTTP payload is copied, because no stack would use it.
    pub http_wanted: bool,
    /// Body bytes to keep, per direction (`--http-buffer-size`).
    pub http_buffer_size: usize,
    /// Processes that are excluded.
    pub filters: Filters,
    /// DNS answers are parsed, because they are reported or because endpoints may be matched by name.
    pub reads_dns: bool,
    /// DNS answers are reported as connections.
    pub audit_dns: bool,
}

/// Default number of body bytes to keep, per direction.
pub const HTTP_BUFFER_SIZE: usize = 2 << 20;

/// Upper limit of the above.
pub const MAX_HTTP_BUFFER_SIZE: u64 = 2 << 30;

/// Which connections are captured (`tap.direction`).
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

/// Where a config comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A file.
    Path(PathBuf),
    /// A URL.
    Url {
        /// The URL.
        url: String,
        /// The data directory in which a copy is kept; `None`: no copy is kept.
        copies: Option<PathBuf>,
    },
    /// Standard input.
    Stdin,
    /// A text in memory, and a name for it.
    Text {
        /// The name used in messages.
        name: String,
        /// The text.
        text: String,
    },
}

impl Source {
    /// From the argument of `--config` or `validate`: a path, a URL, or `-` for standard input.
    #[must_use]
    pub fn named(name: &str) -> Source {
        match name {
            "-" => Source::Stdin,
            url if url.starts_with("http://") || url.starts_with("https://") => {
                Source::Url { url: url.to_owned(), copies: None }
            }
            path => Source::Path(PathBuf::from(path)),
        }
    }

    /// Sets the data directory that keeps a copy of a config fetched from a URL, used when the server can't be reached.
    #[must_use]
    pub fn with_copies(self, data_dir: &Path) -> Source {
        match self {
            Source::Url { url, .. } => Source::Url { url, copies: Some(data_dir.to_owned()) },
            other => other,
        }
    }

    /// The name used in messages.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Source::Path(path) => path.display().to_string(),
            Source::Url { url, .. } => remote::shown(url),
            Source::Stdin => "<stdin>".to_owned(),
            Source::Text { name, .. } => name.clone(),
        }
    }

    /// The base of relative paths in the file: its own folder, or else qtap's working directory.
    fn folder(&self) -> PathBuf {
        match self {
            Source::Path(path) => path.parent().map(Path::to_path_buf).unwrap_or_default(),
            Source::Url { .. } | Source::Stdin | Source::Text { .. } => PathBuf::new(),
        }
    }

    /// Reads the source. `copy_may_do`: the kept copy may be used when the server can't be reached.
    ///
    /// # Errors
    /// When the source can't be read, is too large, or is not text.
    pub fn read(&self, copy_may_do: bool) -> Result<Text, Faults> {
        let name = self.name();
        let mut read =
            Text { name: name.clone(), folder: self.folder(), text: String::new(), notes: Vec::new(), fresh: None };
        let bytes = match self {
            Source::Text { text, .. } => return Ok(Text { text: text.clone(), ..read }),
            Source::Url { url, copies } => return read.fetched(url, copies.as_deref(), copy_may_do),
            Source::Path(path) if path.to_string_lossy().contains("://") => {
                let help = "a path, `-`, or a URL with `http://` or `https://`";
                return Err(Faults::whole(&name, "a config can't be read from there", help));
            }
            Source::Stdin => bounded(std::io::stdin().lock()),
            Source::Path(path) => std::fs::File::open(path).and_then(bounded),
        };
        let bytes = bytes.map_err(|error| Faults::whole(&name, format!("cannot be read: {error}"), ""))?;
        if bytes.len() as u64 > MAX_FILE_BYTES {
            let help = "a settings file is a few kilobytes: is it the right one?";
            return Err(Faults::whole(&name, "larger than 1mb", help));
        }
        read.text = String::from_utf8(bytes).map_err(|error| not_text(&name, error.as_bytes(), error.utf8_error()))?;
        Ok(read)
    }
}

/// A config text that has been read but not yet checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    name: String,
    folder: PathBuf,
    text: String,
    notes: Vec<Note>,
    /// The copy to keep, its folder and its URL; written only once the text proves valid.
    fresh: Option<(remote::Copy, PathBuf, String)>,
}

impl Text {
    fn fetched(mut self, url: &str, copies: Option<&Path>, copy_may_do: bool) -> Result<Text, Faults> {
        let fetched = remote::fetch(url, copies, copy_may_do);
        match fetched.map_err(|why| Faults::whole(&self.name, format!("cannot be read: {why}"), ""))? {
            remote::Fetched::Same(text) => self.text = text,
            remote::Fetched::New(copy) => {
                self.text = copy.text().to_owned();
                self.fresh = copies.map(|copies| (copy, copies.to_owned(), url.to_owned()));
            }
            remote::Fetched::Unasked { why, text, age } => {
                let told = format!("cannot be read: {why}; its copy of {} ago is used", value::show_duration(age));
                self.notes.extend(Faults::whole(&self.name, told, "").0);
                self.text = text;
            }
        }
        Ok(self)
    }

    /// Digest of the text, to detect changes.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        sha2::Sha256::digest(self.text.as_bytes()).into()
    }

    /// Checks the text. `env` looks up environment variables.
    ///
    /// # Errors
    /// Everything that is wrong with the text.
    pub fn check(self, env: &dyn Fn(&str) -> Option<String>) -> Result<(Settings, Vec<Note>), Faults> {
        let Text { name, folder, text, notes: mut all, fresh } = self;
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let root = yaml::read(text).map_err(|malformed| Faults::malformed(&name, text, malformed))?;
        let out = finding::Findings::default();
        let typed = file::read(root.as_ref(), &out);
        let macros = meaning::macros(&typed, &out);
        let around = meaning::Around { env, folder: &folder, out: &out, macros: &macros };
        let settings = meaning::settle(&typed, &around);
        let (faults, notes) = out.tell(&name, text, root.as_ref());
        if !faults.is_empty() {
            return Err(Faults(faults));
        }
        if let Some((copy, copies, url)) = fresh
            && let Err(error) = remote::keep(&copy, &copies, &url)
        {
            let told = format!("no copy can be kept in {}: {error}", copies.display());
            all.extend(Faults::whole(&name, told, "without one, qtap starts only while the server can be reached").0);
        }
        all.extend(notes);
        Ok((settings, all))
    }
}

/// The fault of bytes that are not UTF-8, with the place of the first invalid one.
fn not_text(name: &str, bytes: &[u8], error: std::str::Utf8Error) -> Faults {
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Faults::whole(name, "not UTF-8 text, but UTF-16", "save it as UTF-8");
    }
    let (whole, _) = bytes.split_at_checked(error.valid_up_to()).unwrap_or_default();
    let lines = place::lines(str::from_utf8(whole).unwrap_or_default());
    let (line, last) = (lines.len().max(1), lines.last().copied().unwrap_or_default());
    let (line, column) = if whole.ends_with(b"\n") { (line + 1, 1) } else { (line, last.chars().count() + 1) };
    Faults::at(name, line, column, "not UTF-8 text", "save it as UTF-8; or is it another file?")
}

fn bounded(reader: impl Read) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

impl Settings {
    /// The settings used when there is no file: events and objects to standard output, credentials redacted, HTTP at `level`.
    #[must_use]
    pub fn built_in(level: Level) -> Settings {
        meaning::built_in(level)
    }

    /// Adds what the command line says: tags (`key:value`), and how much of a body to keep.
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
    source.read(true)?.check(env)
}

#[cfg(test)]
pub(crate) mod tests;
