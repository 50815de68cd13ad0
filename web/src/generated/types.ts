// Generated from the Rust definitions by `cargo xtask generate`. Do not edit.

/**
 * What turns scores into probabilities.
 */
export type Activation = "none" | "softmax" | "sigmoid";

/**
 * What the tensor of a sound has.
 */
export type AudioFeatures = { "waveform": Waveform } | { "mel_spectrogram": MelSpectrogram };

/**
 * A sound becomes one tensor of FP32: its samples, or its mel spectrogram.
 *
 * In this order: all channels become one; it is resampled to `sample_rate`; cut to `samples`;
 * multiplied by `scale`; normalised; padded to `samples`; made into features. Samples go from -1 to 1.
 */
export type AudioInput = {
/**
 * The caller's name for it.
 */
name: string,
/**
 * The model input that it becomes.
 */
tensor: string,
/**
 * Samples a second that the model was trained with (Hz). A sound with another rate is resampled
 * with a windowed sinc filter, that of `torchaudio.functional.resample` with its defaults.
 */
sample_rate: number,
/**
 * How several channels become one.
 */
channels: MonoMix,
/**
 * How many samples there are, at `sample_rate`: a longer sound loses its end, a shorter one gets
 * zeros at its end. Absent where the model takes any length.
 */
samples?: number,
/**
 * What samples are multiplied by: 32768 for models that want the numbers of 16 bits.
 */
scale?: number,
/**
 * What is done to the samples as a whole.
 */
normalize?: AudioNormalize,
/**
 * What the tensor has.
 */
features: AudioFeatures, };

/**
 * What is done to the samples as a whole.
 */
export type AudioNormalize = "none" | "zero_mean_unit_variance" | "peak";

/**
 * Bytes in a golden example.
 */
export type Blob = {
/**
 * The bytes in base64.
 */
base64?: string | null,
/**
 * Only in a recipe: a file beside it, that packing puts here as base64.
 */
file?: string | null,
/**
 * What they are, as `image/jpeg` or `audio/wav`.
 */
media_type?: string | null, };

/**
 * How a box is written in the model's output.
 */
export type BoxFormat = "corners" | "center";

/**
 * Boxes in pixels of the caller's picture (upright), the best first, overlapping ones removed
 * (greedy non-maximum suppression by intersection over union, nothing added to the union).
 *
 * Boxes are clipped to the picture. Left out are those with no area in it, and those whose
 * coordinates or score are not finite. Of more than 10,000 boxes above the threshold only the
 * best 10,000 are compared. When the caller gave tensors instead of a picture, boxes are in
 * pixels of the model's input, if the steps give it a fixed size, and otherwise as the model
 * gives them.
 */
export type BoxesOutput = {
/**
 * The key in the answer.
 */
name: string,
/**
 * The model output with the boxes: FP32, `[1, boxes, 4]`.
 */
boxes: string,
/**
 * The model output with the scores: FP32, `[1, boxes, classes]`.
 */
scores: string,
/**
 * How a box is written.
 */
format: BoxFormat,
/**
 * Whether coordinates go from 0 to 1 rather than in pixels of the model's input.
 */
normalized: boolean,
/**
 * The column of the scores that counts.
 */
class: number,
/**
 * Boxes must score more than this.
 */
score_threshold: number,
/**
 * Of two boxes that overlap more than this, the worse is removed.
 */
iou_threshold: number,
/**
 * How many at the most.
 */
max_boxes: number, };

/**
 * Bytes become one tensor `[1, begin + end]` of tokens: the first `begin` bytes, then the
 * last `end` bytes. The features of Magika (google/magika, `magika.py`,
 * `_extract_features_from_seekable`).
 */
export type BytesInput = {
/**
 * The caller's name for it.
 */
name: string,
/**
 * The model input that it becomes.
 */
tensor: string,
/**
 * Data type of the tensor.
 */
dtype: DType,
/**
 * How many tokens from the beginning; padded at their end.
 */
begin: number,
/**
 * How many tokens from the end; padded at their beginning.
 */
end: number,
/**
 * How many bytes at each end are looked at.
 */
block: number,
/**
 * Whether white space is taken off the beginning of the first and the end of the last
 * block.
 */
strip_whitespace: boolean,
/**
 * The token that stands for "no byte".
 */
padding: number,
/**
 * What is answered without the model when there is too little to look at.
 */
short?: ShortBytes | null, };

