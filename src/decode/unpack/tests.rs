use std::io::Write;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use proptest::prelude::*;

use super::*;
use crate::error::ErrorKind as Kind;

const TEXT: &[u8] = b"[{\"id\":1,\"name\":\"one\"},{\"id\":2,\"name\":\"two\"}]";
const MAX: u64 = 64 << 20;

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).expect("packed");
    encoder.finish().expect("packed")
}

fn deflate(text: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).expect("packed");
    encoder.finish().expect("packed")
}

fn zlib(text: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).expect("packed");
    encoder.finish().expect("packed")
}

fn zstd(text: &[u8]) -> Vec<u8> {
    ::zstd::encode_all(text, 3).expect("packed")
}

/// A brotli stream of one uncompressed metablock and an empty last one (RFC 7932, section 9.2).
fn brotli(text: &[u8]) -> Vec<u8> {
    let mut bits = Bits::default();
    bits.push(0, 1); // a window of 16 bits
    bits.push(0, 1); // not the last block
    bits.push(0, 2); // its length has four nibbles
    bits.push(text.len() as u32 - 1, 16);
    bits.push(1, 1); // uncompressed
    bits.align();
    bits.bytes.extend_from_slice(text);
    bits.push(0b11, 2); // the last block, empty
    bits.bytes
}

#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    used: u32,
}

impl Bits {
    fn push(&mut self, value: u32, count: u32) {
        for bit in 0..count {
            if self.used == 0 {
                self.bytes.push(0);
            }
            let last = self.bytes.last_mut().expect("a byte");
            *last |= ((value >> bit & 1) as u8) << self.used;
            self.used = (self.used + 1) % 8;
        }
    }

    fn align(&mut self) {
        self.used = 0;
    }
}

/// An entry of an archive: its name, its flags, its method, and what is packed.
#[derive(Clone)]
struct Item<'a> {
    name: &'a str,
    flags: u16,
    method: u16,
    mode: u32,
    text: &'a [u8],
    packed: Vec<u8>,
}

fn file<'a>(name: &'a str, text: &'a [u8]) -> Item<'a> {
    Item { name, flags: 0, method: 8, mode: 0, text, packed: deflate(text) }
}

