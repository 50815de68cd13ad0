//! Boxes: threshold, non-maximum suppression, and the way back to the caller's picture.

use serde_json::{Value as Json, json};

use super::labels::descending;
use super::picture::{Geometry, fixed_size};
use super::{PictureSize, PictureStep};
use crate::{BoxFormat, BoxesOutput, DType, Result, Tensor, Value, bail, number_to_json};

/// Of more boxes above the threshold than this only the best are compared. Real detectors
/// stay far below; a broken one must not take minutes.
const MAX_CANDIDATES: usize = 10_000;

/// A box in the coordinates of the model: left, top, right, bottom.
type Corners = [f64; 4];

/// `[{x, y, width, height, score}]`, the best first.
///
/// `picture` is absent when tensors were given: then boxes are in pixels of the model's input
/// where the steps give it a fixed size, and otherwise in the model's own coordinates.
pub(crate) fn boxes(
    step: &BoxesOutput,
    boxes: &Value,
    scores: &Value,
    steps: &[PictureStep],
    picture: Option<PictureSize>,
) -> Result<Json> {
    let boxes = Table::new("boxes", boxes.tensor()?)?;
    let scores = Table::new("scores", scores.tensor()?)?;
    let class = step.class as usize;
    if boxes.rows != scores.rows || boxes.columns != 4 || class >= scores.columns {
        bail!(
            InvalidPackage,
            "boxes must be [1, boxes, 4] and scores [1, boxes, classes] with a class {class}; the model gives {:?} and {:?}",
            boxes.tensor.shape(),
            scores.tensor.shape()
        );
    }
    let place = Place::new(step, steps, picture)?;
    let mut found = candidates(step, &boxes, &scores);
    found.retain(|found| place.locate(found.corners).is_some());
    best_first(&mut found);
    let kept = suppress(found, step.iou_threshold.into(), step.max_boxes as usize);
    let entry = |found: Candidate| {
        let [x, y, width, height] = place.locate(found.corners)?;
        Some(json!({
            "x": number_to_json(x), "y": number_to_json(y),
            "width": number_to_json(width), "height": number_to_json(height),
            "score": number_to_json(found.score.into()),
        }))
    };
    Ok(kept.into_iter().filter_map(entry).collect())
}

/// A tensor `[1, rows, columns]` or `[rows, columns]` of FP32, read without a copy.
struct Table<'a> {
    tensor: &'a Tensor,
    rows: usize,
    columns: usize,
    values: &'a [[u8; 4]],
}

impl<'a> Table<'a> {
    fn new(what: &str, tensor: &'a Tensor) -> Result<Self> {
        let values = match tensor.as_bytes() {
            Some(bytes) if tensor.dtype() == DType::F32 => bytes.as_chunks().0,
            _ => bail!(
                InvalidPackage,
                "{what} must be FP32, the model gives {}",
                tensor.dtype()
            ),
        };
        match tensor.shape() {
            &[1, rows, columns] | &[rows, columns] => Ok(Self {
                tensor,
                rows,
                columns,
                values,
            }),
            [batch, _, _] => bail!(
                WrongShape,
                "this answer is for one picture, the model gave {what} of {batch}; run the model with plain tensors for more"
            ),
            other => bail!(
                InvalidPackage,
                "{what} must have 3 axes, the model gives {other:?}"
            ),
        }
    }

    fn at(&self, row: usize, column: usize) -> f32 {
        f32::from_le_bytes(self.values[row * self.columns + column])
    }
}

struct Candidate {
    corners: Corners,
    score: f32,
    /// Its place in the model's output, which decides between equal scores.
    index: usize,
}

/// The boxes above the threshold. Not those that have no area or are not finite.
fn candidates(step: &BoxesOutput, boxes: &Table, scores: &Table) -> Vec<Candidate> {
    let mut found = Vec::new();
    for index in 0..scores.rows {
        let score = scores.at(index, step.class as usize);
        // Also leaves out a score that is not a number.
        if !(score > step.score_threshold && score.is_finite()) {
            continue;
        }
        let [a, b, c, d] = [0, 1, 2, 3].map(|column| f64::from(boxes.at(index, column)));
        let corners = match step.format {
            BoxFormat::Corners => [a, b, c, d],
            BoxFormat::Center => [a - c / 2.0, b - d / 2.0, a + c / 2.0, b + d / 2.0],
        };
        if corners.iter().all(|value| value.is_finite()) && area(&corners) > 0.0 {
            found.push(Candidate {
                corners,
                score,
                index,
            });
        }
    }
    found
}

