//! Making the list of cases from a registry.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value as Json, json};
use twinfer::{DType, ErrorCode, Model, Parameters, Result};
use twinfer_package::{
    Blob, Expectation, FolderStore, GoldenCase, GoldenData, GoldenInput, GoldenTensor, Index,
    Package, Reference, Store, Texts,
};

use crate::case::{Call, Case, Cases, Expect};
use crate::forge::{Forged, VERSION};
use crate::pictures::png_of_size;

/// The golden cases of every package: as predictions, and as runs of the model alone on the
/// tensors that the native pipeline makes, so that every place gets the same bytes.
///
/// # Errors
/// When a package cannot be opened or loaded, or has no golden cases: nothing may be left out
/// in silence.
pub fn golden(registry: &Path) -> Result<Cases> {
    let store = FolderStore::new(registry);
    let mut cases = Vec::new();
    for tagged in Index::from_json(&store.index()?)?.tags() {
        let text = format!("{}:{}", tagged.name, tagged.tag);
        let package = Package::open(&store, &text.parse::<Reference>()?)?;
        let model = package.load().map_err(|e| e.context(&text))?;
        let Some(golden) = package.golden().filter(|golden| !golden.cases.is_empty()) else {
            twinfer::bail!(
                InvalidPackage,
                "{text} has no golden examples to compare the places with"
            );
        };
        for case in &golden.cases {
            add_golden(&mut cases, &text, case, &model)
                .map_err(|e| e.context(format!("{text}: {}", case.name)))?;
        }
    }
    Ok(Cases { cases })
}

fn add_golden(
    cases: &mut Vec<Case>,
    reference: &str,
    case: &GoldenCase,
    model: &Model,
) -> Result<()> {
    let name = format!("{reference}/{}", case.name);
    let expect = |outputs, tensors| Expect::Answer {
        golden: Expectation { outputs, tensors },
        tolerance: case.tolerance,
    };
    if case.expect.outputs.is_some() {
        cases.push(Case {
            id: name.clone(),
            reference: reference.into(),
            call: Call::Predict {
                input: case.input.clone(),
                parameters: case.parameters.clone(),
            },
            expect: expect(case.expect.outputs.clone(), Vec::new()),
        });
    }
    let tensors: Vec<GoldenTensor> = model
        .preprocess(case.input.to_input()?)?
        .iter()
        .filter_map(|(name, value)| match value {
            twinfer::Value::Tensor(tensor) => Some(GoldenTensor::from_tensor(name, tensor)),
            _ => None,
        })
        .collect();
    // The same tensors again would tell nothing new: an input with another parameter has them.
    let known = |other: &Case| {
        matches!(&other.call, Call::Run { tensors: t } if *t == tensors)
            && other.reference == reference
    };
    let nothing_new = case.expect.tensors.is_empty() && cases.iter().any(known);
    if !tensors.is_empty() && !nothing_new {
        cases.push(Case {
            id: format!("{name}/tensors"),
            reference: reference.into(),
            call: Call::Run { tensors },
            expect: expect(None, case.expect.tensors.clone()),
        });
    }
    Ok(())
}

/// Bad input of every kind that reaches every place, and after it the first case of each
/// package again: the instance must go on serving.
pub fn bad(golden: &Cases, forged: &[Forged]) -> Cases {
    let mut cases: Vec<Case> = forged.iter().map(broken_package).collect();
    cases.extend(unknown_packages());
    cases.extend(bad_predictions(golden));
    cases.extend(bad_runs(golden));
    let mut again: Vec<Case> = Vec::new();
    for case in &golden.cases {
        if again.iter().all(|other| other.reference != case.reference) {
            again.push(Case {
                id: format!("{} after bad input", case.id),
                ..case.clone()
            });
        }
    }
    cases.extend(again);
    Cases { cases }
}

fn failing(id: String, reference: &str, call: Call, code: ErrorCode) -> Case {
    Case {
        id,
        reference: reference.into(),
        call,
        expect: Expect::Error(code.as_str().into()),
    }
}

fn broken_package(forged: &Forged) -> Case {
    let reference = format!("{}:{VERSION}", forged.name);
    failing(
        format!("bad/{}", forged.name),
        &reference,
        Call::Run {
            tensors: Vec::new(),
        },
        forged.code,
    )
}

