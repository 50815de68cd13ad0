//! Damaged pictures, records and configurations: every one gives an answer or an error.

use serde_json::{Map, Value as Json, json};

use super::{
    all_of, audio_pipeline, boxes_pipeline, bytes_pipeline, config, from_base64, record_pipeline,
    reference, text_pipeline,
};
use crate::pipeline::{Before, Input, Picture};
use crate::{Audio, Limits, ModelConfig, Tensor, Value};

/// A small generator (xorshift), so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    /// Changes some bytes, takes some away, or cuts the end off.
    fn damage(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..1 + self.below(6) {
            let at = if self.below(2) == 0 {
                self.below(bytes.len().min(64))
            } else {
                self.below(bytes.len())
            };
            match self.below(8) {
                0 => bytes.truncate(at),
                1 => drop(bytes.drain(at..(at + 1 + self.below(4)).min(bytes.len()))),
                2 => bytes
                    .splice(at..at, [0xff, self.next() as u8])
                    .for_each(drop),
                3 => bytes[at..].iter_mut().take(4).for_each(|b| *b = 0xff),
                4 => bytes[at..].iter_mut().take(1).for_each(|b| *b = 0),
                _ => bytes[at..]
                    .iter_mut()
                    .take(1)
                    .for_each(|b| *b ^= 1 << (self.next() % 8)),
            }
        }
    }

    fn json(&mut self, depth: usize) -> Json {
        const NUMBERS: [f64; 8] = [0.0, -0.0, 1e308, -1e308, 1e-320, 0.5, 9.3e18, 16777217.0];
        match self.below(if depth == 0 { 6 } else { 8 }) {
            0 => Json::Null,
            1 => json!(self.below(2) == 0),
            2 => json!(self.next()),
            3 => json!(NUMBERS[self.below(NUMBERS.len())]),
            4 => json!(self.next() as i64),
            5 => json!(["", "NaN", "mean radius", "nchw", "\u{0}", "decision"][self.below(6)]),
            6 => (0..self.below(4)).map(|_| self.json(depth - 1)).collect(),
            _ => (0..self.below(4))
                .map(|i| (i.to_string(), self.json(depth - 1)))
                .collect(),
        }
    }

    /// Puts something else into a random place.
    fn damage_json(&mut self, json: &mut Json) {
        let inner = match json {
            Json::Object(map) if !map.is_empty() => {
                let at = self.below(map.len());
                map.values_mut().nth(at)
            }
            Json::Array(list) if !list.is_empty() => {
                let at = self.below(list.len());
                list.get_mut(at)
            }
            _ => None,
        };
        match inner {
            Some(inner) if self.below(6) > 0 => self.damage_json(inner),
            _ => *json = self.json(1),
        }
    }
}

/// Makes the checksums of a PNG right again, so that damage gets past them.
fn repair_png(file: &mut [u8]) {
    let crc = |bytes: &[u8]| {
        let bit = |crc: u32, _| {
            if crc & 1 == 1 {
                0xedb8_8320 ^ (crc >> 1)
            } else {
                crc >> 1
            }
        };
        !bytes
            .iter()
            .fold(!0u32, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), bit))
    };
    let mut at = 8;
    while let Some(size) = file.get(at..).and_then(|rest| rest.first_chunk()) {
        let end = at + 8 + (u32::from_be_bytes(*size) & 0xff_ffff) as usize;
        let Some(sum) = file.get(at + 4..end).map(crc) else {
            break;
        };
        match file.get_mut(end..end + 4) {
            Some(old) => old.copy_from_slice(&sum.to_be_bytes()),
            None => break,
        }
        at = end + 4;
    }
}

#[test]
fn damaged_pictures_are_decoded_or_refused() {
    let mut random = Random(0x5eed);
    let pipeline = config(boxes_pipeline()).pipeline.unwrap();
    let limits = Limits {
        max_pixels: 100_000,
        ..Limits::default()
    };
    let mut decoded = 0;
    let files: Vec<Vec<u8>> = reference()["pictures"]
        .as_array()
        .unwrap()
        .iter()
        .map(|case| from_base64(&case["file"]))
        .collect();
    for file in &files {
        for _ in 0..150 {
            let mut file = file.clone();
            random.damage(&mut file);
            if random.below(2) == 0 {
                repair_png(&mut file);
            }
            match pipeline.before(Input::Picture(Picture::Encoded(file)), &limits) {
                Ok(_) => decoded += 1,
                Err(error) => assert!(matches!(error.code().http_status(), 400 | 413), "{error}"),
            }
        }
    }
    // Some damage is harmless (a comment, Exif data), so that both ways were tried.
    assert!(decoded > 100, "{decoded}");
}