fn zip(items: &[Item<'_>]) -> Vec<u8> {
    let mut body = Vec::new();
    let mut directory = Vec::new();
    for item in items {
        let mut crc = flate2::Crc::new();
        crc.update(item.text);
        let offset = body.len() as u32;
        let common = |out: &mut Vec<u8>, sizes: bool| {
            out.extend_from_slice(&item.flags.to_le_bytes());
            out.extend_from_slice(&item.method.to_le_bytes());
            out.extend_from_slice(&[0; 4]);
            // A writer that streams leaves them out of the local header.
            let numbers = [crc.sum(), item.packed.len() as u32, item.text.len() as u32];
            numbers.iter().for_each(|number| out.extend_from_slice(&if sizes { *number } else { 0 }.to_le_bytes()));
            out.extend_from_slice(&(item.name.len() as u16).to_le_bytes());
            out.extend_from_slice(&0_u16.to_le_bytes());
        };
        body.extend_from_slice(b"PK\x03\x04\x14\x00");
        common(&mut body, false);
        body.extend_from_slice(item.name.as_bytes());
        body.extend_from_slice(&item.packed);
        directory.extend_from_slice(b"PK\x01\x02\x14\x03\x14\x00");
        common(&mut directory, true);
        directory.extend_from_slice(&[0; 6]);
        directory.extend_from_slice(&(item.mode << 16).to_le_bytes());
        directory.extend_from_slice(&offset.to_le_bytes());
        directory.extend_from_slice(item.name.as_bytes());
    }
    let start = body.len() as u32;
    let count = items.len() as u16;
    body.extend_from_slice(&directory);
    body.extend_from_slice(b"PK\x05\x06\0\0\0\0");
    body.extend_from_slice(&count.to_le_bytes());
    body.extend_from_slice(&count.to_le_bytes());
    body.extend_from_slice(&(directory.len() as u32).to_le_bytes());
    body.extend_from_slice(&start.to_le_bytes());
    body.extend_from_slice(&[0; 2]);
    body
}

fn unpacked(packing: Packing, body: Vec<u8>, max: u64) -> Result<Bytes, DecodeError> {
    unpack(&Bytes::from(body), packing, max)
}

fn error(packing: Packing, body: Vec<u8>) -> (Kind, String) {
    let error = unpacked(packing, body, MAX).expect_err("refused");
    (error.kind, error.message)
}

#[test]
fn what_is_packed_is_known_by_its_first_bytes() {
    let around = [file("__MACOSX/._a", b"x"), file("a/", b""), file("a/data.json", TEXT), file(".DS_Store", b"x")];
    let stored = Item { method: 0, packed: TEXT.to_vec(), ..file("data.json", TEXT) };
    let method_93 = Item { method: 93, packed: zstd(TEXT), ..file("data.json", TEXT) };
    let bodies = [gzip(TEXT), zstd(TEXT), zip(&around), zip(&[stored]), zip(&[method_93]), TEXT.to_vec()];
    for (index, body) in bodies.into_iter().enumerate() {
        assert_eq!(unpacked(Packing::Auto, body, MAX).expect("unpacked"), TEXT, "{index}");
    }
    let named = [
        (Packing::Gzip, gzip(TEXT)),
        (Packing::Deflate, deflate(TEXT)),
        (Packing::Deflate, zlib(TEXT)),
        (Packing::Zstd, zstd(TEXT)),
        (Packing::Brotli, brotli(TEXT)),
        (Packing::Zip, zip(&[file("x", TEXT)])),
    ];
    for (packing, body) in named {
        assert_eq!(unpacked(packing, body, MAX).expect("unpacked"), TEXT, "{packing:?}");
    }
    let body = Bytes::from_static(TEXT);
    assert_eq!(unpack(&body, Packing::Auto, MAX).expect("taken").as_ptr(), body.as_ptr(), "a plain body is not copied");
    assert_eq!(unpacked(Packing::None, gzip(TEXT), MAX).expect("taken"), gzip(TEXT));
}

#[test]
fn members_and_frames_one_after_the_other_are_one_body() {
    let (first, second) = TEXT.split_at(20);
    assert_eq!(unpacked(Packing::Auto, [gzip(first), gzip(second)].concat(), MAX).expect("unpacked"), TEXT);
    assert_eq!(unpacked(Packing::Auto, [zstd(first), zstd(second)].concat(), MAX).expect("unpacked"), TEXT);
    assert_eq!(
        unpacked(Packing::Auto, [gzip(TEXT), vec![0; 600]].concat(), MAX).expect("unpacked"),
        TEXT,
        "filled up with zeros"
    );
    assert_eq!(
        error(Packing::Auto, [gzip(TEXT), b"junk".to_vec()].concat()).1,
        "the body cannot be unpacked as gzip: there is more after the end of the gzip stream"
    );
    assert_eq!(
        error(Packing::Deflate, [zlib(TEXT), b"junk".to_vec()].concat()).1,
        "there is more after the end of the deflate stream"
    );
    // What lies behind a piece of the body that ends with the stream is seen, too.
    let to_the_edge = brotli(&vec![b' '; CHUNK - 4]);
    assert_eq!(to_the_edge.len(), CHUNK);
    for whole in [brotli(TEXT), to_the_edge] {
        assert!(unpacked(Packing::Brotli, whole.clone(), MAX).is_ok());
        for more in [b"x".to_vec(), b"junk".to_vec(), vec![0; 3 * CHUNK], brotli(TEXT)] {
            assert_eq!(
                error(Packing::Brotli, [whole.clone(), more].concat()),
                (Kind::Unavailable, "there is more after the end of the brotli stream".to_owned())
            );
        }
    }
}

#[test]
fn every_cut_of_a_packed_body_is_noticed() {
    // C-64
    let bodies = [
        (Packing::Auto, gzip(TEXT)),
        (Packing::Auto, zstd(TEXT)),
        (Packing::Auto, zip(&[file("a", TEXT)])),
        (Packing::Deflate, deflate(TEXT)),
        (Packing::Deflate, zlib(TEXT)),
        (Packing::Brotli, brotli(TEXT)),
    ];
    for (packing, body) in bodies {
        // Below four bytes nothing says that it was packed; then it is no JSON either.
        for cut in 4..body.len() {
            let error = unpacked(packing, body[..cut].to_vec(), MAX).expect_err("cut off");
            assert_eq!(error.kind, Kind::Unavailable, "{packing:?} {cut}: {error}");
        }
    }
}

#[test]
fn a_changed_byte_is_noticed() {
    let mut body = gzip(TEXT);
    let middle = body.len() - 6;
    body[middle] ^= 1;
    let told = "the body cannot be unpacked as gzip: it is cut off, or its checksum is another";
    assert_eq!(error(Packing::Auto, body), (Kind::Unavailable, told.to_owned()));
    let mut body = zip(&[Item { method: 0, packed: TEXT.to_vec(), ..file("a", TEXT) }]);
    body[40] ^= 1;
    assert_eq!(error(Packing::Auto, body).1, "the body cannot be unpacked as zip: the checksum is another");
    assert_eq!(error(Packing::Gzip, TEXT.to_vec()).0, Kind::Unavailable, "what was named and is not there");
}

#[test]
fn a_small_body_that_unpacks_to_gigabytes_is_stopped() {
    // S-19
    let zeros = vec![b' '; 48 << 20];
    let bodies = [
        (Packing::Auto, gzip(&zeros)),
        (Packing::Auto, zstd(&zeros)),
        (Packing::Deflate, zlib(&zeros)),
        (Packing::Auto, zip(&[file("a", &zeros)])),
        (Packing::Brotli, brotli_of_zeros()),
    ];
    for (packing, body) in bodies {
        let small = unpacked(packing, body.clone(), 1 << 20).expect_err("refused");
        assert_eq!(small.kind, Kind::Config);
        let expected = "the unpacked body is larger than body_max, ask for smaller pages or raise it: `1048576`";
        assert_eq!(small.message, expected);
        let (kind, message) = error(packing, body);
        assert_eq!(kind, Kind::Config);
        assert!(message.starts_with("the body unpacks to more than `200` times its size"), "{message}");
        assert!(message.contains("body_max"), "{message}");
    }
    assert!(unpacked(Packing::Auto, gzip(&zeros[..9 << 20]), MAX).is_ok(), "up to ten megabytes anything may pack well");
}

/// 48 MiB of spaces, as a brotli encoder of quality 11 packs them: there is only a decoder here.
fn brotli_of_zeros() -> Vec<u8> {
    use base64::Engine;
    let packed = "y///PwAkQOKxQHLv//j//weABEAcFoDu/R////8AkACIwwLQvf/j//8fABIAcVgAuvd//P//A0ACIA4LQPf+L////wBIAMRhAeje/wE=";
    base64::engine::general_purpose::STANDARD.decode(packed).expect("base64")
}

#[test]
fn a_zstd_frame_that_wants_a_huge_window_is_refused() {
    // S-19
    // A header that asks for a window of 2 TiB less a bit (RFC 8878, 3.1.1.1.2), and one empty block.
    let body = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xf8, 0x01, 0x00, 0x00];
    assert_eq!(error(Packing::Auto, body).0, Kind::Unavailable);
}