fn unknown_packages() -> Vec<Case> {
    let none = || Call::Run {
        tensors: Vec::new(),
    };
    vec![
        failing(
            "bad/unknown-model".into(),
            "no-such-model:1.0.0",
            none(),
            ErrorCode::UnknownModel,
        ),
        failing(
            "bad/unknown-version".into(),
            "types:9.9.9",
            none(),
            ErrorCode::UnknownVersion,
        ),
    ]
}

fn bad_predictions(golden: &Cases) -> Vec<Case> {
    let mut cases = Vec::new();
    for (input, parameters, reference) in firsts(golden) {
        let mut add = |what: &str, input: GoldenInput, parameters: Parameters, code| {
            cases.push(failing(
                format!("bad/{reference}/{what}"),
                reference,
                Call::Predict { input, parameters },
                code,
            ));
        };
        match input {
            GoldenInput::Picture(blob) => {
                for (what, bytes, code) in bad_pictures(&blob.bytes().unwrap_or_default()) {
                    add(
                        what,
                        GoldenInput::Picture(blob_of(&bytes, "image/png")),
                        parameters.clone(),
                        code,
                    );
                }
            }
            GoldenInput::Record(record) => {
                for (what, record, code) in bad_records(record) {
                    add(what, GoldenInput::Record(record), parameters.clone(), code);
                }
            }
            GoldenInput::Audio(blob) => {
                for (what, bytes, code) in bad_sounds(&blob.bytes().unwrap_or_default()) {
                    add(
                        what,
                        GoldenInput::Audio(blob_of(&bytes, "audio/wav")),
                        parameters.clone(),
                        code,
                    );
                }
            }
            GoldenInput::Text(_) => add(
                "no-texts",
                GoldenInput::Text(Texts::Several(Vec::new())),
                parameters.clone(),
                ErrorCode::InvalidText,
            ),
            GoldenInput::Bytes(_) | GoldenInput::Tensors(_) => {}
        }
        let with = |key: &str, value: Json| {
            let mut changed = parameters.clone();
            changed.insert(key.into(), value);
            changed
        };
        add(
            "unknown-parameter",
            input.clone(),
            with("surprise", json!("x")),
            ErrorCode::UnknownParameter,
        );
        for name in parameters.keys() {
            add(
                "wrong-parameter",
                input.clone(),
                with(name, json!("surprise")),
                ErrorCode::InvalidParameter,
            );
        }
    }
    cases
}

/// The first prediction of each package.
fn firsts(golden: &Cases) -> Vec<(&GoldenInput, &Parameters, &str)> {
    let mut firsts: Vec<(&GoldenInput, &Parameters, &str)> = Vec::new();
    for case in &golden.cases {
        if let Call::Predict { input, parameters } = &case.call
            && firsts
                .iter()
                .all(|(_, _, reference)| *reference != case.reference)
        {
            firsts.push((input, parameters, &case.reference));
        }
    }
    firsts
}

fn bad_pictures(whole: &[u8]) -> Vec<(&'static str, Vec<u8>, ErrorCode)> {
    vec![
        ("empty", Vec::new(), ErrorCode::InvalidPicture),
        (
            "no-picture",
            b"this is no picture".to_vec(),
            ErrorCode::InvalidPicture,
        ),
        (
            "html",
            b"<!doctype html><title>not found</title>".to_vec(),
            ErrorCode::InvalidPicture,
        ),
        (
            "head-only",
            whole[..whole.len().min(40)].to_vec(),
            ErrorCode::InvalidPicture,
        ),
        ("zero-pixels", png_of_size(0, 0), ErrorCode::InvalidPicture),
        ("no-data", png_of_size(16, 16), ErrorCode::InvalidPicture),
        (
            "30000x30000",
            png_of_size(30_000, 30_000),
            ErrorCode::PictureTooLarge,
        ),
        (
            "4294967295x4294967295",
            png_of_size(u32::MAX, u32::MAX),
            ErrorCode::PictureTooLarge,
        ),
    ]
}

