//! What the types of a pipeline cannot say, checked when a package is read.

use std::collections::BTreeSet;

use super::bytes::largest_token;
use super::labels::{BEST_GUESS, HIGH_CONFIDENCE, MEDIUM_CONFIDENCE};
use super::picture::{Geometry, channel_count};
use super::*;
use crate::DType;

/// Pixels of a picture tensor at the most: 200 MB as three channels of FP32. Models take
/// hundreds of pixels across, not thousands.
const MAX_STEP_PIXELS: u64 = 1 << 24;

/// Tokens at the most.
const MAX_TOKENS: u64 = 1 << 24;

impl Pipeline {
    /// Checks what the types cannot say: sizes that are 0, names that are missing.
    ///
    /// # Errors
    /// `invalid_package`, naming the part.
    pub(crate) fn check(&self, config: &ModelConfig) -> Result<()> {
        self.check_parameters()?;
        let input = match &self.input {
            InputStep::Picture(step) => check_picture(step),
            InputStep::Bytes(step) => self.check_bytes(step),
            InputStep::Record(step) => check_record(step),
            InputStep::Audio(step) => audio::check(step),
            InputStep::Text(step) => match step.max_characters {
                Some(most) => at_least_one("max_characters", most),
                None => Ok(()),
            },
        };
        input.map_err(|e| e.context(format!("input `{}`", self.input.name())))?;
        if self.input.name().is_empty() {
            bail!(InvalidPackage, "the input has no name");
        }
        if self.outputs.is_empty() {
            bail!(InvalidPackage, "there are no outputs; declare at least one");
        }
        unique("output", self.outputs.iter().map(OutputStep::name))?;
        for step in &self.outputs {
            self.check_output(step, config)
                .map_err(|e| e.context(format!("output `{}`", step.name())))?;
        }
        Ok(())
    }

    fn check_parameters(&self) -> Result<()> {
        unique(
            "parameter",
            self.parameters
                .iter()
                .map(|parameter| parameter.name.as_str()),
        )?;
        for ParameterSpec {
            name,
            values,
            default,
        } in &self.parameters
        {
            unique(
                &format!("value of the parameter `{name}`"),
                values.iter().map(String::as_str),
            )?;
            if !values.contains(default) {
                bail!(
                    InvalidPackage,
                    "parameter `{name}`: the default `{default}` is not one of its values"
                );
            }
        }
        Ok(())
    }

    fn check_bytes(&self, step: &BytesInput) -> Result<()> {
        let tokens = u64::from(step.begin) + u64::from(step.end);
        if tokens == 0 || tokens > MAX_TOKENS || step.block == 0 {
            bail!(
                InvalidPackage,
                "begin + end must be from 1 to {MAX_TOKENS} and block at least 1, got {} + {} and {}",
                step.begin,
                step.end,
                step.block
            );
        }
        match largest_token(step.dtype) {
            Some(largest) if step.padding <= largest => {}
            Some(largest) => bail!(
                InvalidPackage,
                "padding {} does not fit into {} (up to {largest})",
                step.padding,
                step.dtype
            ),
            None => bail!(
                InvalidPackage,
                "bytes cannot become a tensor of {}",
                step.dtype
            ),
        }
        let Some(short) = &step.short else {
            return Ok(());
        };
        if short.below == 0 || short.below > step.begin.min(step.block) {
            bail!(
                InvalidPackage,
                "short.below must be from 1 to begin and block, got {}",
                short.below
            );
        }
        if !self
            .outputs
            .iter()
            .any(|output| matches!(output, OutputStep::Decision(_)))
        {
            bail!(
                InvalidPackage,
                "`short` needs an output of kind `decision` to answer with"
            );
        }
        Ok(())
    }

    fn check_output(&self, step: &OutputStep, config: &ModelConfig) -> Result<()> {
        match step {
            OutputStep::Tensor(_) | OutputStep::Label(_) | OutputStep::Probabilities(_) => Ok(()),
            OutputStep::Classes(step) => {
                check_labels(config, &step.labels)?;
                at_least_one("top_k", step.top_k)
            }
            OutputStep::Decision(step) => self.check_decision(step, config),
            OutputStep::Boxes(step) => {
                if !matches!(self.input, InputStep::Picture(_)) {
                    bail!(
                        InvalidPackage,
                        "boxes need a picture as input, this one is {}",
                        self.input.kind()
                    );
                }
                finite("score_threshold", step.score_threshold.into())?;
                if !(0.0..=1.0).contains(&step.iou_threshold) {
                    bail!(
                        InvalidPackage,
                        "iou_threshold must be from 0 to 1, got {}",
                        step.iou_threshold
                    );
                }
                at_least_one("max_boxes", step.max_boxes)
            }
        }
    }

    fn check_decision(&self, step: &DecisionOutput, config: &ModelConfig) -> Result<()> {
        check_labels(config, &step.labels)?;
        let labels = config
            .labels
            .get(&step.labels)
            .map(Vec::as_slice)
            .unwrap_or_default();
        let known: BTreeSet<&str> = labels.iter().map(|label| label.name.as_str()).collect();
        finite("threshold", step.threshold)?;
        for (label, threshold) in &step.thresholds {
            finite(&format!("the threshold of `{label}`"), *threshold)?;
        }
        let overwrite = step.overwrite.iter().flat_map(|(from, to)| [from, to]);
        if let Some(name) = step
            .thresholds
            .keys()
            .chain(overwrite)
            .find(|name| !known.contains(name.as_str()))
        {
            let did_you_mean = suggest::suggestion(name, known.into_iter());
            bail!(
                InvalidPackage,
                "`{name}` is not in the list of labels `{}`{did_you_mean}",
                step.labels
            );
        }
        let modes = [HIGH_CONFIDENCE, MEDIUM_CONFIDENCE, BEST_GUESS];
        let Some(parameter) = self
            .parameters
            .iter()
            .find(|known| known.name == step.parameter)
        else {
            bail!(
                InvalidPackage,
                "the parameter `{}` is not declared",
                step.parameter
            );
        };
        match parameter
            .values
            .iter()
            .find(|value| !modes.contains(&value.as_str()))
        {
            Some(value) => bail!(
                InvalidPackage,
                "the parameter `{}` may have the values {}, not `{value}`",
                step.parameter,
                list(modes.into_iter())
            ),
            None => Ok(()),
        }
    }
}

