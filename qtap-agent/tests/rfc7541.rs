//! RFC 7541 from outside: what two encoders do with their tables, and what qtap decodes. Appendix C and the corpus of header blocks are tested beside
//! the code. `docs/http.md` is the readable version.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on must stop")]

mod talk;

use qtap_agent::model::exchange::Incomplete;
use qtap_agent::model::message::{FieldText, Fields};
use talk::frames::*;
use talk::hear;

/// A request whose only field of interest is a table entry, and its value.
fn from_table(stream: u32, update: &[u8], field: &[u8]) -> Vec<u8> {
    frame(HEADERS, 5, stream, &[update, &[0x82, 0x86, 0x84], field].concat())
}

/// The decoded values of `x` in the requests; `?` where unknown, `-` where there is none.
fn values(blocks: &[Vec<u8>]) -> Vec<String> {
    let heard = hear(&row("", "", &[blocks.concat()], &[]).said);
    let value = |fields: &Fields| {
        fields.0.last().map_or("-".to_owned(), |field| match (&field.name, &field.value) {
            (FieldText::Known(_), FieldText::Known(value)) => String::from_utf8_lossy(value).into_owned(),
            _ => "?".to_owned(),
        })
    };
    heard.exchanges.iter().map(|exchange| value(&exchange.request.as_ref().unwrap().fields)).collect()
}

/// A table size update (RFC 7541 §6.3): an integer with a prefix of five bits (§5.1).
fn resize(to: usize) -> Vec<u8> {
    if to < 31 {
        return vec![0x20 | to as u8];
    }
    let (mut rest, mut octets) = (to - 31, vec![0x3f]);
    while rest >= 128 {
        octets.push((rest % 128) as u8 | 0x80);
        rest /= 128;
    }
    octets.push(rest as u8);
    octets
}

/// A description, the header blocks, and the decoded values.
type Row<'a> = (&'a str, Vec<Vec<u8>>, &'a [&'a str]);

#[test]
fn rfc7541_table_sizes() {
    let put = |value: &str| indexed("x", value);
    let newest = [0xbe];
    let second = [0xbf];
    let cases: [Row<'_>; 8] = [
        (
            "4.2 what was inserted is there",
            vec![from_table(1, &[], &put("1")), from_table(3, &[], &newest)],
            &["1", "1"],
        ),
        (
            "4.2 down to 0 empties the table, and up again it fills",
            vec![
                from_table(1, &[], &put("1")),
                from_table(3, &resize(0), &put("2")),
                from_table(5, &resize(4096), &put("3")),
                from_table(7, &[], &newest),
            ],
            &["1", "2", "3", "3"],
        ),
        (
            "4.2 two updates in one block: the smallest and the last",
            vec![
                from_table(1, &[], &put("1")),
                from_table(3, &[resize(0), resize(4096)].concat(), &put("2")),
                from_table(5, &[], &newest),
                from_table(7, &[], &second),
            ],
            &["1", "2", "2", "?"],
        ),
        (
            "4.3 a smaller table evicts the oldest",
            vec![
                from_table(1, &[], &put("1")),
                from_table(3, &[], &put("2")),
                from_table(5, &resize(34), &newest),
                from_table(7, &[], &second),
            ],
            &["1", "2", "2", "?"],
        ),
        (
            "4.4 an entry that is larger than the table empties it",
            vec![
                from_table(1, &resize(40), &put("1")),
                from_table(3, &[], &put("much too long for forty")),
                from_table(5, &[], &newest),
            ],
            &["1", "much too long for forty", "?"],
        ),
        (
            "4.4 an entry whose name is evicted to make room for it",
            vec![
                from_table(1, &resize(40), &put("1")),
                from_table(3, &[], &[&[0x7e][..], &string("22222")].concat()),
                from_table(5, &[], &newest),
            ],
            &["1", "22222", "22222"],
        ),
        (
            "6.3 an update of the size that holds already",
            vec![from_table(1, &resize(4096), &put("1")), from_table(3, &resize(4096), &newest)],
            &["1", "1"],
        ),
        (
            "2.3.3 an index beyond both tables is unknown",
            vec![from_table(1, &[], &put("1")), from_table(3, &[], &[0xff, 0x00])],
            &["1", "?"],
        ),
    ];
    for (what, blocks, want) in cases {
        assert_eq!(values(&blocks), want, "{what}");
    }
}

