mod refused;

use serde_json::json;

use super::decode::decode;
use super::orientation::Orientation;
use super::pixels::{PixelFormat, Pixels, Window};
use super::resize::{Rows, copy, resize};
use super::*;
use crate::pipeline::tests::{all_of, from_base64, reference, step};
use crate::{Channels, Filter, Picture};

fn number(value: &serde_json::Value) -> usize {
    value.as_u64().unwrap() as usize
}

#[test]
fn pictures_of_every_kind_have_the_pixels_that_pillow_sees() {
    all_of(reference()["pictures"].as_array().unwrap(), |case| {
        let name = &case["name"];
        let file = from_base64(&case["file"]);
        let pixels = decode(Picture::Encoded(file), &Limits::default())
            .map_err(|e| format!("{name}: {e}"))?;
        let size = pixels.size();
        if size
            != (
                number(&case["width"]) as u32,
                number(&case["height"]) as u32,
            )
        {
            return Err(format!("{name}: size {size:?}"));
        }
        let (ours, theirs) = (pixels.to_rgb(), from_base64(&case["rgb"]));
        let off = ours.iter().zip(&theirs).map(|(a, b)| a.abs_diff(*b)).max();
        match off {
            Some(off)
                if ours.len() == theirs.len() && usize::from(off) <= number(&case["tolerance"]) =>
            {
                Ok(())
            }
            _ => Err(format!(
                "{name}: differs by up to {off:?} levels, allowed are {}",
                case["tolerance"]
            )),
        }
    });
}

/// The pixels of every picture of the reference and a tensor made of them, in one number. Where
/// this fails on one target only, page and server no longer see the same picture.
#[test]
fn pictures_have_the_same_bits_on_every_target() {
    let step = picture_step(&json!({"steps": [
        {"resize": {"width": 17, "height": 13, "filter": "bilinear"}},
        {"resize": {"width": 11, "height": 16, "filter": "triangle"}},
        {"normalize": {"mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375]}},
    ]}));
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut add = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3); // FNV-1a
        }
    };
    for case in reference()["pictures"].as_array().unwrap() {
        let picture = Picture::Encoded(from_base64(&case["file"]));
        add(&decode(picture.clone(), &Limits::default())
            .unwrap()
            .to_rgb());
        add(before(&step, picture, &Limits::default())
            .unwrap()
            .0
            .as_bytes()
            .unwrap());
    }
    assert_eq!(format!("{hash:016x}"), "383c8c54a36bee39");
}

#[test]
fn resizing_agrees_with_opencv_and_pillow() {
    let reference = &reference()["resize"];
    let pixels = Pixels {
        width: number(&reference["width"]) as u32,
        height: number(&reference["height"]) as u32,
        format: PixelFormat::RGB,
        orientation: Orientation::Upright,
        data: from_base64(&reference["rgb"]),
    };
    let source = window(&pixels, Channels::Rgb);
    all_of(reference["cases"].as_array().unwrap(), |case| {
        let filter: Filter = serde_json::from_value(case["filter"].clone()).unwrap();
        let (width, height) = (number(&case["width"]), number(&case["height"]));
        let ours = resize(&source, width, height, filter).unwrap().data;
        let theirs: Vec<f32> = from_base64(&case["values"])
            .as_chunks()
            .0
            .iter()
            .map(|b| f32::from_le_bytes(*b))
            .collect();
        // Of 255: single precision in another order.
        let tolerance = if filter == Filter::Nearest { 0.0 } else { 2e-4 };
        let off = ours
            .iter()
            .zip(&theirs)
            .map(|(a, b)| (a - b).abs())
            .fold(0f32, f32::max);
        if ours.len() != theirs.len() || off > tolerance {
            return Err(format!(
                "{filter:?} to {width} x {height}: differs by up to {off}"
            ));
        }
        Ok(())
    });
}

fn window(pixels: &Pixels, channels: Channels) -> Window<'_> {
    Window {
        pixels,
        channels,
        origin: (0, 0),
        size: pixels.size(),
    }
}

#[test]
fn resizing_floats_again_is_the_same_as_resizing_pixels() {
    let pixels = decode(rgba(13, 9), &Limits::default()).unwrap();
    for channels in [Channels::Rgb, Channels::Bgr, Channels::Grey] {
        let window = window(&pixels, channels);
        let floats = copy(&window).unwrap();
        assert_eq!(floats.data.len(), 13 * 9 * channel_count(channels));
        for filter in [Filter::Nearest, Filter::Bilinear, Filter::Triangle] {
            let (a, b) = (
                resize(&window, 6, 20, filter).unwrap(),
                resize(&floats, 6, 20, filter).unwrap(),
            );
            assert_eq!(a, b, "{channels:?} {filter:?}");
            assert_eq!(
                resize(&floats, 13, 9, filter).unwrap(),
                floats,
                "{filter:?} to the same size"
            );
        }
    }
}

fn rgba(width: u32, height: u32) -> Picture {
    let pixels =
        (0..width * height).flat_map(|i| [i as u8, (i * 7) as u8, (i * 31) as u8, i as u8 / 2]);
    Picture::Rgba {
        width,
        height,
        pixels: pixels.collect(),
    }
}