#[test]
fn only_one_layer_is_taken_off() {
    let (kind, message) = error(Packing::Auto, gzip(&zip(&[file("a", TEXT)])));
    assert_eq!(kind, Kind::Data);
    assert_eq!(message, "the unpacked body is packed once more, in zip; only one layer is taken off");
}

#[test]
fn a_bomb_in_a_second_layer_is_never_lit() {
    // S-19
    let spaces = vec![b' '; 48 << 20];
    let bombs = [gzip(&spaces), zstd(&spaces), zip(&[file("a", &spaces)])];
    for bomb in bombs {
        for body in [gzip(&bomb), zstd(&bomb), zip(&[file("b", &bomb)])] {
            // A cap that the bomb itself would meet, and the layer around it does not.
            let refused = unpacked(Packing::Auto, body, 1 << 20).expect_err("refused");
            assert_eq!(refused.kind, Kind::Data);
            assert!(refused.message.ends_with("; only one layer is taken off"), "{}", refused.message);
        }
    }
}

#[test]
fn archives_that_are_not_one_plain_file_are_refused() {
    // S-20
    let (kind, message) = error(Packing::Auto, zip(&[file("../../etc/passwd", TEXT), file("b", b"")]));
    assert_eq!(kind, Kind::Config);
    assert_eq!(message, "the zip has `2` files where one is expected: `../../etc/passwd`, `b`");
    let many: Vec<Item<'_>> = (0..1_001).map(|_| file("a/", b"")).collect();
    assert_eq!(error(Packing::Auto, zip(&many)).1, "the zip has `1001` entries where one file is expected");
    assert_eq!(error(Packing::Auto, zip(&[])).1, "the zip has no file in it");
    let encrypted = Item { flags: 1, ..file("a", TEXT) };
    assert_eq!(error(Packing::Auto, zip(&[encrypted])).1, "the file in the zip is encrypted; passwords are not taken");
    let link = Item { mode: 0o120_777, ..file("a", b"/etc/passwd") };
    assert_eq!(error(Packing::Auto, zip(&[link])).1, "the file in the zip is a link");
    let method = Item { method: 12, ..file("a", TEXT) };
    assert_eq!(error(Packing::Auto, zip(&[method])).1, "the zip is packed by method `12`; deflate, zstd and stored are known");
    // A directory that claims more than there is.
    let mut lying = zip(&[file("a", TEXT)]);
    let end = lying.len() - 22;
    lying[end + 10] = 200;
    assert_eq!(error(Packing::Auto, lying).0, Kind::Unavailable);
}

fn any_packing() -> impl Strategy<Value = Packing> {
    prop::sample::select(vec![Packing::Auto, Packing::Gzip, Packing::Deflate, Packing::Zstd, Packing::Brotli, Packing::Zip])
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(packing in any_packing(), body in prop::collection::vec(any::<u8>(), 0..300)) {
        let result = unpacked(packing, body, 10_000);
        prop_assert!(result.is_ok() || result.is_err());
    }

    #[test]
    fn packed_bodies_with_changed_bytes_never_panic(
        which in 0_usize..5,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut body = [gzip(TEXT), zstd(TEXT), zip(&[file("a", TEXT)]), zlib(TEXT), brotli(TEXT)][which].clone();
        let packing = [Packing::Auto, Packing::Auto, Packing::Auto, Packing::Deflate, Packing::Brotli][which];
        for (index, byte) in changes {
            let place = index.index(body.len());
            body[place] = byte;
        }
        if let Ok(text) = unpacked(packing, body, MAX) {
            prop_assert!(text.len() <= MAX as usize);
        }
    }
}
