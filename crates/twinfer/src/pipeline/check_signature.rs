//! The pipeline against the signature of the model, checked when the model is loaded.

use super::bytes::largest_token;
use super::picture::{channel_count, fixed_size};
use super::*;
use crate::signature::show_shape;
use crate::{DType, Dim, OutputSpec, Signature, TensorSpec, ValueKind};

impl Pipeline {
    /// Checks the names, types and shapes that it uses against those of the model.
    ///
    /// # Errors
    /// `invalid_package`, naming what contradicts what.
    pub(crate) fn check_signature(
        &self,
        signature: &Signature,
        config: &ModelConfig,
    ) -> Result<()> {
        self.check_inputs(signature)
            .map_err(|e| e.context(format!("input `{}`", self.input.name())))?;
        for step in &self.outputs {
            check_output(step, signature, config)
                .map_err(|e| e.context(format!("output `{}`", step.name())))?;
        }
        Ok(())
    }

    fn check_inputs(&self, signature: &Signature) -> Result<()> {
        let made: Vec<(&String, DType, Vec<Option<usize>>)> = match &self.input {
            InputStep::Picture(step) => vec![(&step.tensor, step.dtype, picture_shape(step))],
            InputStep::Bytes(step) => {
                let tokens = step.begin as usize + step.end as usize;
                vec![(&step.tensor, step.dtype, vec![Some(1), Some(tokens)])]
            }
            InputStep::Audio(step) => {
                vec![(&step.tensor, DType::F32, audio::shape(step, None))]
            }
            InputStep::Text(step) => {
                let spec = input_of(signature, &step.tensor)?;
                let first = spec.shape.as_deref().and_then(<[Dim]>::first);
                // A model that takes one text takes one.
                let texts = first.and_then(fixed).filter(|&texts| texts == 1);
                let shape = step.layout.shape(texts, Some(1));
                vec![(&step.tensor, DType::String, shape)]
            }
            InputStep::Record(step) => match &step.tensor {
                Some(tensor) if step.columns.is_empty() => {
                    return self.check_map(signature, tensor, step.dtype);
                }
                Some(tensor) => {
                    let shape = vec![Some(1), Some(step.columns.len())];
                    vec![(tensor, step.dtype, shape)]
                }
                None => {
                    let columns = step.columns.iter();
                    let shape = vec![Some(1), Some(1)];
                    columns
                        .map(|column| (&column.name, step.dtype_of(column), shape.clone()))
                        .collect()
                }
            },
        };
        let free = match &self.input {
            InputStep::Audio(_) => "length of the sound",
            InputStep::Text(_) => "number of texts",
            _ => "size of the picture",
        };
        for (tensor, dtype, wanted) in &made {
            let spec = input_of(signature, tensor)?;
            if !spec.kind.is_tensor() {
                bail!(
                    InvalidPackage,
                    "the model takes `{}` as {}, the pipeline makes a tensor{}",
                    spec.name,
                    spec.kind.name(),
                    match spec.kind {
                        ValueKind::Maps => "; leave its columns empty",
                        _ => "",
                    }
                );
            }
            check_dtype(spec, *dtype)?;
            check_shape(spec, wanted, free)?;
        }
        check_all_made(signature, |name| {
            made.iter().any(|(tensor, ..)| *tensor == name)
        })
    }

    fn check_map(&self, signature: &Signature, tensor: &String, dtype: DType) -> Result<()> {
        let spec = input_of(signature, tensor)?;
        if spec.kind != ValueKind::Maps {
            bail!(
                InvalidPackage,
                "there are no columns, and `{}` is {}: only a map takes any",
                spec.name,
                spec.kind.name()
            );
        }
        check_dtype(spec, dtype)?;
        check_all_made(signature, |name| name == tensor)
    }
}

fn check_all_made(signature: &Signature, is_made: impl Fn(&String) -> bool) -> Result<()> {
    match (signature.inputs.iter()).find(|spec| !is_made(&spec.name)) {
        None => Ok(()),
        Some(other) => bail!(
            InvalidPackage,
            "the model also takes `{}`, for which the pipeline has nothing",
            other.name
        ),
    }
}

fn input_of<'a>(signature: &'a Signature, tensor: &str) -> Result<&'a TensorSpec> {
    let found = signature.inputs.iter().find(|spec| spec.name == tensor);
    found.ok_or_else(|| {
        let names = signature.inputs.iter().map(|spec| spec.name.as_str());
        err!(
            InvalidPackage,
            "the model has no input `{tensor}`; it has {}",
            list(names)
        )
    })
}

/// The shape of the tensor of a picture; `None` for what depends on the picture.
fn picture_shape(step: &PictureInput) -> Vec<Option<usize>> {
    let size = fixed_size(&step.steps);
    let (width, height) = (size.map(|s| s.0 as usize), size.map(|s| s.1 as usize));
    let channels = Some(channel_count(step.channels));
    match step.layout {
        Layout::Nchw => vec![Some(1), channels, height, width],
        Layout::Nhwc => vec![Some(1), height, width, channels],
    }
}

fn check_dtype(spec: &TensorSpec, dtype: DType) -> Result<()> {
    if spec.dtype == dtype {
        return Ok(());
    }
    let hint = match largest_token(spec.dtype) {
        Some(_) => format!("; set dtype to {}", spec.dtype),
        None => String::new(),
    };
    bail!(
        InvalidPackage,
        "the model takes `{}` as {}, the pipeline makes {dtype}{hint}",
        spec.name,
        spec.dtype
    )
}

