//! The declared steps before and after the model: what stands under `pipeline` in
//! `twinfer.json`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{AudioInput, DType, TextInput};

/// How an input of the caller becomes tensors, and tensors an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct Pipeline {
    /// What the caller gives.
    pub input: InputStep,
    /// What the caller gets, in this order.
    pub outputs: Vec<OutputStep>,
    /// What the caller may choose at each call.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parameters: Vec<ParameterSpec>,
}

/// A choice at call time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct ParameterSpec {
    /// Its name in requests.
    pub name: String,
    /// The values that are allowed.
    pub values: Vec<String>,
    /// The value when none is given; one of `values`.
    pub default: String,
}

/// The caller's input, by kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub enum InputStep {
    /// A picture (PNG, JPEG, WebP, or raw pixels).
    Picture(PictureInput),
    /// Any bytes, such as a file.
    Bytes(BytesInput),
    /// A sound (WAV, or samples).
    Audio(AudioInput),
    /// A text, or several.
    Text(TextInput),
    /// A record: an object of named columns.
    Record(RecordInput),
}

impl InputStep {
    /// The name under which the caller gives it.
    pub fn name(&self) -> &str {
        match self {
            InputStep::Picture(step) => &step.name,
            InputStep::Bytes(step) => &step.name,
            InputStep::Audio(step) => &step.name,
            InputStep::Text(step) => &step.name,
            InputStep::Record(step) => &step.name,
        }
    }

    /// The kind, as in `twinfer.json`.
    pub fn kind(&self) -> &'static str {
        match self {
            InputStep::Picture(_) => "picture",
            InputStep::Bytes(_) => "bytes",
            InputStep::Audio(_) => "audio",
            InputStep::Text(_) => "text",
            InputStep::Record(_) => "record",
        }
    }
}

/// A picture becomes one tensor `[1, channels, height, width]` or
/// `[1, height, width, channels]`.
///
/// It is turned upright first, as its Exif orientation says. 16-bit samples are rounded to 8
/// bits, grey becomes three equal channels, alpha is dropped, and colour profiles are ignored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct PictureInput {
    /// The caller's name for it.
    pub name: String,
    /// The model input that it becomes.
    pub tensor: String,
    /// Order and number of the colour channels.
    #[serde(default)]
    pub channels: Channels,
    /// Order of the axes.
    #[serde(default)]
    pub layout: Layout,
    /// Data type of the tensor: `FP32`, or `UINT8` (values are rounded and clamped).
    #[serde(default = "fp32")]
    pub dtype: DType,
    /// What is done to the pixels, in this order. They start as 0 to 255, in the order of
    /// `channels`, and are computed with in single precision.
    pub steps: Vec<PictureStep>,
}

fn fp32() -> DType {
    DType::F32
}

/// Colour channels of a picture tensor.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub enum Channels {
    /// Red, green, blue.
    #[default]
    Rgb,
    /// Blue, green, red.
    Bgr,
    /// One channel: 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601).
    Grey,
}

/// Order of the axes of a picture tensor.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub enum Layout {
    /// Batch, channels, height, width.
    #[default]
    Nchw,
    /// Batch, height, width, channels.
    Nhwc,
}

/// A step on the pixels of a picture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub enum PictureStep {
    /// To this size, without keeping the aspect ratio.
    Resize(Resize),
    /// The middle part of this size; the picture must be at least as large. Where the rest
    /// is odd, the smaller half of it is on the left and at the top.
    CenterCrop(Size),
    /// `(value - mean) / std`, channel by channel, in the order of `channels`.
    Normalize(Normalize),
}

/// A size in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct Size {
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
}

/// A change of size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct Resize {
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
    /// How pixels in between are made.
    pub filter: Filter,
}

/// How a resized pixel is made from those of the picture. Pixel centres are at halves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub enum Filter {
    /// The nearest pixel.
    Nearest,
    /// Between the four nearest, with no smoothing when shrinking: OpenCV's
    /// `INTER_LINEAR` on floats.
    Bilinear,
    /// A triangle as wide as a target pixel, so that shrinking smooths: Pillow's
    /// `BILINEAR`, computed on floats.
    Triangle,
}