/// Sorted by score, then by index; at most [`MAX_CANDIDATES`].
fn best_first(found: &mut Vec<Candidate>) {
    let order =
        |a: &Candidate, b: &Candidate| descending(a.score, b.score).then(a.index.cmp(&b.index));
    if found.len() > MAX_CANDIDATES {
        found.select_nth_unstable_by(MAX_CANDIDATES, order);
        found.truncate(MAX_CANDIDATES);
    }
    found.sort_unstable_by(order);
}

/// Greedy non-maximum suppression: from the best on, a box stays when its intersection over
/// union with none that stayed before is above the threshold.
fn suppress(sorted: Vec<Candidate>, threshold: f64, max: usize) -> Vec<Candidate> {
    let mut kept: Vec<Candidate> = Vec::new();
    for candidate in sorted {
        if kept.len() >= max {
            break;
        }
        if kept
            .iter()
            .all(|better| iou(&better.corners, &candidate.corners) <= threshold)
        {
            kept.push(candidate);
        }
    }
    kept
}

/// Area of a box; 0 when its right is left of its left, or its bottom above its top.
fn area([left, top, right, bottom]: &Corners) -> f64 {
    (right - left).max(0.0) * (bottom - top).max(0.0)
}

/// Intersection over union: `intersection / (area a + area b - intersection)`, both areas
/// positive. In double precision, with nothing added to the union.
fn iou(a: &Corners, b: &Corners) -> f64 {
    let both = [
        a[0].max(b[0]),
        a[1].max(b[1]),
        a[2].min(b[2]),
        a[3].min(b[3]),
    ];
    let intersection = area(&both);
    intersection / (area(a) + area(b) - intersection)
}

/// From the model's coordinates to those of the answer, axis by axis: `value * scale + offset`,
/// clipped to `0..=limit`.
struct Place {
    scale: [f64; 2],
    offset: [f64; 2],
    limit: [f64; 2],
}

impl Place {
    fn new(
        step: &BoxesOutput,
        steps: &[PictureStep],
        picture: Option<PictureSize>,
    ) -> Result<Self> {
        let pair = |(x, y): PictureSize| [f64::from(x), f64::from(y)];
        let geometry = picture
            .map(|picture| Geometry::new(steps, picture))
            .transpose()?;
        let input = geometry
            .as_ref()
            .map(|g| g.input)
            .or_else(|| fixed_size(steps))
            .map(pair);
        // Size of the model's input in its own coordinates.
        let own = if step.normalized {
            Some([1.0; 2])
        } else {
            input
        };
        let unknown = Self {
            scale: [1.0; 2],
            offset: [0.0; 2],
            limit: own.unwrap_or([f64::MAX; 2]),
        };
        let (Some(own), Some(input)) = (own, input) else {
            return Ok(unknown);
        };
        let (origin, seen, limit) = match geometry {
            Some(g) => (
                [g.origin.0, g.origin.1],
                [g.seen.0, g.seen.1],
                pair(g.picture),
            ),
            None => ([0.0; 2], input, input),
        };
        Ok(Self {
            scale: [seen[0] / own[0], seen[1] / own[1]],
            offset: origin,
            limit,
        })
    }

    /// x, y, width, height; `None` when nothing of the box is in the picture.
    fn locate(&self, corners: Corners) -> Option<[f64; 4]> {
        let at = |axis: usize, value: f64| {
            (value * self.scale[axis] + self.offset[axis]).clamp(0.0, self.limit[axis])
        };
        let [left, top, right, bottom] = corners;
        let [left, top, right, bottom] = [at(0, left), at(1, top), at(0, right), at(1, bottom)];
        let size = [right - left, bottom - top];
        (size[0] > 0.0 && size[1] > 0.0).then_some([left, top, size[0], size[1]])
    }
}