/**
 * What one golden example said.
 */
export type CaseReport = {
/**
 * Its name.
 */
name: string,
/**
 * Whether everything was as expected.
 */
passed: boolean,
/**
 * How many values were not.
 */
differences: number,
/**
 * The first 100 of them.
 */
first: Array<Difference>, };

/**
 * Colour channels of a picture tensor.
 */
export type Channels = "rgb" | "bgr" | "grey";

/**
 * The most probable classes of a score vector.
 */
export type ClassesOutput = {
/**
 * The key in the answer.
 */
name: string,
/**
 * The model output: FP32, `[classes]` or `[1, classes]`.
 */
tensor: string,
/**
 * The key of the list in `labels`; as long as there are classes.
 */
labels: string,
/**
 * How many at the most.
 */
top_k: number,
/**
 * What is done to the scores first.
 */
activation: Activation, };

/**
 * A column of a record.
 */
export type Column = {
/**
 * The key in the record.
 */
name: string,
/**
 * What a missing key or a `null` means.
 */
missing: Missing,
/**
 * Data type of a column that is a model input of its own: `FP32`, `FP64`, `INT64`, `BOOL` or
 * `BYTES` (texts). Absent for that of the record.
 */
dtype?: DType, };

/**
 * Data types of tensors: those of ONNX, under the names of the Open Inference
 * Protocol v2 where it has one (`FP32`, `INT64`, `BYTES` for strings).
 */
export type DType = "BOOL" | "UINT8" | "UINT16" | "UINT32" | "UINT64" | "INT8" | "INT16" | "INT32" | "INT64" | "FP16" | "BF16" | "FP32" | "FP64" | "FP8E4M3FN" | "FP8E4M3FNUZ" | "FP8E5M2" | "FP8E5M2FNUZ" | "FP8E8M0" | "FP4E2M1" | "UINT4" | "INT4" | "UINT2" | "INT2" | "COMPLEX64" | "COMPLEX128" | "BYTES";

/**
 * One label, kept only where the model is sure enough. The rules of Magika
 * (google/magika, `magika.py`, `_get_output_label_from_dl_label_and_score`).
 */
export type DecisionOutput = {
/**
 * The key in the answer.
 */
name: string,
/**
 * The model output: FP32 probabilities, `[classes]` or `[1, classes]`.
 */
tensor: string,
/**
 * The key of the list in `labels`; the model's classes come first in it.
 */
labels: string,
/**
 * The parameter that says how sure: `high_confidence` (a threshold by label),
 * `medium_confidence` (the general threshold) or `best_guess` (none).
 */
parameter: string,
/**
 * The general threshold. Scores that reach it are kept. In double precision, as the
 * reference compares.
 */
threshold: number,
/**
 * Thresholds of single labels of the model for `high_confidence`.
 */
thresholds: { [key in string]: number },
/**
 * Labels that always stand for others; both are in the list of labels.
 */
overwrite: { [key in string]: string },
/**
 * What is answered when the model is not sure.
 */
low_confidence: LowConfidence, };

/**
 * Which versions of a model get which share of the traffic, now: `deployments/NAME.json` beside
 * the index of a registry.
 */
export type Deployment = {
/**
 * Always 1.
 */
format_version: number,
/**
 * The model.
 */
name: string,
/**
 * The tag for which the deployment answers, as it does for the bare name.
 */
alias: string,
/**
 * Names this document: no other one of the model has the number, and later ones have higher
 * ones. A rollback brings a document back with the number that it had.
 */
revision: number,
/**
 * The versions. Exactly one is the primary, and the weights sum to 10,000.
 */
variants: Array<DeploymentVariant>,
/**
 * How callers are assigned.
 */
sticky: DeploymentSticky,
/**
 * A variant that is asked too, after the answer is sent.
 */
shadow?: DeploymentShadow,
/**
 * How the release goes on.
 */
strategy: DeploymentStrategy,
/**
 * How far it is.
 */
status: DeploymentStatus, };

