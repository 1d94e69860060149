//! What TLS reveals in the clear: the server name of the ClientHello, the version and application protocol of the ServerHello, and the
//! random of both, which identifies a handshake.
//!
//! In: the first bytes of one direction of a socket, split anywhere. Out: a [`Hello`], once. The record layer is stripped byte by byte
//! (RFC 8446 §5.1, RFC 5246 §6.2.1); the handshake message is collected up to a bound and parsed once it is whole (RFC 8446 §4).
//! A HelloRetryRequest is skipped: the ServerHello that counts follows it. Hostile bytes only end the parsing. Nothing after the hello is inspected.

use crate::model::conn::Random;

/// Bytes collected of a hello, not counting the rest of a fragment. A ClientHello with post-quantum key shares takes 2 KiB, one with tickets may take 6.
pub const HELLO_BYTES: usize = 16 << 10;

/// Longest server name kept: that of a DNS name (RFC 1035 §2.3.4).
const SERVER_NAME_BYTES: usize = 255;

/// Longest ALPN protocol name (RFC 7301 §3.1).
const ALPN_BYTES: usize = 255;

/// Smallest content type of a record.
const CHANGE_CIPHER_SPEC: u8 = 20;
/// Content type "handshake" of a record.
const HANDSHAKE: u8 = 22;
/// Largest content type with which a stretch of records may begin.
const APPLICATION_DATA: u8 = 23;
/// Major version of every TLS record (SSL 3.0 included).
const MAJOR: u8 = 3;
/// Maximum fragment length: 2^14, and 2048 more if it is protected (RFC 5246 §6.2.3).
const FRAGMENT_BYTES: u16 = (1 << 14) + 2048;

const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;

/// The random of a ServerHello that asks for another ClientHello (RFC 8446 §4.1.3).
const RETRY: Random = Random([
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2, 0xa2, 0x11,
    0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
]);

const EXTENSION_SERVER_NAME: u16 = 0;
const EXTENSION_ALPN: u16 = 16;
/// Maximum fragment length: 2^14 and what encryption may add (RFC 8446 §5.2, RFC 5246 §6.2.3).
const RECORD_BYTES: usize = (1 << 14) + 2048;
const EXTENSION_SUPPORTED_VERSIONS: u16 = 43;

/// The position, within a direction, of the first bytes seen of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// At its beginning.
    Beginning,
    /// After lost bytes: they may come from the middle of anything.
    BehindLoss,
    /// Somewhere in the middle: the connection was joined mid-stream.
    Middle,
}

/// True if the first bytes seen of a direction are the start of a TLS record (RFC 8446 §5.1): a handshake record or, in the middle,
/// one of any type. At the beginning one byte suffices; after a loss the whole record header must be right.
#[must_use]
pub fn is_tls(first: &[u8], place: Place) -> bool {
    match (place, first) {
        (Place::Beginning | Place::Middle, [HANDSHAKE] | [HANDSHAKE, MAJOR, ..]) => true,
        (Place::Middle, [CHANGE_CIPHER_SPEC..=APPLICATION_DATA, MAJOR, minor, ..]) => *minor <= 4,
        (Place::BehindLoss, [HANDSHAKE, MAJOR, minor, high, low, ..]) => {
            *minor <= 4 && usize::from(u16::from_be_bytes([*high, *low])) <= RECORD_BYTES
        }
        (Place::Beginning | Place::BehindLoss | Place::Middle, [] | [_, ..]) => false,
    }
}

/// True if a piece begins like a hello's record, whose message type follows the record header: six bytes, which recognise TLS that follows plaintext.
#[inline]
#[must_use]
pub fn begins(piece: &[u8]) -> bool {
    matches!(piece, [HANDSHAKE, MAJOR, 0..=4, _, _, CLIENT_HELLO | SERVER_HELLO, ..])
}

/// The first message of one side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hello {
    /// A ClientHello.
    Client {
        /// Requested host name (RFC 6066 §3).
        server_name: Option<String>,
        /// Identifies this handshake.
        random: Random,
    },
    /// A ServerHello.
    Server {
        /// The chosen version, as the OpenTelemetry conventions write it (`1.2`, `1.3`).
        version: Option<String>,
        /// The chosen application protocol, if it is in the clear (up to TLS 1.2).
        alpn: Option<String>,
        /// Identifies this handshake, too.
        random: Random,
    },
}