#[test]
fn steps_give_the_tensor_that_they_say() {
    // Two rows of two pixels.
    let picture = || {
        let pixels = vec![
            0, 10, 20, 255, 30, 40, 50, 0, 60, 70, 80, 1, 90, 100, 255, 9,
        ];
        Picture::Rgba {
            width: 2,
            height: 2,
            pixels,
        }
    };
    let planes: &[f32] = &[0., 30., 60., 90., 10., 40., 70., 100., 20., 50., 80., 255.];
    let cases = [
        (json!({"steps": []}), vec![1, 3, 2, 2], planes.to_vec()),
        (
            json!({"layout": "nhwc", "steps": []}),
            vec![1, 2, 2, 3],
            vec![0., 10., 20., 30., 40., 50., 60., 70., 80., 90., 100., 255.],
        ),
        (
            json!({"channels": "bgr", "layout": "nhwc", "steps": [{"center_crop": {"width": 1, "height": 2}}]}),
            vec![1, 2, 1, 3],
            vec![20., 10., 0., 80., 70., 60.],
        ),
        (
            json!({"channels": "grey", "steps": [{"center_crop": {"width": 2, "height": 1}}]}),
            vec![1, 1, 1, 2],
            vec![
                0.587 * 10.0 + 0.114 * 20.0,
                0.299 * 30.0 + 0.587 * 40.0 + 0.114 * 50.0,
            ],
        ),
        (
            json!({"steps": [{"center_crop": {"width": 1, "height": 1}}, {"normalize": {"mean": [1, 2, 3], "std": [2]}}]}),
            vec![1, 3, 1, 1],
            vec![-0.5, 4.0, 8.5],
        ),
        (
            json!({"steps": [{"normalize": {"mean": [0], "std": [10]}}, {"resize": {"width": 1, "height": 1, "filter": "bilinear"}}]}),
            vec![1, 3, 1, 1],
            vec![4.5, 5.5, 10.125],
        ),
        (
            json!({"steps": [
                {"resize": {"width": 4, "height": 4, "filter": "nearest"}},
                {"center_crop": {"width": 2, "height": 2}},
            ]}),
            vec![1, 3, 2, 2],
            planes.to_vec(),
        ),
    ];
    all_of(&cases, |(json, shape, values)| {
        let (tensor, size) = before(&picture_step(json), picture(), &Limits::default()).unwrap();
        if tensor.shape() != shape || tensor.to_vec::<f32>().unwrap() != *values || size != (2, 2) {
            return Err(format!(
                "{json}: {:?} {:?}",
                tensor.shape(),
                tensor.to_vec::<f32>()
            ));
        }
        Ok(())
    });
}

fn picture_step(json: &serde_json::Value) -> PictureInput {
    let mut whole = json!({"name": "picture", "tensor": "x"});
    whole
        .as_object_mut()
        .unwrap()
        .extend(json.as_object().unwrap().clone());
    step(&whole)
}

#[test]
fn bytes_are_rounded_half_to_even_and_clamped() {
    let pixels = vec![1, 3, 250, 255];
    let picture = Picture::Rgba {
        width: 1,
        height: 1,
        pixels,
    };
    let json = json!({"dtype": "UINT8", "steps": [{"normalize": {"mean": [0, 0, -20], "std": [2, 2, 1]}}]});
    let (tensor, _) = before(&picture_step(&json), picture, &Limits::default()).unwrap();
    assert_eq!(tensor.to_vec::<u8>().unwrap(), [0, 2, 255]);
    let all_nan = json!({"dtype": "UINT8", "steps": [{"normalize": {"mean": [1], "std": [f32::NAN.to_bits()]}}]});
    assert!(before(&picture_step(&all_nan), rgba(1, 1), &Limits::default()).is_ok());
}

/// A picture of 10 megapixels of which nothing but sizes matters, and that counts its reads.
struct Counted(std::cell::Cell<usize>);

impl Rows for Counted {
    fn size(&self) -> (usize, usize) {
        (4000, 2500)
    }
    fn channels(&self) -> usize {
        1
    }
    fn read(&self, y: usize, row: &mut [f32]) {
        row.fill(y as f32);
        self.0.set(self.0.get() + 1);
    }
}

#[test]
fn only_rows_that_count_are_read_and_each_once() {
    for (filter, reads) in [
        (Filter::Nearest, 10),
        (Filter::Bilinear, 20),
        (Filter::Triangle, 2500),
    ] {
        let source = Counted(0.into());
        let small = resize(&source, 16, 10, filter).unwrap();
        assert_eq!(source.0.get(), reads, "{filter:?}");
        assert!(
            (small.data[16 * 5] - 1374.5).abs() <= 0.5,
            "{filter:?}: {}",
            small.data[16 * 5]
        );
    }
}

#[test]
fn the_way_back_to_the_picture_follows_resizes_and_crops() {
    let steps: Vec<PictureStep> = step(&json!([
        {"resize": {"width": 100, "height": 50, "filter": "nearest"}},
        {"center_crop": {"width": 50, "height": 50}},
        {"resize": {"width": 10, "height": 20, "filter": "nearest"}},
    ]));
    let geometry = Geometry::new(&steps, (200, 200)).unwrap();
    assert_eq!(
        geometry,
        Geometry {
            input: (10, 20),
            picture: (200, 200),
            origin: (50.0, 0.0),
            seen: (100.0, 200.0)
        }
    );
    assert_eq!(fixed_size(&steps), Some((10, 20)));
    assert_eq!(fixed_size(&[]), None);
}