/**
 * What the maximum of a guardrail is.
 */
export type DeploymentCompared = "absolute" | "primary";

/**
 * What must hold for a candidate.
 */
export type DeploymentGuardrail = {
/**
 * What is looked at.
 */
metric: DeploymentMetric,
/**
 * The quantile of a latency, such as 0.99.
 */
quantile?: number,
/**
 * The highest value that is good: a share of requests, milliseconds, or a score. Where it is
 * compared with the primary: how many times the primary's value.
 */
max: number,
/**
 * What it is compared with.
 */
compared?: DeploymentCompared,
/**
 * Requests that are needed before anything is said.
 */
min_requests?: number,
/**
 * Seconds that are looked back, at most to the beginning of the step.
 */
window?: number, };

/**
 * What a guardrail looks at.
 */
export type DeploymentMetric = "error_rate" | "latency" | "drift";

/**
 * Where a release is.
 */
export type DeploymentPhase = "progressing" | "paused" | "promoted" | "rolled_back";

/**
 * What a variant is for.
 */
export type DeploymentRole = "primary" | "candidate" | "standby";

/**
 * A variant that gets copies of requests. Its answers go to nobody; the differences are counted.
 */
export type DeploymentShadow = {
/**
 * The variant. It is not the primary.
 */
variant: string,
/**
 * The share of requests that is copied, in basis points.
 */
sample: number, };

/**
 * How far a release is.
 */
export type DeploymentStatus = {
/**
 * Where it is.
 */
phase: DeploymentPhase,
/**
 * The step of a canary, from 0.
 */
step: number,
/**
 * When the phase or step began, in milliseconds since 1970.
 */
since: number, };

/**
 * A step of a canary.
 */
export type DeploymentStep = {
/**
 * The candidate's share in basis points.
 */
weight: number,
/**
 * Seconds that it lasts at least.
 */
hold: number, };

/**
 * How callers are assigned: by the first 8 bytes (big endian) of SHA-256 over the salt, a zero
 * byte and the key, modulo 10,000.
 */
export type DeploymentSticky = {
/**
 * The request header with the caller's key. Requests without are assigned by chance.
 */
header: string,
/**
 * Mixes the assignment: with another salt, other callers come first.
 */
salt: string, };

/**
 * How a release goes on.
 */
export type DeploymentStrategy = { "kind": "all_at_once", } | { "kind": "canary",
/**
 * The steps, with growing weights.
 */
steps: Array<DeploymentStep>,
/**
 * What must hold for all that time.
 */
guardrails: Array<DeploymentGuardrail>, } | { "kind": "ab_test",
/**
 * What rolls it back.
 */
guardrails: Array<DeploymentGuardrail>, } | { "kind": "blue_green", };

/**
 * A version of the model, and its share.
 */
export type DeploymentVariant = {
/**
 * Its name in answers and metrics, such as `canary`.
 */
name: string,
/**
 * The tag that the digest was found by.
 */
version: string,
/**
 * The digest of the package's manifest: what answers.
 */
digest: Digest,
/**
 * The share of the traffic in basis points: 10,000 is all of it.
 */
weight: number,
/**
 * What it is for.
 */
role: DeploymentRole, };

/**
 * An engine that was made from the full engine for one package or several.
 */
export type DerivedEngine = {
/**
 * What was done to it.
 */
kind: EngineKind,
/**
 * What runs it.
 */
target: EngineTarget,
/**
 * Digest of the wasm file: what is fetched, verified and cached.
 */
digest: Digest,
/**
 * Bytes of the wasm file.
 */
size: number,
/**
 * Digest of the full engine's wasm file from which it was made. It fits the glue, and can be
 * replaced by the full engine, only where that one is this.
 */
engine: Digest,
/**
 * Version of Twinfer that the full engine has.
 */
version: string,
/**
 * The packages (digests of their manifests) that it was made for, each with the digest of
 * its profile: which functions its golden examples enter. A fused engine has one package.
 */
packages: { [key in Digest]: Digest },
/**
 * Digests of the envelopes (DSSE) in which it was signed. They are in lists of engines, and
 * no part of what is signed.
 */
signatures?: Array<string>, };

