//! Pictures that are none, that are damaged, or that are over a limit.

use serde_json::json;

use super::{picture_step, rgba};
use crate::pipeline::picture::before;
use crate::pipeline::picture::decode::decode;
use crate::pipeline::picture::pixels::Pixels;
use crate::pipeline::tests::{all_of, from_base64, reference};
use crate::{ErrorCode, Limits, Picture, Result};

/// A picture of the reference.
fn file(name: &str) -> Vec<u8> {
    let pictures = reference()["pictures"].as_array().unwrap();
    from_base64(&pictures.iter().find(|case| case["name"] == name).unwrap()["file"])
}

#[test]
fn pictures_that_are_none_or_too_large_are_refused_with_their_code() {
    use ErrorCode::{InvalidPicture, PictureTooLarge};
    let png = file("png rgb");
    let jpeg = file("jpeg 420 baseline");
    let png_of = |width: u32, height: u32| {
        let mut png = png.clone();
        png[16..20].copy_from_slice(&width.to_be_bytes());
        png[20..24].copy_from_slice(&height.to_be_bytes());
        png
    };
    let jpeg_of = |width: u16, height: u16| {
        let mut jpeg = jpeg.clone();
        let at = jpeg
            .windows(2)
            .position(|pair| pair == [0xff, 0xc0])
            .unwrap();
        jpeg[at + 5..at + 7].copy_from_slice(&height.to_be_bytes());
        jpeg[at + 7..at + 9].copy_from_slice(&width.to_be_bytes());
        jpeg
    };
    let webp_of_16383 = {
        // A lossless header: 14 bits of width - 1, 14 of height - 1.
        let mut webp = file("webp lossless");
        let at = webp.windows(4).position(|four| four == b"VP8L").unwrap() + 9;
        webp[at..at + 4].copy_from_slice(&(16382u32 | 16382 << 14).to_le_bytes());
        webp
    };
    let number_after = |name: &str, tag: &[u8], at: isize, number: [u8; 4]| {
        let mut file = file(name);
        let tag = file
            .windows(tag.len())
            .position(|bytes| bytes == tag)
            .unwrap();
        let at = tag.strict_add_signed(at);
        file[at..at + 4].copy_from_slice(&number);
        file
    };
    // 48 bytes of palette become 49; an Exif part of 4 GB; an animation frame of 29 x 20.
    let palette = number_after("png palette", b"PLTE", -4, 49u32.to_be_bytes());
    let exif = number_after("webp orientation 6", b"EXIF", 4, [0xff; 4]);
    let frame = number_after("webp animation", b"ANMF", 17, 19u32.to_le_bytes());
    let half = |file: &[u8]| file[..file.len() / 2].to_vec();
    let cases = [
        ("nothing", vec![], InvalidPicture, "0 bytes"),
        (
            "text",
            b"hello, this is no picture".to_vec(),
            InvalidPicture,
            "25 bytes",
        ),
        (
            "gif",
            b"GIF89a\x01\x00\x01\x00".to_vec(),
            InvalidPicture,
            "a GIF file",
        ),
        ("png signature", png[..8].to_vec(), InvalidPicture, "PNG"),
        ("half a png", half(&png), InvalidPicture, "PNG"),
        ("half a jpeg", half(&jpeg), InvalidPicture, "cut off"),
        (
            "jpeg without its last bytes",
            jpeg[..jpeg.len() - 2].to_vec(),
            InvalidPicture,
            "cut off",
        ),
        (
            "half a progressive jpeg",
            half(&file("jpeg 420 progressive")),
            InvalidPicture,
            "cut off",
        ),
        (
            "half a webp",
            half(&file("webp lossy")),
            InvalidPicture,
            "WebP",
        ),
        (
            "png 0 x 0",
            png_of(0, 0),
            InvalidPicture,
            "no pixels: 0 x 0",
        ),
        ("png 0 x 5", png_of(0, 5), InvalidPicture, "no pixels"),
        (
            "png 30000 x 30000",
            png_of(30_000, 30_000),
            PictureTooLarge,
            "900000000 pixels",
        ),
        (
            "png of the widest",
            png_of(u32::MAX, u32::MAX),
            PictureTooLarge,
            "at most 40000000",
        ),
        (
            "png as wide as the limit",
            png_of(40_000_000, 1),
            InvalidPicture,
            "PNG",
        ),
        ("jpeg 0 x 0", jpeg_of(0, 0), InvalidPicture, "JPEG"),
        (
            "jpeg 30000 x 30000",
            jpeg_of(30_000, 30_000),
            PictureTooLarge,
            "30000 x 30000",
        ),
        (
            "odd palette",
            palette,
            InvalidPicture,
            "its palette has 49 bytes",
        ),
        (
            "webp with too long a part",
            exif,
            InvalidPicture,
            "longer than the whole",
        ),
        (
            "webp frame outside",
            frame,
            InvalidPicture,
            "29 x 20 pixels and 29 x 19",
        ),
        (
            "webp 16383 x 16383",
            webp_of_16383,
            PictureTooLarge,
            "16383 x 16383",
        ),
    ];
    all_of(&cases, |(name, bytes, code, text)| {
        expect_error(
            name,
            decode(Picture::Encoded(bytes.clone()), &Limits::default()),
            *code,
            text,
        )
    });
    let raw = [
        ("no pixels", 0, 5, 0, InvalidPicture, "0 x 5"),
        (
            "too few bytes",
            2,
            2,
            15,
            InvalidPicture,
            "16 bytes, got 15",
        ),
        (
            "too many bytes",
            2,
            2,
            17,
            InvalidPicture,
            "16 bytes, got 17",
        ),
        (
            "the most",
            u32::MAX,
            u32::MAX,
            0,
            PictureTooLarge,
            "18446744065119617025 pixels",
        ),
    ];
    all_of(&raw, |&(name, width, height, bytes, code, text)| {
        let picture = Picture::Rgba {
            width,
            height,
            pixels: vec![0; bytes],
        };
        expect_error(name, decode(picture, &Limits::default()), code, text)
    });
}