#[test]
fn rfc7541_tables_of_a_mebibyte_and_more() {
    // 30 entries of about 32 KiB: the encoder may use 1 MiB, and qtap remembers 256 KiB.
    let long = |n: usize| format!("{n:02}{}", "v".repeat(32_000));
    let mut blocks = Vec::new();
    for n in 0..30 {
        let text = long(n);
        let len = text.len() - 127;
        let value = [
            &[0x7f, (len % 128) as u8 | 0x80, (len / 128 % 128) as u8 | 0x80, (len / 16_384) as u8][..],
            text.as_bytes(),
        ]
        .concat();
        let field = [&[0x40][..], &string("x"), &value].concat();
        let block = [if n == 0 { resize(1 << 20) } else { Vec::new() }, vec![0x82, 0x86, 0x84], field].concat();
        let id = 2 * n as u32 + 1;
        blocks.push(frame(HEADERS, END_STREAM, id, &block[..16_000]));
        blocks.push(frame(CONTINUATION, 0, id, &block[16_000..32_000]));
        blocks.push(frame(CONTINUATION, END_HEADERS, id, &block[32_000..]));
    }
    for n in 0..30 {
        blocks.push(from_table(2 * n + 101, &[], &[0xbe + n as u8]));
    }
    let heard = values(&blocks);
    assert_eq!(heard[..30], (0..30).map(long).collect::<Vec<_>>());
    let (near, far): (Vec<usize>, Vec<usize>) = (0..30).partition(|n| heard[30 + n] == long(29 - n));
    assert_eq!(near, (0..8).collect::<Vec<_>>(), "256 KiB of entries are remembered");
    assert!(far.iter().all(|n| heard[30 + n] == "?"), "and those before are unknown, not guessed");
    let exchange = hear(&row("", "", &[blocks.concat()], &[]).said).exchanges.pop().unwrap();
    assert_eq!(exchange.incomplete, Some(Incomplete::FieldsUnknown));
}

/// The two directions have separate tables (RFC 7541 §2.2).
#[test]
fn rfc7541_a_table_for_each_direction() {
    let tell = |stream, block: &[&[u8]]| frame(HEADERS, 5, stream, &block.concat());
    let up = [from_table(1, &[], &indexed("x", "asked")), from_table(3, &[], &[0xbe])].concat();
    let down = [tell(1, &[&resize(64), OK, &indexed("y", "told")]), tell(3, &[OK, &[0xbe]])].concat();
    let heard = hear(&row("", "", &[up, down], &[]).said);
    assert_eq!(heard.exchanges.len(), 2);
    for exchange in heard.exchanges {
        let (request, response) = (exchange.request.unwrap(), exchange.response.unwrap());
        assert_eq!((request.fields.get("x"), response.fields.get("y")), (Some("asked"), Some("told")));
        assert_eq!((request.fields.0.len(), response.fields.0.len(), exchange.incomplete), (1, 1, None));
    }
}

/// SETTINGS_HEADER_TABLE_SIZE of either side (RFC 9113 §6.5.2): the other side applies it by size updates in its blocks.
#[test]
fn rfc7541_sizes_that_settings_allow() {
    let allow = |size: u32| frame(SETTINGS, 0, 0, &[&[0, 1][..], &size.to_be_bytes()].concat());
    let tell = |stream, block: &[&[u8]]| frame(HEADERS, 5, stream, &block.concat());
    let value = |n: usize| format!("{n:03}{}", "v".repeat(100));
    // The client allows 64 KiB, so the hundredth entry back is still there. The server allows 0, so the client empties its table.
    let mut up = [allow(65_536), from_table(1, &[], &indexed("x", "1")), frame(SETTINGS, 1, 0, &[])].concat();
    let mut down = [allow(0), frame(SETTINGS, 1, 0, &[])].concat();
    for n in 0..100u32 {
        up.extend(from_table(2 * n + 3, if n == 0 { &[0x20] } else { &[] }, &literal("x", "2")));
        let update = if n == 0 { resize(65_536) } else { Vec::new() };
        down.extend(tell(2 * n + 3, &[&update, OK, &indexed("y", &value(n as usize))]));
    }
    down.extend(tell(1, &[OK, &[0xff, 0x22]]));
    let heard = hear(&row("", "", &[up, down], &[]).said);
    assert_eq!((heard.exchanges.len(), heard.losses.is_empty()), (101, true));
    let told = |n: usize| heard.exchanges[n].response.as_ref().unwrap().fields.get("y").map(str::to_owned);
    assert_eq!((0..100).map(told).collect::<Vec<_>>(), (0..100).map(|n| Some(value(n))).collect::<Vec<_>>());
    assert_eq!(told(100), Some(value(0)), "62 + 99 is the oldest of a hundred");
    assert!(heard.exchanges.iter().all(|exchange| exchange.incomplete.is_none()));
}