/**
 * Names some content: what it is, its digest and its size.
 */
export type Descriptor = {
/**
 * What the content is.
 */
mediaType: string,
/**
 * Its digest.
 */
digest: Digest,
/**
 * Its length in bytes.
 */
size: number,
/**
 * The kind of artifact that a manifest describes.
 */
artifactType?: string | null,
/**
 * Notes, by key.
 */
annotations?: { [key in string]: string }, };

/**
 * One thing that is not as it should be.
 */
export type Difference = {
/**
 * Where, as `boxes[0].score`.
 */
path: string,
/**
 * What should be there, as JSON; empty when nothing should.
 */
expected: string,
/**
 * What is there, as JSON; empty when nothing is.
 */
actual: string, };

/**
 * A SHA-256 digest, written `sha256:` and 64 lower-case hexadecimal digits.
 *
 * Other algorithms are refused: one algorithm means that equal content has one name, so
 * that blobs and caches never hold it twice.
 */
export type Digest = string;

/**
 * One axis of a shape.
 */
export type Dim = number | string | null;

/**
 * What was done to the engine.
 */
export type EngineKind = "slim" | "fused";

/**
 * What the package asks of the engine.
 */
export type EngineRequirement = {
/**
 * The operator sets of the model file, as `domain:version` (`ai.onnx:15`).
 */
opsets: Array<string>, };

/**
 * What runs it.
 */
export type EngineTarget = "page" | "component";

/**
 * What must come out: the answer of the pipeline, the model's own outputs, or both.
 */
export type Expectation = {
/**
 * The answer, as in a prediction.
 */
outputs?: Record<string, unknown> | undefined,
/**
 * Outputs of the model, before the steps that follow it; not necessarily all.
 */
tensors?: Array<GoldenTensor>, };

/**
 * How a resized pixel is made from those of the picture. Pixel centres are at halves.
 */
export type Filter = "nearest" | "bilinear" | "triangle";

/**
 * `golden.json`: examples and where they come from.
 */
export type Golden = {
/**
 * The examples.
 */
cases: Array<GoldenCase>,
/**
 * Which program gave the expected values.
 */
reference?: string, };

/**
 * One example.
 */
export type GoldenCase = {
/**
 * Its name, unique in the file.
 */
name: string,
/**
 * What goes in.
 */
input: GoldenInput,
/**
 * The parameters of the call.
 */
parameters?: Record<string, unknown>,
/**
 * What must come out.
 */
expect: Expectation,
/**
 * How far numbers may be off.
 */
tolerance: Tolerance,
/**
 * Why the tolerance is wider than the default one.
 */
reason?: string | null, };

/**
 * The elements of a tensor in a golden example.
 */
export type GoldenData = { "base64": string } | { "strings": Array<string> };

/**
 * What goes in.
 */
export type GoldenInput = { "picture": Blob } | { "bytes": Blob } | { "audio": Blob } | { "text": Texts } | { "record": Record<string, unknown> } | { "tensors": Array<GoldenTensor> };

/**
 * A named tensor in a golden example.
 */
export type GoldenTensor = {
/**
 * The name of the model's input or output.
 */
name: string,
/**
 * The data type of the elements.
 */
dtype: DType,
/**
 * The axes, outermost first.
 */
shape: number[],
/**
 * The elements.
 */
data: GoldenData,
/**
 * For maps (ZipMap): the keys of the columns, as text.
 */
keys?: Array<string> | null, };

/**
 * The caller's input, by kind.
 */
export type InputStep = { "kind": "picture" } & PictureInput | { "kind": "bytes" } & BytesInput | { "kind": "audio" } & AudioInput | { "kind": "text" } & TextInput | { "kind": "record" } & RecordInput;

