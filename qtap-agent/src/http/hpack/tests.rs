//! All of RFC 7541 Appendix C; what is unknown; and every story of the corpus of header blocks, if it is available.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on must stop")]
#![allow(clippy::print_stdout, reason = "a test that is skipped says so")]

use std::path::Path;
use std::process::Command;

use bytes::Bytes;

use super::*;

fn hex(text: &str) -> Bytes {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// Limits that keep everything.
const ROOM: Limits = Limits { octets: usize::MAX, fields: 1 << 20 };

fn fields(decoder: &mut Decoder, block: &str) -> Vec<(String, String)> {
    let decoded = decoder.decode(hex(block), ROOM);
    assert!(!decoded.broken && !decoded.unknown && !decoded.cut);
    let text = |text: &FieldText| text.text().unwrap().to_owned();
    decoded.fields.iter().map(|field| (text(&field.name), text(&field.value))).collect()
}

fn expect(decoder: &mut Decoder, block: &str, want: &[(&str, &str)], table_size: usize) {
    let want: Vec<_> = want.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    assert_eq!(fields(decoder, block), want);
    assert_eq!(decoder.table.size(), table_size);
}

#[test]
fn c1_integers() {
    assert_eq!(integer(&mut hex("0a"), 5), Ok(10));
    assert_eq!(integer(&mut hex("1f9a0a"), 5), Ok(1337));
    assert_eq!(integer(&mut hex("2a"), 8), Ok(42));
    assert_eq!(integer(&mut hex("1f9a"), 5), Err(Fault::Short(1)), "cut off");
    assert_eq!(integer(&mut hex("1fffffffffffff7f"), 5), Err(Fault::Broken), "too large");
}

#[test]
fn c2_1_literal_with_indexing() {
    let block = "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572";
    expect(&mut Decoder::new(false), block, &[("custom-key", "custom-header")], 55);
}

#[test]
fn c2_2_literal_without_indexing() {
    expect(&mut Decoder::new(false), "040c 2f73 616d 706c 652f 7061 7468", &[(":path", "/sample/path")], 0);
}

#[test]
fn c2_3_never_indexed() {
    expect(&mut Decoder::new(false), "1008 7061 7373 776f 7264 0673 6563 7265 74", &[("password", "secret")], 0);
}

#[test]
fn c2_4_indexed() {
    expect(&mut Decoder::new(false), "82", &[(":method", "GET")], 0);
}

fn requests(blocks: [&str; 3]) {
    let start = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "www.example.com")];
    let mut decoder = Decoder::new(false);
    expect(&mut decoder, blocks[0], &start, 57);
    expect(&mut decoder, blocks[1], &[&start[..], &[("cache-control", "no-cache")]].concat(), 110);
    let third = [
        (":method", "GET"),
        (":scheme", "https"),
        (":path", "/index.html"),
        (":authority", "www.example.com"),
        ("custom-key", "custom-value"),
    ];
    expect(&mut decoder, blocks[2], &third, 164);
}

#[test]
fn c3_requests_without_huffman() {
    requests([
        "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        "8286 84be 5808 6e6f 2d63 6163 6865",
        "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
    ]);
}

#[test]
fn c4_requests_with_huffman() {
    requests([
        "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
        "8286 84be 5886 a8eb 1064 9cbf",
        "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
    ]);
}

fn responses(blocks: [&str; 3]) {
    let date = ("date", "Mon, 21 Oct 2013 20:13:21 GMT");
    let location = ("location", "https://www.example.com");
    let private = ("cache-control", "private");
    let mut decoder = Decoder::new(false);
    decoder.table.resize(256);
    expect(&mut decoder, blocks[0], &[(":status", "302"), private, date, location], 222);
    expect(&mut decoder, blocks[1], &[(":status", "307"), private, date, location], 222);
    let third = [
        (":status", "200"),
        private,
        ("date", "Mon, 21 Oct 2013 20:13:22 GMT"),
        location,
        ("content-encoding", "gzip"),
        ("set-cookie", "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"),
    ];
    expect(&mut decoder, blocks[2], &third, 215);
}

#[test]
fn c5_responses_without_huffman() {
    responses([
        "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3120 474d \
         546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        "4803 3330 37c1 c0bf",
        "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970 7738 666f \
         6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b \
         2076 6572 7369 6f6e 3d31",
    ]);
}

#[test]
fn c6_responses_with_huffman() {
    responses([
        "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718 63c7 \
         8f0b 97c8 e9ae 82ae 43d3",
        "4883 640e ffc1 c0bf",
        "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7 b335 \
         dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07",
    ]);
}

#[test]
fn a_late_joiner_knows_what_was_inserted_since_and_nothing_else() {
    let mut decoder = Decoder::new(true);
    let decoded = decoder.decode(hex("82 be 4001 6101 62 be bf"), ROOM);
    assert!(decoded.unknown && !decoded.broken);
    let texts: Vec<_> = decoded.fields.iter().map(|f| (f.name.text(), f.value.text())).collect();
    let ab = (Some("a"), Some("b"));
    assert_eq!(texts, [(Some(":method"), Some("GET")), (None, None), ab, ab, (None, None)]);
}