/// The state of the parsing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading {
    /// More bytes are needed.
    More,
    /// The hello is complete.
    Done(Hello),
    /// It is not a hello, or a malformed or overlong one. Nothing more can be learned.
    Nothing,
}

/// Parses the hello of one direction.
#[derive(Debug, Default)]
pub struct HelloReader {
    /// Header of the current record: content type, version, length.
    header: [u8; 5],
    header_len: usize,
    /// Bytes of its fragment still to come.
    fragment_left: u16,
    /// The handshake message so far.
    message: Vec<u8>,
    /// The server asked for another ClientHello.
    retried: bool,
}

impl HelloReader {
    /// Takes the next bytes. After any result but [`Reading::More`] the reader must not be used again.
    pub fn read(&mut self, mut bytes: &[u8]) -> Reading {
        while !bytes.is_empty() {
            if self.fragment_left == 0 {
                let Some(rest) = self.read_header(bytes) else { return Reading::Nothing };
                bytes = rest;
                continue;
            }
            let take = bytes.len().min(usize::from(self.fragment_left));
            let (fragment, rest) = bytes.split_at(take);
            self.fragment_left -= take as u16;
            bytes = rest;
            if self.header.first() == Some(&CHANGE_CIPHER_SPEC) {
                continue;
            }
            self.message.extend_from_slice(fragment);
            match self.whole_message() {
                Some(Reading::Done(Hello::Server { random: RETRY, .. })) if !self.retried => {
                    // One message per record, and only one such request per connection (RFC 8446 §4.1.4).
                    self.retried = true;
                    self.message.clear();
                }
                Some(Reading::Done(Hello::Server { random: RETRY, .. })) => return Reading::Nothing,
                Some(Reading::More) | None if self.message.len() > HELLO_BYTES => return Reading::Nothing,
                Some(Reading::More) | None => {}
                Some(answer) => return answer,
            }
        }
        Reading::More
    }

    /// No more bytes will come: returns what can be parsed of a cut hello. Only a client's: the part cut off could have changed a server's version.
    #[must_use]
    pub fn cut(&self) -> Option<Hello> {
        let mut cursor = Cursor(&self.message);
        if cursor.u8()? != CLIENT_HELLO {
            return None;
        }
        let _len = cursor.u24()?;
        match client_hello(cursor)? {
            Hello::Server { .. } => None,
            hello @ Hello::Client { .. } => Some(hello),
        }
    }

    /// Takes bytes of a record header; `None` if it is not that of a handshake record.
    fn read_header<'a>(&mut self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let wanted = self.header.len().saturating_sub(self.header_len);
        let (part, rest) = bytes.split_at(bytes.len().min(wanted));
        self.header.get_mut(self.header_len..)?.get_mut(..part.len())?.copy_from_slice(part);
        self.header_len += part.len();
        let kind = self.header.first();
        // Between the two, a meaningless record is sent for the sake of middleboxes (RFC 8446 §D.4).
        let expected = kind == Some(&HANDSHAKE) || (self.retried && kind == Some(&CHANGE_CIPHER_SPEC));
        if !expected || (self.header_len > 1 && self.header.get(1) != Some(&MAJOR)) {
            return None;
        }
        if let (5, [_, _, _, high, low]) = (self.header_len, self.header) {
            self.header_len = 0;
            self.fragment_left = u16::from_be_bytes([high, low]);
            // An empty handshake fragment is forbidden (RFC 8446 §5.1).
            if self.fragment_left == 0 || self.fragment_left > FRAGMENT_BYTES {
                return None;
            }
        }
        Some(rest)
    }

    /// Parses the message once it is whole.
    fn whole_message(&self) -> Option<Reading> {
        let mut cursor = Cursor(&self.message);
        let kind = cursor.u8()?;
        if kind != CLIENT_HELLO && kind != SERVER_HELLO {
            return Some(Reading::Nothing);
        }
        let len = cursor.u24()?;
        if len > HELLO_BYTES {
            return Some(Reading::Nothing);
        }
        let body = Cursor(cursor.take(len)?);
        let hello = if kind == CLIENT_HELLO { client_hello(body) } else { server_hello(body) };
        Some(hello.map_or(Reading::Nothing, Reading::Done))
    }
}