export type JsonValue = number | string | boolean | Array<JsonValue> | { [key in string]: JsonValue } | null;

/**
 * A key of a trust policy.
 */
export type KeySpec = {
/**
 * The public key in PEM, on P-256 or P-384.
 */
public_key: string, };

/**
 * A class of a model.
 */
export type Label = {
/**
 * Its name.
 */
name: string,
/**
 * Whether it is a kind of text (used by `decision`).
 */
text?: boolean, };

/**
 * Order of the axes of a picture tensor.
 */
export type Layout = "nchw" | "nhwc";

/**
 * Limits on what the caller may give.
 */
export type Limits = {
/**
 * Pixels of a picture (width times height).
 */
max_pixels: number,
/**
 * Bytes of an encoded picture or sound, of bytes, or of texts.
 */
max_bytes: number,
/**
 * Samples of a sound, of each channel: as it is, and at the rate of the model. 40,000,000 where
 * nothing is said.
 */
max_samples?: number, };

/**
 * What is 0 after a logarithm.
 */
export type LogReference = { "value": number } | "max";

/**
 * Which logarithm.
 */
export type LogScale = "natural" | "log10" | "decibel";

/**
 * A logarithm: `log(max(x + offset, floor))`, less that of the reference, kept within a range.
 */
export type Logarithm = {
/**
 * Which one.
 */
scale: LogScale,
/**
 * Added first.
 */
offset: number,
/**
 * Smaller values count as this one: `amin` of librosa.
 */
floor: number,
/**
 * What is 0 afterwards: `ref` of librosa.
 */
reference: LogReference,
/**
 * Values further than this below the largest are raised to that: `top_db` of librosa, 8 for
 * Whisper. In the unit of the logarithm. Absent for no such limit.
 */
range?: number, };

/**
 * Labels for "not sure".
 */
export type LowConfidence = {
/**
 * Where the model's label, after `overwrite`, is one of text.
 */
text: string,
/**
 * Where it is not.
 */
binary: string, };

/**
 * Order of the axes of a mel spectrogram.
 */
export type MelLayout = "mels_frames" | "frames_mels";

/**
 * What a mel band is divided by.
 */
export type MelNorm = "slaney" | "none";

/**
 * A mel scale.
 */
export type MelScale = "slaney" | "htk";

/**
 * A mel spectrogram: `[1, n_mels, frames]`. Names, defaults and formulas are those of
 * `librosa.feature.melspectrogram` 0.11, but for `pad_mode`, whose default is that of torchaudio and
 * transformers. Computed in double precision.
 */
export type MelSpectrogram = {
/**
 * Samples of a transform (FFT).
 */
n_fft: number,
/**
 * Samples from one frame to the next.
 */
hop_length: number,
/**
 * Samples of the window, which is in the middle of `n_fft`; absent for all of it.
 */
win_length?: number,
/**
 * The window, in its periodic form.
 */
window: WindowFunction,
/**
 * Whether the first frame has its middle at the first sample, with `n_fft / 2` samples put at
 * both ends; otherwise it begins there.
 */
center: boolean,
/**
 * What is put at both ends.
 */
pad_mode: PadMode,
/**
 * The exponent of the magnitude: 1, or 2 for power.
 */
power: number,
/**
 * Mel bands.
 */
n_mels: number,
/**
 * The lowest frequency, in Hz.
 */
f_min: number,
/**
 * The highest frequency, in Hz; absent for half the sample rate.
 */
f_max?: number,
/**
 * The scale.
 */
mel_scale: MelScale,
/**
 * What a band is divided by.
 */
norm: MelNorm,
/**
 * The logarithm; absent for none.
 */
log?: Logarithm,
/**
 * `(value - mean) / std` at last: one number for all, or one for each band.
 */
normalize?: Normalize,
/**
 * Frames at the most, those after them are left out (Whisper drops the last one). Only with
 * `samples`.
 */
frames?: number,
/**
 * Order of the axes.
 */
layout: MelLayout,
/**
 * Whether there is an axis of one channel after the first: `[1, 1, n_mels, frames]`.
 */
channel_axis: boolean, };