/// The last bytes of some formats are a checksum: without them the picture is still whole.
#[test]
fn pictures_that_are_cut_off_are_refused_or_still_whole() {
    let pipeline = config(boxes_pipeline()).pipeline.unwrap();
    let tensors = |file: &[u8]| match pipeline.before(
        Input::Picture(Picture::Encoded(file.to_vec())),
        &Limits::default(),
    ) {
        Ok(Before::Tensors { tensors, picture }) => Some((tensors, picture)),
        _ => None,
    };
    all_of(reference()["pictures"].as_array().unwrap(), |case| {
        let file = from_base64(&case["file"]);
        let whole = tensors(&file);
        let differs = |end: &usize| tensors(&file[..*end]).is_some_and(|got| Some(got) != whole);
        match (0..file.len()).find(differs) {
            Some(end) => Err(format!("{}: {end} of {} bytes", case["name"], file.len())),
            None => Ok(()),
        }
    });
}

#[test]
fn records_of_anything_are_taken_or_refused() {
    let mut random = Random(0x5eed);
    let pipeline = config(record_pipeline()).pipeline.unwrap();
    let mut taken = 0;
    for _ in 0..5000 {
        let mut record = Map::new();
        for name in ["mean radius", "mean texture", "Mean radius"]
            .into_iter()
            .take(1 + random.below(3))
        {
            record.insert(name.into(), random.json(2));
        }
        match pipeline.before(Input::Record(record), &Limits::default()) {
            Ok(_) => taken += 1,
            Err(error) => assert_eq!(error.code().as_str(), "invalid_record", "{error}"),
        }
    }
    assert!(taken > 100, "{taken}");
}

#[test]
fn bytes_of_any_length_are_taken() {
    let mut random = Random(0x5eed);
    let config = config(bytes_pipeline());
    let pipeline = config.pipeline.clone().unwrap();
    for length in (0..40).cycle().take(2000) {
        let bytes = (0..length)
            .map(|_| {
                if random.below(2) == 0 {
                    b' '
                } else {
                    random.next() as u8
                }
            })
            .collect();
        match pipeline
            .before(Input::Bytes(bytes), &Limits::default())
            .unwrap()
        {
            Before::Tensors { tensors, .. } => assert_eq!(tensors[0].1.shape(), [1, 7]),
            Before::Short(answer) => {
                assert_eq!(pipeline.answer_short(&answer)["type"]["score"], 1.0)
            }
            Before::Values(_) => panic!("bytes became no tensor"),
        }
    }
}

/// A WAV file of 16 bits with a format that is 40 bytes long, as an extensible one has it.
fn wav() -> Vec<u8> {
    let mut file = b"RIFF\0\0\0\0WAVEfmt \x28\0\0\0\xfe\xff\x02\0".to_vec();
    file.extend(44_100u32.to_le_bytes());
    file.extend(176_400u32.to_le_bytes());
    file.extend(
        b"\x04\0\x10\0\x16\0\x10\0\x03\0\0\0\x01\0\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71",
    );
    file.extend(b"LIST\x04\0\0\0abcddata\x90\x01\0\0");
    file.extend((0..400u32).map(|at| (at * 37) as u8));
    file
}

#[test]
fn damaged_sounds_are_decoded_or_refused() {
    let mut random = Random(0x5eed);
    let limits = Limits {
        max_samples: 100_000,
        ..Limits::default()
    };
    let mut free = audio_pipeline();
    free["input"].as_object_mut().unwrap().remove("samples");
    free["input"]["features"] = json!({"waveform": {}});
    let pipelines = [audio_pipeline(), free].map(|pipeline| config(pipeline).pipeline.unwrap());
    let mut decoded = 0;
    for _ in 0..10_000 {
        let mut file = wav();
        random.damage(&mut file);
        let pipeline = &pipelines[random.below(2)];
        match pipeline.before(Input::Audio(Audio::Encoded(file)), &limits) {
            Ok(_) => decoded += 1,
            Err(error) => assert!(matches!(error.code().http_status(), 400 | 413), "{error}"),
        }
    }
    assert!(decoded > 1000, "{decoded}");
}