/// RFC 8446 §4.1.2, RFC 5246 §7.4.1.2.
fn client_hello(mut body: Cursor<'_>) -> Option<Hello> {
    let _legacy_version = body.u16()?;
    let random = body.random()?;
    let _session_id = body.vec8()?;
    let _cipher_suites = body.vec16()?;
    let _compression_methods = body.vec8()?;
    let mut server_name = None;
    for_each_extension(body, |kind, data| {
        if kind == EXTENSION_SERVER_NAME {
            server_name = self::server_name(Cursor(data));
        }
    });
    Some(Hello::Client { server_name, random })
}

/// RFC 8446 §4.1.3, RFC 5246 §7.4.1.3. A HelloRetryRequest has the same form, and is recognised by its random.
fn server_hello(mut body: Cursor<'_>) -> Option<Hello> {
    let mut version = body.u16()?;
    let random = body.random()?;
    let _session_id = body.vec8()?;
    let _cipher_suite = body.u16()?;
    let _compression_method = body.u8()?;
    let mut alpn = None;
    for_each_extension(body, |kind, data| match kind {
        EXTENSION_SUPPORTED_VERSIONS => version = Cursor(data).u16().unwrap_or(version),
        EXTENSION_ALPN => alpn = self::alpn(Cursor(data)),
        _ => {}
    });
    Some(Hello::Server { version: version_name(version), alpn, random })
}

/// Iterates over the extensions up to the first one that is cut. A hello may have none.
fn for_each_extension<'a>(mut body: Cursor<'a>, mut each: impl FnMut(u16, &'a [u8])) {
    let Some(len) = body.u16() else { return };
    let mut all = Cursor(body.0.get(..usize::from(len)).unwrap_or(body.0));
    while let (Some(kind), Some(data)) = (all.u16(), all.vec16()) {
        each(kind, data);
    }
}

/// RFC 6066 §3: a list of names, of which only type 0, host name, was ever defined.
fn server_name(mut data: Cursor<'_>) -> Option<String> {
    let mut names = Cursor(data.vec16()?);
    while let (Some(kind), Some(name)) = (names.u8(), names.vec16()) {
        if kind == 0 {
            return graphic_text(name, SERVER_NAME_BYTES);
        }
    }
    None
}

/// RFC 7301 §3.1: the server's list holds exactly one name.
fn alpn(mut data: Cursor<'_>) -> Option<String> {
    graphic_text(Cursor(data.vec16()?).vec8()?, ALPN_BYTES)
}

/// Visible ASCII text; nothing else is copied into records.
fn graphic_text(bytes: &[u8], max: usize) -> Option<String> {
    let fits = !bytes.is_empty() && bytes.len() <= max && bytes.iter().all(u8::is_ascii_graphic);
    fits.then(|| String::from_utf8_lossy(bytes).into_owned())
}

/// The value of `tls.protocol.version`.
fn version_name(version: u16) -> Option<String> {
    let name = match version {
        0x0301 => "1.0",
        0x0302 => "1.1",
        0x0303 => "1.2",
        0x0304 => "1.3",
        _ => return None,
    };
    Some(name.to_owned())
}