/// `free` is what axes depend on that are none.
fn check_shape(spec: &TensorSpec, wanted: &[Option<usize>], free: &str) -> Result<()> {
    let Some(dims) = &spec.shape else {
        return Ok(());
    };
    let fits = dims.len() == wanted.len()
        && dims.iter().zip(wanted).all(|(dim, wanted)| match dim {
            // An input of any size into an axis of one size fits by chance only.
            Dim::Fixed(n) => *wanted == Some(*n),
            Dim::Symbol(_) | Dim::Free => true,
        });
    if fits {
        return Ok(());
    }
    let made = wanted
        .iter()
        .map(|n| n.map_or(Dim::Symbol(free.into()), Dim::Fixed));
    bail!(
        InvalidPackage,
        "the model takes `{}` of shape {}, the pipeline makes {}",
        spec.name,
        show_shape(&spec.shape),
        show_shape(&Some(made.collect()))
    )
}

fn check_output(step: &OutputStep, signature: &Signature, config: &ModelConfig) -> Result<()> {
    for name in step.tensors() {
        find(signature, name)?;
    }
    match step {
        OutputStep::Tensor(_) => Ok(()),
        OutputStep::Label(step) => check_kind(find(signature, &step.tensor)?, ValueKind::Tensor),
        OutputStep::Probabilities(step) => {
            check_kind(find(signature, &step.tensor)?, ValueKind::Maps)
        }
        OutputStep::Classes(step) => {
            let classes = check_scores(find(signature, &step.tensor)?)?;
            let labels = config.labels.get(&step.labels).map_or(0, Vec::len);
            match classes {
                Some(classes) if classes != labels => bail!(
                    InvalidPackage,
                    "the model has {classes} classes, the list `{}` {labels} labels",
                    step.labels
                ),
                _ => Ok(()),
            }
        }
        OutputStep::Decision(step) => {
            let classes = check_scores(find(signature, &step.tensor)?)?;
            let labels = config.labels.get(&step.labels).map_or(0, Vec::len);
            match classes {
                Some(classes) if classes > labels => bail!(
                    InvalidPackage,
                    "the model has {classes} classes, the list `{}` only {labels} labels",
                    step.labels
                ),
                _ => Ok(()),
            }
        }
        OutputStep::Boxes(step) => check_boxes(step, signature),
    }
}

fn find<'a>(signature: &'a Signature, name: &str) -> Result<&'a OutputSpec> {
    let found = signature.outputs.iter().find(|spec| spec.name == name);
    found.ok_or_else(|| {
        let names = signature.outputs.iter().map(|spec| spec.name.as_str());
        err!(
            InvalidPackage,
            "the model has no output `{name}`; it has {}",
            list(names)
        )
    })
}

fn check_kind(spec: &OutputSpec, kind: ValueKind) -> Result<()> {
    if spec.kind != kind {
        bail!(
            InvalidPackage,
            "the model output `{}` is {}, this kind needs {}",
            spec.name,
            spec.kind.name(),
            kind.name()
        );
    }
    Ok(())
}

/// Scores: FP32, `[classes]` or `[1, classes]`. The number of classes, if it is fixed.
fn check_scores(spec: &OutputSpec) -> Result<Option<usize>> {
    check_floats(spec)?;
    match spec.shape.as_deref() {
        None => Ok(None),
        Some([classes] | [_, classes]) => Ok(fixed(classes)),
        Some(_) => bail!(
            InvalidPackage,
            "the model output `{}` has the shape {}, scores must be [classes] or [1, classes]",
            spec.name,
            show_shape(&spec.shape)
        ),
    }
}

fn check_floats(spec: &OutputSpec) -> Result<()> {
    check_kind(spec, ValueKind::Tensor)?;
    if spec.dtype != DType::F32 {
        bail!(
            InvalidPackage,
            "the model output `{}` is {}, this kind needs FP32",
            spec.name,
            spec.dtype
        );
    }
    Ok(())
}

fn check_boxes(step: &BoxesOutput, signature: &Signature) -> Result<()> {
    let (boxes, scores) = (
        find(signature, &step.boxes)?,
        find(signature, &step.scores)?,
    );
    let (count, coordinates) = check_table(boxes)?;
    let (scored, classes) = check_table(scores)?;
    if coordinates.is_some_and(|n| n != 4) {
        bail!(
            InvalidPackage,
            "the model output `{}` has {}, boxes have 4 coordinates",
            boxes.name,
            show_shape(&boxes.shape)
        );
    }
    if let Some(classes) = classes.filter(|&classes| step.class as usize >= classes) {
        bail!(
            InvalidPackage,
            "there is no class {} in the {classes} columns of `{}`",
            step.class,
            scores.name
        );
    }
    match (count, scored) {
        (Some(boxes), Some(scores)) if boxes != scores => {
            bail!(
                InvalidPackage,
                "the model gives {boxes} boxes and {scores} scores"
            )
        }
        _ => Ok(()),
    }
}

/// Rows and columns of an output `[1, rows, columns]`, where they are fixed.
fn check_table(spec: &OutputSpec) -> Result<(Option<usize>, Option<usize>)> {
    check_floats(spec)?;
    match spec.shape.as_deref() {
        None => Ok((None, None)),
        Some([rows, columns] | [_, rows, columns]) => Ok((fixed(rows), fixed(columns))),
        Some(_) => bail!(
            InvalidPackage,
            "the model output `{}` has the shape {}, it must be [1, boxes, columns]",
            spec.name,
            show_shape(&spec.shape)
        ),
    }
}

fn fixed(dim: &Dim) -> Option<usize> {
    match dim {
        Dim::Fixed(n) => Some(*n),
        Dim::Symbol(_) | Dim::Free => None,
    }
}