#[test]
fn samples_of_anything_are_taken_or_refused() {
    let mut random = Random(0x5eed);
    let limits = Limits {
        max_samples: 100_000,
        ..Limits::default()
    };
    let pipeline = config(audio_pipeline()).pipeline.unwrap();
    let mut taken = 0;
    for _ in 0..2000 {
        const RATES: [u32; 8] = [0, 1, 7, 8000, 16_000, 44_100, 768_000, u32::MAX];
        let nonsense = random.below(3) == 0;
        let length = random.below(300);
        let sample = |_| match nonsense {
            true => f32::from_bits(random.next() as u32),
            false => (random.next() as i16).into(),
        };
        let samples = (0..length).map(sample).collect();
        let audio = Audio::Samples {
            sample_rate: RATES[random.below(RATES.len())],
            channels: random.below(4) as u32,
            samples,
        };
        match pipeline.before(Input::Audio(audio), &limits) {
            Ok(_) => taken += 1,
            Err(error) => assert!(matches!(error.code().http_status(), 400 | 413), "{error}"),
        }
    }
    assert!(taken > 100, "{taken}");
}

#[test]
fn texts_of_any_bytes_are_taken_or_refused() {
    let mut random = Random(0x5eed);
    let pipeline = config(text_pipeline()).pipeline.unwrap();
    let mut taken = 0;
    for _ in 0..5000 {
        let mut bytes = "é ab\u{0} 😀 x".as_bytes().to_vec();
        random.damage(&mut bytes);
        let texts = Input::text_from_utf8(bytes);
        match texts.and_then(|input| pipeline.before(input, &Limits::default())) {
            Ok(_) => taken += 1,
            Err(error) => assert!(matches!(error.code().http_status(), 400 | 413), "{error}"),
        }
    }
    assert!(taken > 100, "{taken}");
}

/// Whatever passes `check` must not panic when it is used.
#[test]
fn damaged_configurations_are_refused_or_work() {
    let mut random = Random(0x5eed);
    let mut used = 0;
    for _ in 0..20_000 {
        let pipeline = [
            bytes_pipeline,
            boxes_pipeline,
            record_pipeline,
            audio_pipeline,
            text_pipeline,
        ][random.below(5)]();
        let mut json = serde_json::to_value(config(pipeline)).unwrap();
        random.damage_json(&mut json);
        let Ok(config) = ModelConfig::from_json(json.to_string().as_bytes()) else {
            continue;
        };
        let Some(pipeline) = &config.pipeline else {
            continue;
        };
        used += 1;
        let record: Map<String, Json> = Map::from_iter([("mean radius".into(), json!(1))]);
        let pixels = vec![7; 4 * 9 * 5];
        for input in [
            Input::Bytes(b"some bytes".to_vec()),
            Input::Record(record),
            Input::Audio(Audio::Samples {
                sample_rate: 8000,
                channels: 2,
                samples: vec![0.5; 300],
            }),
            Input::Text(vec!["a text".into()]),
            Input::Picture(Picture::Rgba {
                width: 9,
                height: 5,
                pixels,
            }),
        ] {
            let _ = pipeline.before(input, &config.limits);
        }
        let random_floats = |random: &mut Random, n: usize| -> Vec<f32> {
            (0..n)
                .map(|_| {
                    if random.below(2) == 0 {
                        0.6
                    } else {
                        f32::from_bits(random.next() as u32)
                    }
                })
                .collect()
        };
        let tensor = |random: &mut Random, shape: &[usize]| {
            Value::Tensor(
                Tensor::from_vec(shape, random_floats(random, shape.iter().product())).unwrap(),
            )
        };
        let scores = if random.below(2) == 0 {
            vec![1, 3]
        } else {
            vec![1, 9, 2]
        };
        let values = [
            ("boxes".to_string(), tensor(&mut random, &[1, 9, 4])),
            ("scores".to_string(), tensor(&mut random, &scores)),
            ("label".to_string(), tensor(&mut random, &[1])),
        ];
        let parameters = pipeline.parameters(&Map::new()).unwrap();
        let picture = (random.below(2) == 0).then_some((9, 5));
        let _ = pipeline.after(&values, picture, &parameters, &config);
    }
    assert!(used > 1000, "{used}");
}