fn check_picture(step: &PictureInput) -> Result<()> {
    if !matches!(step.dtype, DType::F32 | DType::U8) {
        bail!(
            InvalidPackage,
            "a picture becomes FP32 or UINT8, not {}",
            step.dtype
        );
    }
    // From the first resize on the size is known, so a crop can be compared with it.
    let mut known: Option<PictureSize> = None;
    for part in &step.steps {
        match part {
            PictureStep::Resize(to) => known = Some(check_size("resize", to.width, to.height)?),
            PictureStep::CenterCrop(to) => {
                let size = check_size("center_crop", to.width, to.height)?;
                if let Some(from) = known
                    && Geometry::new(std::slice::from_ref(part), from).is_err()
                {
                    bail!(
                        InvalidPackage,
                        "center_crop to {} x {} comes after a resize to {} x {}, which is smaller",
                        to.width,
                        to.height,
                        from.0,
                        from.1
                    );
                }
                known = Some(size);
            }
            PictureStep::Normalize(by) => check_normalize(by, step.channels)?,
        }
    }
    Ok(())
}

fn check_size(what: &str, width: u32, height: u32) -> Result<PictureSize> {
    let pixels = u64::from(width) * u64::from(height);
    if pixels == 0 || pixels > MAX_STEP_PIXELS {
        bail!(
            InvalidPackage,
            "{what} to {width} x {height}: there must be from 1 to {MAX_STEP_PIXELS} pixels"
        );
    }
    Ok((width, height))
}

fn check_normalize(by: &Normalize, channels: Channels) -> Result<()> {
    let count = channel_count(channels);
    for (what, numbers) in [("mean", &by.mean), ("std", &by.std)] {
        if numbers.len() != 1 && numbers.len() != count {
            bail!(
                InvalidPackage,
                "normalize: {what} must have 1 or {count} numbers, got {}",
                numbers.len()
            );
        }
        for number in numbers {
            finite(&format!("normalize: {what}"), (*number).into())?;
        }
    }
    if by.std.contains(&0.0) {
        bail!(
            InvalidPackage,
            "normalize: std is divided by and must not be 0"
        );
    }
    Ok(())
}

fn check_record(step: &RecordInput) -> Result<()> {
    check_record_types(step)?;
    // With a tensor it is a map, which takes any.
    if step.columns.is_empty() && step.tensor.is_none() {
        bail!(InvalidPackage, "there are no columns");
    }
    unique(
        "column",
        step.columns.iter().map(|column| column.name.as_str()),
    )?;
    let nan = step.columns.iter().find(|column| {
        column.missing == Missing::Nan && !matches!(step.dtype_of(column), DType::F32 | DType::F64)
    });
    if let Some(column) = nan {
        bail!(
            InvalidPackage,
            "column `{}`: {} has no NaN; a missing value must be an error",
            column.name,
            step.dtype_of(column)
        );
    }
    Ok(())
}

fn check_record_types(step: &RecordInput) -> Result<()> {
    let is_text_map = step.columns.is_empty() && step.dtype == DType::String;
    if !matches!(step.dtype, DType::F32 | DType::F64 | DType::I64) && !is_text_map {
        bail!(
            InvalidPackage,
            "a record becomes FP32, FP64 or INT64, not {}",
            step.dtype
        );
    }
    for column in &step.columns {
        let Some(dtype) = column.dtype else { continue };
        if step.tensor.is_some() {
            bail!(
                InvalidPackage,
                "column `{}` has a dtype, and is a part of one tensor: leave out `tensor`, or the dtype",
                column.name
            );
        }
        if !matches!(
            dtype,
            DType::F32 | DType::F64 | DType::I64 | DType::Bool | DType::String
        ) {
            bail!(
                InvalidPackage,
                "column `{}`: a column becomes FP32, FP64, INT64, BOOL or BYTES, not {dtype}",
                column.name
            );
        }
    }
    Ok(())
}

fn check_labels(config: &ModelConfig, key: &str) -> Result<()> {
    if config.labels.get(key).is_none_or(Vec::is_empty) {
        bail!(
            InvalidPackage,
            "there is no list of labels `{key}`, or it is empty"
        );
    }
    Ok(())
}

fn unique<'a>(what: &str, names: impl Iterator<Item = &'a str>) -> Result<()> {
    let mut seen = BTreeSet::new();
    for name in names {
        if name.is_empty() {
            bail!(InvalidPackage, "there is a {what} without a name");
        }
        if !seen.insert(name) {
            bail!(InvalidPackage, "the {what} `{name}` is there twice");
        }
    }
    Ok(())
}

pub(super) fn finite(what: &str, number: f64) -> Result<()> {
    if !number.is_finite() {
        bail!(
            InvalidPackage,
            "{what} must be a finite number, got {number}"
        );
    }
    Ok(())
}

fn at_least_one(what: &str, number: u32) -> Result<()> {
    if number == 0 {
        bail!(InvalidPackage, "{what} must be at least 1");
    }
    Ok(())
}