/// Mean and standard deviation: one number for all channels, or one for each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct Normalize {
    /// Subtracted.
    pub mean: Vec<f32>,
    /// Divided by; not 0.
    pub std: Vec<f32>,
}

/// Bytes become one tensor `[1, begin + end]` of tokens: the first `begin` bytes, then the
/// last `end` bytes. The features of Magika (google/magika, `magika.py`,
/// `_extract_features_from_seekable`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct BytesInput {
    /// The caller's name for it.
    pub name: String,
    /// The model input that it becomes.
    pub tensor: String,
    /// Data type of the tensor.
    pub dtype: DType,
    /// How many tokens from the beginning; padded at their end.
    pub begin: u32,
    /// How many tokens from the end; padded at their beginning.
    pub end: u32,
    /// How many bytes at each end are looked at.
    pub block: u32,
    /// Whether white space is taken off the beginning of the first and the end of the last
    /// block.
    #[serde(default)]
    pub strip_whitespace: bool,
    /// The token that stands for "no byte".
    pub padding: u32,
    /// What is answered without the model when there is too little to look at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub short: Option<ShortBytes>,
}

/// Answers for input that is too short for the model: label and score 1 of a `decision`.
/// Outputs of other kinds are `null` then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct ShortBytes {
    /// Input of fewer bytes, or with fewer left after stripping, is short.
    pub below: u32,
    /// The label of no bytes at all.
    pub empty: String,
    /// The label of short UTF-8 text.
    pub text: String,
    /// The label of other short bytes.
    pub binary: String,
    /// What stands for the label of the model that was not asked.
    pub undefined: String,
}

/// A record becomes one tensor `[1, columns]` of numbers, or a tensor `[1, 1]` for each column, of
/// numbers or texts. `true` and `false` count as 1 and 0.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct RecordInput {
    /// The caller's name for it.
    pub name: String,
    /// The model input that it becomes. Absent where each column is a model input of its own, by
    /// the name of the column: so skl2onnx exports a `ColumnTransformer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", ts(optional))]
    pub tensor: Option<String>,
    /// Data type of the tensor, or of the values of a map: `FP32`, `FP64` or `INT64`, of a map also
    /// `BYTES` (texts). Of columns of their own: those that say
    /// nothing else.
    #[serde(default = "fp32")]
    pub dtype: DType,
    /// The columns, in the order of the tensor. Empty where the model input is a map (scikit-learn's
    /// `DictVectorizer`): it then takes any keys, and those of the record are its own.
    pub columns: Vec<Column>,
}

/// A column of a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct Column {
    /// The key in the record.
    pub name: String,
    /// What a missing key or a `null` means.
    #[serde(default)]
    pub missing: Missing,
    /// Data type of a column that is a model input of its own: `FP32`, `FP64`, `INT64`, `BOOL` or
    /// `BYTES` (texts). Absent for that of the record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", ts(optional))]
    pub dtype: Option<DType>,
}

/// What a missing value means.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub enum Missing {
    /// An error.
    #[default]
    Error,
    /// Not a number, which the model itself knows how to fill.
    Nan,
}

/// A part of the answer, by kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub enum OutputStep {
    /// A model output as it is: nested arrays of numbers or strings.
    Tensor(PlainOutput),
    /// The first element of a model output: the label of the first row.
    Label(PlainOutput),
    /// `{label: probability}` of the first row of a model output that is maps (ZipMap).
    Probabilities(PlainOutput),
    /// The most probable classes: `[{label, score}]`.
    Classes(ClassesOutput),
    /// One label with confidence rules: `{label, score, model_label, overwrite_reason}`.
    Decision(DecisionOutput),
    /// Boxes after non-maximum suppression: `[{x, y, width, height, score}]`.
    Boxes(BoxesOutput),
}

impl OutputStep {
    /// The key in the answer.
    pub fn name(&self) -> &str {
        match self {
            OutputStep::Tensor(o) | OutputStep::Label(o) | OutputStep::Probabilities(o) => &o.name,
            OutputStep::Classes(o) => &o.name,
            OutputStep::Decision(o) => &o.name,
            OutputStep::Boxes(o) => &o.name,
        }
    }