/**
 * What a missing value means.
 */
export type Missing = "error" | "nan";

/**
 * The flavor and the signature of a model that MLflow saved.
 */
export type Mlflow = {
/**
 * The flavor that the package was made of.
 */
flavor: MlflowFlavor,
/**
 * The schema of the inputs; without one MLflow checks nothing.
 */
inputs?: MlflowSchema | null,
/**
 * The schema of the outputs, which MLflow does not enforce.
 */
outputs?: MlflowSchema | null,
/**
 * The parameters of a call; without a list MLflow takes none.
 */
params?: Array<MlflowParam> | null, };

/**
 * A column (`ColSpec`).
 */
export type MlflowColumn = {
/**
 * Its name.
 */
name?: string | null,
/**
 * Its type.
 */
type: MlflowType,
/**
 * Whether it must be there.
 */
required?: boolean, };

/**
 * A flavor of MLflow: what its server gives for the same model depends on it.
 */
export type MlflowFlavor = "onnx" | "sklearn";

/**
 * A parameter (`ParamSpec`).
 */
export type MlflowParam = {
/**
 * Its name.
 */
name: string,
/**
 * The type of its value, or of the elements of a list.
 */
type: MlflowType,
/**
 * What it is where a call says nothing; left out for none.
 */
default?: JsonValue | null,
/**
 * Whether its value is a list (shape `(-1,)`).
 */
list?: boolean, };

/**
 * Inputs or outputs.
 */
export type MlflowSchema = { "columns": Array<MlflowColumn> } | { "tensors": Array<MlflowTensor> };

/**
 * An array (`TensorSpec`).
 */
export type MlflowTensor = {
/**
 * Its name.
 */
name?: string | null,
/**
 * A type of NumPy: `float64`, `int64`, `str`, and so on.
 */
dtype: string,
/**
 * The lengths of its axes; -1 for any.
 */
shape: number[], };

/**
 * A type of a column or a parameter (`DataType`, and the kinds that are made of others).
 */
export type MlflowType = "boolean" | "integer" | "long" | "float" | "double" | "string" | "binary" | "datetime" | "array" | "object" | "map" | "any";

/**
 * How the numbers were computed.
 */
export type Mode = "strict";

/**
 * The configuration of a model in its package.
 */
export type ModelConfig = {
/**
 * The version of this format: 1.
 */
format_version: number,
/**
 * The name of the model.
 */
name: string,
/**
 * The version of the model (semantic versioning).
 */
version: string,
/**
 * One sentence on what it does.
 */
description?: string,
/**
 * Inputs and outputs of the model file; filled in when it is packed.
 */
signature?: Signature | null,
/**
 * The declared steps before and after the model; without it only tensors go in and out.
 */
pipeline?: Pipeline | null,
/**
 * Lists of labels, by the name that the pipeline uses.
 */
labels?: { [key in string]: Array<Label> },
/**
 * Limits on what the caller may give.
 */
limits: Limits,
/**
 * What the package asks of the engine.
 */
engine?: EngineRequirement | null,
/**
 * What MLflow knew of the model, where it saved it.
 */
mlflow?: Mlflow | null, };

/**
 * How several channels become one.
 */
export type MonoMix = "mean" | "first";

/**
 * Mean and standard deviation: one number for all channels, or one for each.
 */
export type Normalize = {
/**
 * Subtracted.
 */
mean: Array<number>,
/**
 * Divided by; not 0.
 */
std: Array<number>, };

/**
 * An output of a model.
 */
export type OutputSpec = {
/**
 * The name, as in the model file.
 */
name: string,
/**
 * A tensor, maps, a sequence or an optional.
 */
kind: ValueKind,
/**
 * The data type of the elements.
 */
dtype: DType,
/**
 * The axes, outermost first; absent when the model file does not say.
 */
shape?: Array<Dim> | null, };

/**
 * A part of the answer, by kind.
 */