#[test]
fn a_name_that_is_unknown_stays_so_when_it_is_inserted_again() {
    let mut decoder = Decoder::new(true);
    let decoded = decoder.decode(hex("7e 01 76 be"), ROOM);
    for field in decoded.fields {
        assert_eq!((field.name, field.value.text()), (FieldText::Unknown, Some("v")));
    }
}

#[test]
fn bad_blocks_end_where_they_break_and_bad_strings_are_unknown() {
    let mut decoder = Decoder::new(false);
    assert!(decoder.decode(hex("82 40 05 61"), ROOM).broken);
    let decoded = decoder.decode(hex("00 01 61 81 00 82"), ROOM);
    assert!(!decoded.broken && decoded.unknown);
    assert_eq!(decoded.fields.len(), 2);
    let cut = decoder.decode(hex("82 82 82 82"), Limits { fields: 100, ..ROOM });
    assert!(cut.cut);
    assert_eq!(cut.fields.len(), 2);
}

/// Appendix C.4 and what follows it, split into pieces of every length: the result is the same as for whole blocks.
#[test]
fn a_block_in_pieces_is_what_it_is_whole() {
    let blocks =
        ["8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff", "8286 84be 5886 a8eb 1064 9cbf", "3fe1 1f40 0161 0162 be bf c0"];
    let decode = |piece: usize, limits: Limits| {
        let mut decoder = Decoder::new(false);
        let tell = |block: &&str| {
            let (block, mut at) = (hex(block), 0);
            while block.len() - at > piece {
                decoder.decode_piece(block.slice(at..at + piece), limits);
                at += piece;
            }
            let decoded = decoder.decode(block.slice(at..), limits);
            assert!(!decoded.broken && !decoded.unknown);
            (decoded.fields, decoded.size, decoded.cut)
        };
        blocks.iter().map(tell).collect::<Vec<_>>()
    };
    for octets in [usize::MAX, 0, 4, 6] {
        let limits = Limits { octets, ..ROOM };
        let whole = decode(100, limits);
        assert_eq!(whole.iter().any(|(_, _, cut)| *cut), octets < 100);
        (1..20).for_each(|piece| assert_eq!(decode(piece, limits), whole, "{piece}, of {octets}"));
    }
}

/// Of a value longer than any table holds, only the name is known; what follows it is read.
#[test]
fn a_string_of_any_length_is_passed_over() {
    let long = [&hex("82 40 0161 7f")[..], &hex("81 ff 3f"), &vec![b'x'; 1 << 20], &hex("40 0162 0163")].concat();
    let mut decoder = Decoder::new(false);
    let limits = Limits { octets: 1000, ..ROOM };
    for piece in long.chunks(10_000) {
        decoder.decode_piece(Bytes::copy_from_slice(piece), limits);
        assert!(decoder.held() < 300_000);
    }
    let decoded = decoder.decode(Bytes::new(), limits);
    assert!(decoded.cut && !decoded.broken);
    assert_eq!(decoded.fields.len(), 1);
    assert_eq!(fields(&mut decoder, "be"), [("b".to_owned(), "c".to_owned())]);
    decoder.decode_piece(Bytes::copy_from_slice(&long[..2000]), limits);
    assert!(decoder.decode(Bytes::new(), limits).broken, "it never came");
}

#[test]
#[allow(clippy::print_stdout)] // a test that skips says so
fn every_story_of_the_corpus() {
    let archive = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpora/hpack-stories.tar.xz");
    if !archive.exists() {
        println!("skipped: no hpack-stories.tar.xz in ../shared/corpora");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let status = Command::new("tar").arg("-xJf").arg(&archive).arg("-C").arg(folder.path()).status().unwrap();
    assert!(status.success());
    let (mut encoders, mut stories, mut blocks) = (0, 0, 0);
    for encoder in std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().path()).filter(|p| p.is_dir()) {
        encoders += 1;
        for story in std::fs::read_dir(encoder).unwrap().map(|e| e.unwrap().path()) {
            stories += 1;
            blocks += tell(&story);
        }
    }
    println!("{stories} stories of {encoders} encoders, {blocks} header blocks: each decoded whole");
    assert!(encoders >= 4 && blocks > 1000, "{blocks} blocks of {encoders} encoders");
}

fn tell(story: &Path) -> usize {
    let story_text = std::fs::read_to_string(story).unwrap();
    let value: serde_json::Value = serde_json::from_str(&story_text).unwrap();
    let cases = value["cases"].as_array().unwrap();
    let mut decoder = Decoder::new(false);
    for case in cases {
        let want: Vec<(String, String)> = case["headers"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|field| field.as_object().unwrap())
            .map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()))
            .collect();
        assert_eq!(fields(&mut decoder, case["wire"].as_str().unwrap()), want, "{} {}", story.display(), case["seqno"]);
    }
    cases.len()
}