    /// The model outputs that it reads.
    pub fn tensors(&self) -> Vec<&str> {
        match self {
            OutputStep::Tensor(o) | OutputStep::Label(o) | OutputStep::Probabilities(o) => {
                vec![&o.tensor]
            }
            OutputStep::Classes(o) => vec![&o.tensor],
            OutputStep::Decision(o) => vec![&o.tensor],
            OutputStep::Boxes(o) => vec![&o.boxes, &o.scores],
        }
    }
}

/// A model output that is given on with little change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct PlainOutput {
    /// The key in the answer.
    pub name: String,
    /// The model output.
    pub tensor: String,
}

/// What turns scores into probabilities.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub enum Activation {
    /// Nothing: they are already what they should be.
    #[default]
    None,
    /// `exp(x - max) / sum`.
    Softmax,
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
}

/// The most probable classes of a score vector.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct ClassesOutput {
    /// The key in the answer.
    pub name: String,
    /// The model output: FP32, `[classes]` or `[1, classes]`.
    pub tensor: String,
    /// The key of the list in `labels`; as long as there are classes.
    pub labels: String,
    /// How many at the most.
    pub top_k: u32,
    /// What is done to the scores first.
    #[serde(default)]
    pub activation: Activation,
}

/// One label, kept only where the model is sure enough. The rules of Magika
/// (google/magika, `magika.py`, `_get_output_label_from_dl_label_and_score`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct DecisionOutput {
    /// The key in the answer.
    pub name: String,
    /// The model output: FP32 probabilities, `[classes]` or `[1, classes]`.
    pub tensor: String,
    /// The key of the list in `labels`; the model's classes come first in it.
    pub labels: String,
    /// The parameter that says how sure: `high_confidence` (a threshold by label),
    /// `medium_confidence` (the general threshold) or `best_guess` (none).
    pub parameter: String,
    /// The general threshold. Scores that reach it are kept. In double precision, as the
    /// reference compares.
    pub threshold: f64,
    /// Thresholds of single labels of the model for `high_confidence`.
    #[serde(default)]
    pub thresholds: BTreeMap<String, f64>,
    /// Labels that always stand for others; both are in the list of labels.
    #[serde(default)]
    pub overwrite: BTreeMap<String, String>,
    /// What is answered when the model is not sure.
    pub low_confidence: LowConfidence,
}

/// Labels for "not sure".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct LowConfidence {
    /// Where the model's label, after `overwrite`, is one of text.
    pub text: String,
    /// Where it is not.
    pub binary: String,
}

/// How a box is written in the model's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub enum BoxFormat {
    /// Left, top, right, bottom.
    Corners,
    /// Middle x, middle y, width, height.
    Center,
}

/// Boxes in pixels of the caller's picture (upright), the best first, overlapping ones removed
/// (greedy non-maximum suppression by intersection over union, nothing added to the union).
///
/// Boxes are clipped to the picture. Left out are those with no area in it, and those whose
/// coordinates or score are not finite. Of more than 10,000 boxes above the threshold only the
/// best 10,000 are compared. When the caller gave tensors instead of a picture, boxes are in
/// pixels of the model's input, if the steps give it a fixed size, and otherwise as the model
/// gives them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct BoxesOutput {
    /// The key in the answer.
    pub name: String,
    /// The model output with the boxes: FP32, `[1, boxes, 4]`.
    pub boxes: String,
    /// The model output with the scores: FP32, `[1, boxes, classes]`.
    pub scores: String,
    /// How a box is written.
    pub format: BoxFormat,
    /// Whether coordinates go from 0 to 1 rather than in pixels of the model's input.
    pub normalized: bool,
    /// The column of the scores that counts.
    pub class: u32,
    /// Boxes must score more than this.
    pub score_threshold: f32,
    /// Of two boxes that overlap more than this, the worse is removed.
    pub iou_threshold: f32,
    /// How many at the most.
    pub max_boxes: u32,
}