fn expect_error(
    name: &str,
    got: Result<Pixels>,
    code: ErrorCode,
    text: &str,
) -> Result<(), String> {
    match got {
        Err(error) if error.code() == code && error.message().contains(text) => Ok(()),
        Err(error) => Err(format!("{name}: {} {error}", error.code())),
        Ok(pixels) => Err(format!("{name}: decoded to {:?}", pixels.size())),
    }
}

#[test]
fn the_limits_of_a_package_count() {
    let limits = Limits {
        max_pixels: 12,
        max_bytes: 100,
        ..Limits::default()
    };
    assert!(decode(rgba(4, 3), &limits).is_ok());
    let error = decode(rgba(13, 1), &limits).unwrap_err();
    assert_eq!(error.code(), ErrorCode::PictureTooLarge);
    assert!(
        error.message().contains("13 pixels") && error.message().contains("at most 12"),
        "{error}"
    );
    let error = decode(Picture::Encoded(vec![0; 101]), &limits).unwrap_err();
    assert_eq!(error.code(), ErrorCode::PictureTooLarge);
}

#[test]
fn a_picture_smaller_than_the_part_to_cut_out_is_refused() {
    let json = json!({"steps": [{"center_crop": {"width": 3, "height": 2}}]});
    let error = before(&picture_step(&json), rgba(2, 2), &Limits::default()).unwrap_err();
    assert_eq!(error.code(), ErrorCode::InvalidPicture);
    assert!(
        error.message().contains("2 x 2") && error.message().contains("3 x 2"),
        "{error}"
    );
}

/// Bytes of a JPEG that are other ones: it is refused, or there are pixels; nothing panics.
#[test]
fn damaged_jpegs_end_in_an_answer() {
    let limits = Limits {
        max_pixels: 1 << 16,
        ..Limits::default()
    };
    let mut state = 7u64;
    let mut random = |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) as usize % below
    };
    let (mut decoded, mut refused) = (0, 0);
    for name in [
        "jpeg 420 baseline",
        "jpeg 422 progressive",
        "jpeg grey",
        "jpeg cmyk",
        "jpeg with restarts",
    ] {
        let whole = file(name);
        for _ in 0..400 {
            let mut damaged = whole.clone();
            for _ in 0..=random(4) {
                let at = random(damaged.len());
                damaged[at] = random(256) as u8;
            }
            match decode(Picture::Encoded(damaged), &limits) {
                Ok(_) => decoded += 1,
                Err(_) => refused += 1,
            }
        }
    }
    // Of both there are many.
    assert!(decoded > 100 && refused > 100, "{decoded} {refused}");
}