export type OutputStep = { "kind": "tensor" } & PlainOutput | { "kind": "label" } & PlainOutput | { "kind": "probabilities" } & PlainOutput | { "kind": "classes" } & ClassesOutput | { "kind": "decision" } & DecisionOutput | { "kind": "boxes" } & BoxesOutput;

/**
 * What is put at both ends of a sound.
 */
export type PadMode = "reflect" | "constant";

/**
 * A choice at call time.
 */
export type ParameterSpec = {
/**
 * Its name in requests.
 */
name: string,
/**
 * The values that are allowed.
 */
values: Array<string>,
/**
 * The value when none is given; one of `values`.
 */
default: string, };

/**
 * A picture becomes one tensor `[1, channels, height, width]` or
 * `[1, height, width, channels]`.
 *
 * It is turned upright first, as its Exif orientation says. 16-bit samples are rounded to 8
 * bits, grey becomes three equal channels, alpha is dropped, and colour profiles are ignored.
 */
export type PictureInput = {
/**
 * The caller's name for it.
 */
name: string,
/**
 * The model input that it becomes.
 */
tensor: string,
/**
 * Order and number of the colour channels.
 */
channels: Channels,
/**
 * Order of the axes.
 */
layout: Layout,
/**
 * Data type of the tensor: `FP32`, or `UINT8` (values are rounded and clamped).
 */
dtype: DType,
/**
 * What is done to the pixels, in this order. They start as 0 to 255, in the order of
 * `channels`, and are computed with in single precision.
 */
steps: Array<PictureStep>, };

/**
 * A step on the pixels of a picture.
 */
export type PictureStep = { "resize": Resize } | { "center_crop": Size } | { "normalize": Normalize };

/**
 * How an input of the caller becomes tensors, and tensors an answer.
 */
export type Pipeline = {
/**
 * What the caller gives.
 */
input: InputStep,
/**
 * What the caller gets, in this order.
 */
outputs: Array<OutputStep>,
/**
 * What the caller may choose at each call.
 */
parameters?: Array<ParameterSpec>, };

/**
 * A model output that is given on with little change.
 */
export type PlainOutput = {
/**
 * The key in the answer.
 */
name: string,
/**
 * The model output.
 */
tensor: string, };

/**
 * A record becomes one tensor `[1, columns]` of numbers, or a tensor `[1, 1]` for each column, of
 * numbers or texts. `true` and `false` count as 1 and 0.
 */
export type RecordInput = {
/**
 * The caller's name for it.
 */
name: string,
/**
 * The model input that it becomes. Absent where each column is a model input of its own, by
 * the name of the column: so skl2onnx exports a `ColumnTransformer`.
 */
tensor?: string,
/**
 * Data type of the tensor, or of the values of a map: `FP32`, `FP64` or `INT64`, of a map also
 * `BYTES` (texts). Of columns of their own: those that say
 * nothing else.
 */
dtype: DType,
/**
 * The columns, in the order of the tensor. Empty where the model input is a map (scikit-learn's
 * `DictVectorizer`): it then takes any keys, and those of the record are its own.
 */
columns: Array<Column>, };

/**
 * A change of size.
 */
export type Resize = {
/**
 * Pixels across.
 */
width: number,
/**
 * Pixels down.
 */
height: number,
/**
 * How pixels in between are made.
 */
filter: Filter, };

/**
 * What is demanded of the packages of some names.
 */
export type Rule = {
/**
 * A name, or a pattern in which `*` stands for any characters.
 */
names: string,
/**
 * The keys that may sign these names; one signature by one of them is enough.
 */
keys?: Array<string>,
/**
 * The keys that may sign engines that were made for packages of these names: code that runs
 * in the page. Without any, no engine of a registry runs.
 */
engine_keys?: Array<string>,
/**
 * What happens to a package that none of the keys signed.
 */
unsigned?: Unsigned,
/**
 * Versions below this one are refused (semver).
 */
minimum_version?: string,
/**
 * Whether there must be a signed list of tags.
 */
signed_tags?: SignedTagsMode,
/**
 * A signed list of tags with a lower counter is refused.
 */
minimum_counter?: number, };

/**
 * What the golden examples of a package said.
 */