fn bad_sounds(whole: &[u8]) -> Vec<(&'static str, Vec<u8>, ErrorCode)> {
    let with = |at: usize, bytes: &[u8]| {
        let mut file = whole.to_vec();
        if let Some(place) = file.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
        file
    };
    vec![
        ("empty", Vec::new(), ErrorCode::InvalidAudio),
        (
            "no-sound",
            b"this is no sound".to_vec(),
            ErrorCode::InvalidAudio,
        ),
        (
            "head-only",
            whole[..whole.len().min(40)].to_vec(),
            ErrorCode::InvalidAudio,
        ),
        (
            "half",
            whole[..whole.len() / 2].to_vec(),
            ErrorCode::InvalidAudio,
        ),
        // Channels and rate of the format, which comes first.
        ("no-channels", with(22, &[0, 0]), ErrorCode::InvalidAudio),
        ("no-rate", with(24, &[0; 4]), ErrorCode::InvalidAudio),
        (
            "4294967295-hertz",
            with(24, &[0xff; 4]),
            ErrorCode::InvalidAudio,
        ),
    ]
}

fn bad_records(whole: &Map<String, Json>) -> Vec<(&'static str, Map<String, Json>, ErrorCode)> {
    let Some(column) = whole.keys().next().cloned() else {
        return Vec::new();
    };
    let with = |key: &str, value: Json| {
        let mut record = whole.clone();
        record.insert(key.into(), value);
        record
    };
    vec![
        (
            "text-for-a-number",
            with(&column, json!("surprise")),
            ErrorCode::InvalidRecord,
        ),
        (
            "list-for-a-number",
            with(&column, json!([1.0])),
            ErrorCode::InvalidRecord,
        ),
        (
            "unknown-column",
            with("surprise", json!(1.0)),
            ErrorCode::InvalidRecord,
        ),
    ]
}

fn bad_runs(golden: &Cases) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let mut seen: Vec<&str> = Vec::new();
    for case in &golden.cases {
        let Call::Run { tensors } = &case.call else {
            continue;
        };
        let Some(first) = tensors
            .first()
            .filter(|_| !seen.contains(&case.reference.as_str()))
        else {
            continue;
        };
        seen.push(&case.reference);
        let mut add = |what: &str, changed: Vec<GoldenTensor>, code| {
            cases.push(failing(
                format!("bad/{}/{what}", case.reference),
                &case.reference,
                Call::Run { tensors: changed },
                code,
            ));
        };
        let replaced = |change: &dyn Fn(&mut GoldenTensor)| {
            let mut changed = tensors.clone();
            change(&mut changed[0]);
            changed
        };
        add(
            "missing-input",
            tensors[1..].to_vec(),
            ErrorCode::MissingInput,
        );
        let extra = GoldenTensor {
            name: "surprise".into(),
            ..first.clone()
        };
        add(
            "unknown-input",
            tensors.iter().cloned().chain([extra]).collect(),
            ErrorCode::UnknownInput,
        );
        add(
            "wrong-dtype",
            replaced(&|t| (t.dtype, t.data) = of_another_type(t)),
            ErrorCode::WrongDtype,
        );
        add(
            "wrong-rank",
            replaced(&|t| t.shape.push(1)),
            ErrorCode::WrongShape,
        );
        add(
            "short-data",
            replaced(&|t| t.data = of_another_length(t)),
            ErrorCode::WrongShape,
        );
    }
    cases
}

/// Texts for numbers, numbers for texts.
fn of_another_type(tensor: &GoldenTensor) -> (DType, GoldenData) {
    let count: usize = tensor.shape.iter().product();
    match tensor.dtype {
        DType::String => {
            let numbers = STANDARD.encode(vec![0u8; 4 * count]);
            (DType::F32, GoldenData::Base64(numbers))
        }
        _ => (
            DType::String,
            GoldenData::Strings(vec![String::new(); count]),
        ),
    }
}

/// Other data than the shape says.
fn of_another_length(tensor: &GoldenTensor) -> GoldenData {
    match tensor.dtype {
        DType::String => {
            let count: usize = tensor.shape.iter().product();
            GoldenData::Strings(vec![String::new(); count + 1])
        }
        _ => GoldenData::Base64(STANDARD.encode([0; 16])),
    }
}

fn blob_of(bytes: &[u8], media_type: &str) -> Blob {
    Blob {
        base64: Some(STANDARD.encode(bytes)),
        file: None,
        media_type: Some(media_type.into()),
    }
}