/// Bytes still to be read.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn random(&mut self) -> Option<Random> {
        Some(Random(self.take(32)?.try_into().ok()?))
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2)?.try_into().ok().map(u16::from_be_bytes)
    }

    fn u24(&mut self) -> Option<usize> {
        let high = usize::from(self.u8()?);
        Some(high << 16 | usize::from(self.u16()?))
    }

    /// A vector with one byte of length.
    fn vec8(&mut self) -> Option<&'a [u8]> {
        let len = usize::from(self.u8()?);
        self.take(len)
    }

    /// A vector with two bytes of length.
    fn vec16(&mut self) -> Option<&'a [u8]> {
        let len = usize::from(self.u16()?);
        self.take(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEVENS: Random = Random([7; 32]);

    fn vec16(bytes: &[u8]) -> Vec<u8> {
        [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat()
    }

    fn extension(kind: u16, data: &[u8]) -> Vec<u8> {
        [&kind.to_be_bytes()[..], &vec16(data)].concat()
    }

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        [&[kind, 0], &(body.len() as u16).to_be_bytes()[..], body].concat()
    }

    fn record(fragment: &[u8]) -> Vec<u8> {
        [&[22, 3, 1][..], &vec16(fragment)].concat()
    }

    fn client(extensions: &[u8]) -> Vec<u8> {
        let fixed = [&[3, 3][..], &[7; 32], &[0], &vec16(&[0x13, 0x01]), &[1, 0]].concat();
        message(1, &[fixed, vec16(extensions)].concat())
    }

    fn server(version: [u8; 2], extensions: &[u8]) -> Vec<u8> {
        let fixed = [&version[..], &[7; 32], &[2, 9, 9], &[0x13, 0x01], &[0]].concat();
        message(2, &[fixed, vec16(extensions)].concat())
    }

    fn sni(name: &str) -> Vec<u8> {
        extension(0, &vec16(&[&[0][..], &vec16(name.as_bytes())].concat()))
    }

    fn read(bytes: &[u8]) -> Reading {
        HelloReader::default().read(bytes)
    }

    fn asks_for(name: Option<&str>) -> Reading {
        Reading::Done(Hello::Client { server_name: name.map(str::to_owned), random: SEVENS })
    }

    fn chose(version: &str, alpn: Option<&str>) -> Reading {
        let (version, alpn) = (Some(version.to_owned()), alpn.map(str::to_owned));
        Reading::Done(Hello::Server { version, alpn, random: SEVENS })
    }

    #[test]
    fn a_client_hello_names_the_server() {
        let extensions = [extension(0x2a2a, &[]), sni("api.example.com"), extension(16, &vec16(b"\x02h2"))].concat();
        assert_eq!(read(&record(&client(&extensions))), asks_for(Some("api.example.com")));
        assert_eq!(read(&record(&client(&[]))), asks_for(None));
    }

    #[test]
    fn a_hello_without_extensions_is_one() {
        let body = [&[3, 1][..], &[7; 32], &[0], &vec16(&[0, 5]), &[1, 0]].concat();
        assert_eq!(read(&record(&message(1, &body))), asks_for(None));
        let body = [&[3, 1][..], &[7; 32], &[0], &[0, 5], &[0]].concat();
        assert_eq!(read(&record(&message(2, &body))), chose("1.0", None));
    }

    #[test]
    fn a_server_hello_tells_version_and_protocol() {
        let tls13 = server([3, 3], &[extension(51, &[0; 36]), extension(43, &[3, 4])].concat());
        assert_eq!(read(&record(&tls13)), chose("1.3", None));
        let tls12 = server([3, 3], &extension(16, &vec16(b"\x08http/1.1")));
        assert_eq!(read(&record(&tls12)), chose("1.2", Some("http/1.1")));
    }

    #[test]
    fn a_request_to_retry_is_passed_over() {
        let extensions = extension(43, &[3, 4]);
        let mut retry = server([3, 3], &extensions);
        retry[6..38].copy_from_slice(&RETRY.0);
        let (retry, hello) = (record(&retry), record(&server([3, 3], &extensions)));
        let between = [20, 3, 3, 0, 1, 1];
        for bytes in [[&retry[..], &hello].concat(), [&retry[..], &between, &hello].concat()] {
            assert_eq!(read(&bytes), chose("1.3", None));
            for at in 0..bytes.len() {
                let mut reader = HelloReader::default();
                assert_eq!(reader.read(&bytes[..at]), Reading::More, "cut at {at}");
                assert_eq!(reader.read(&bytes[at..]), chose("1.3", None), "cut at {at}");
            }
        }
        assert_eq!(read(&[&retry[..], &retry].concat()), Reading::Nothing, "it is asked once");
        assert_eq!(read(&[&between[..], &hello].concat()), Reading::Nothing, "nothing stands before the first");
    }

    #[test]
    fn any_split_reads_the_same() {
        let hello = client(&sni("a.example"));
        let (one, two) = hello.split_at(20);
        for bytes in [record(&hello), [record(one), record(two)].concat()] {
            for at in 0..bytes.len() {
                let mut reader = HelloReader::default();
                assert_eq!(reader.read(&bytes[..at]), Reading::More, "cut at {at}");
                assert_eq!(reader.read(&bytes[at..]), asks_for(Some("a.example")), "cut at {at}");
            }
            let mut reader = HelloReader::default();
            let answers: Vec<_> = bytes.iter().map(|byte| reader.read(&[*byte])).collect();
            assert_eq!(answers.last(), Some(&asks_for(Some("a.example"))));
        }
    }

    #[test]
    fn a_hello_that_was_cut_still_names_the_server() {
        let bytes = record(&client(&[sni("a.example"), extension(51, &[0; 500])].concat()));
        let mut reader = HelloReader::default();
        assert_eq!(reader.read(&bytes[..120]), Reading::More);
        assert_eq!(reader.cut(), Some(Hello::Client { server_name: Some("a.example".to_owned()), random: SEVENS }));
        let mut reader = HelloReader::default();
        assert_eq!(reader.read(&bytes[..60]), Reading::More);
        assert_eq!(reader.cut(), Some(Hello::Client { server_name: None, random: SEVENS }), "and its random");
        let mut reader = HelloReader::default();
        assert_eq!(reader.read(&bytes[..40]), Reading::More);
        assert_eq!(reader.cut(), None);
        let mut reader = HelloReader::default();
        assert_eq!(reader.read(&record(&server([3, 3], &extension(43, &[3, 4])))[..50]), Reading::More);
        assert_eq!(reader.cut(), None, "it might be 1.2 or 1.3");
    }

    #[test]
    fn what_is_not_a_hello_ends_the_reading() {
        assert_eq!(read(b"GET / HTTP/1.1\r\n"), Reading::Nothing);
        assert_eq!(read(&[22, 9]), Reading::Nothing);
        assert_eq!(read(&[22, 3, 1, 0, 0]), Reading::Nothing, "empty fragment");
        assert_eq!(read(&[22, 3, 1, 0xff, 0xff]), Reading::Nothing, "overlong fragment");
        assert_eq!(read(&record(&message(11, &[0; 10]))), Reading::Nothing, "a certificate");
        assert_eq!(read(&record(&[1, 0xff, 0xff, 0xff])), Reading::Nothing, "overlong message");
        assert_eq!(read(&record(&message(1, &[3, 3, 0]))), Reading::Nothing, "cut body");
    }

    #[test]
    fn lengths_that_lie_are_safe() {
        let honest = record(&client(&sni("a.example")));
        for at in 9..honest.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut bytes = honest.clone();
                bytes[at] = value;
                let _ = read(&bytes);
            }
        }
        assert_eq!(read(&record(&client(&sni("bad\nname")))), asks_for(None), "control characters are not repeated");
        assert_eq!(read(&record(&client(&sni(&"x".repeat(256))))), asks_for(None));
    }

    #[test]
    fn the_first_bytes_tell_tls() {
        use Place::{Beginning, BehindLoss, Middle};
        assert!(is_tls(&[22, 3, 1], Beginning) && is_tls(&[22], Beginning));
        assert!(!is_tls(b"GET", Middle) && !is_tls(&[], Middle) && !is_tls(&[22, 4], Middle));
        assert!(is_tls(&[23, 3, 3, 0, 9], Middle) && is_tls(&[20, 3, 3], Middle));
        assert!(!is_tls(&[23, 3, 3, 0, 9], Beginning) && !is_tls(&[23, 3], Middle) && !is_tls(&[23, 3, 5], Middle));
        assert!(is_tls(&[22, 3, 3, 0, 9, 1], BehindLoss));
        assert!(
            !is_tls(&[22], BehindLoss) && !is_tls(&[22, 3, 3], BehindLoss) && !is_tls(&[22, 3, 3, 90, 9], BehindLoss)
        );
    }
}