export type SelfTestReport = {
/**
 * The digest of the package.
 */
digest: string,
/**
 * How many examples came out right.
 */
passed: number,
/**
 * How many did not.
 */
failed: number,
/**
 * Every example.
 */
cases: Array<CaseReport>, };

/**
 * Answers for input that is too short for the model: label and score 1 of a `decision`.
 * Outputs of other kinds are `null` then.
 */
export type ShortBytes = {
/**
 * Input of fewer bytes, or with fewer left after stripping, is short.
 */
below: number,
/**
 * The label of no bytes at all.
 */
empty: string,
/**
 * The label of short UTF-8 text.
 */
text: string,
/**
 * The label of other short bytes.
 */
binary: string,
/**
 * What stands for the label of the model that was not asked.
 */
undefined: string, };

/**
 * Named, typed, shaped inputs and outputs.
 */
export type Signature = {
/**
 * What the model takes; every one is required.
 */
inputs: Array<TensorSpec>,
/**
 * What may be given as well: each has a default in the model file.
 */
optional?: Array<TensorSpec>,
/**
 * What the model gives.
 */
outputs: Array<OutputSpec>, };

/**
 * Whether a name must have a signed list of its tags.
 */
export type SignedTagsMode = "optional" | "required";

/**
 * A size in pixels.
 */
export type Size = {
/**
 * Pixels across.
 */
width: number,
/**
 * Pixels down.
 */
height: number, };

/**
 * An input of a model.
 */
export type TensorSpec = {
/**
 * The name, as in the model file.
 */
name: string,
/**
 * A tensor, maps, a sequence or an optional.
 */
kind?: ValueKind,
/**
 * The data type of the elements.
 */
dtype: DType,
/**
 * The axes, outermost first; absent when even the rank is free.
 */
shape?: Array<Dim> | null,
/**
 * Of maps, the type of their keys: `INT64` or `BYTES`.
 */
keys?: DType, };

/**
 * Texts become one tensor of strings (`BYTES`), as they are: lower case, tokens and the like are up
 * to the model.
 */
export type TextInput = {
/**
 * The caller's name for it.
 */
name: string,
/**
 * The model input that it becomes.
 */
tensor: string,
/**
 * The axes of the tensor.
 */
layout: TextLayout,
/**
 * Characters (Unicode scalar values) of one text at the most; a longer one is an error. Absent
 * where only `limits.max_bytes` counts.
 */
max_characters?: number, };

/**
 * The axes of a tensor of texts.
 */
export type TextLayout = "column" | "vector";

/**
 * A text, or a list of texts.
 */
export type Texts = string | Array<string>;

/**
 * How far a number may be from the expected one: `absolute + relative * |expected|`.
 */
export type Tolerance = {
/**
 * In parts of the expected number.
 */
relative: number,
/**
 * In the unit of the number.
 */
absolute: number, };

/**
 * A trust policy as it is written (`docs/security.md`).
 */
export type TrustPolicy = {
/**
 * Always 1.
 */
format_version: number,
/**
 * The keys that the rules speak of, by any name.
 */
keys?: { [key in string]: KeySpec },
/**
 * The first rule whose pattern fits the name of a model counts.
 */
rules?: Array<Rule>,
/**
 * What happens to models without a rule.
 */
default?: Unsigned,
/**
 * Packages that are refused, whoever signed them: the digest of the manifest, or of any
 * layer. The digest of its `twinfer.json` revokes a version in whatever manifest it is.
 */
revoked?: Array<string>, };

/**
 * What happens to a package that no accepted key signed.
 */
export type Unsigned = "refuse" | "warn" | "allow";

/**
 * What kind of value an input or output is.
 */
export type ValueKind = "tensor" | "maps" | "sequence" | "optional";

/**
 * The samples as they are: `[1, samples]`.
 */
export type Waveform = {
/**
 * Whether there is an axis of one channel: `[1, 1, samples]`.
 */
channel_axis: boolean, };

/**
 * A window, periodic (`scipy.signal.get_window` with `fftbins`).
 */
export type WindowFunction = "hann" | "hamming";
