//! Tree ensembles: their layout, and walking them. They are read in `table.rs`.

use std::fmt::Debug;
use std::ops::{Add, Div, Neg, Sub};
use std::sync::OnceLock;

use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

use super::rows_and_columns;

/// Nodes of an ensemble are addressed with 32 bits, the top one of which marks a leaf.
pub(super) const LEAF: u32 = 1 << 31;

/// What an ensemble computes with: FP32, or FP64 where the file or the input has that.
pub(super) trait Real:
    Datum
    + Copy
    + Debug
    + Default
    + PartialOrd
    + Add<Output = Self>
    + Sub<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
{
    const NAN: Self;
    fn of(number: f64) -> Self;
    fn single(self) -> f32;
    fn double(self) -> f64;
    fn is_nan(self) -> bool;
    /// The smaller; of a NaN and a number the number.
    fn least(self, other: Self) -> Self;
    /// The larger; of a NaN and a number the number.
    fn most(self, other: Self) -> Self;
}

macro_rules! reals {
    ($($real:ty),*) => {$(
        impl Real for $real {
            const NAN: Self = <$real>::NAN;
            fn of(number: f64) -> Self {
                number as $real
            }
            fn single(self) -> f32 {
                self as f32
            }
            fn double(self) -> f64 {
                self.into()
            }
            fn is_nan(self) -> bool {
                self.is_nan()
            }
            fn least(self, other: Self) -> Self {
                self.min(other)
            }
            fn most(self, other: Self) -> Self {
                self.max(other)
            }
        }
    )*};
}

reals!(f32, f64);

/// An ensemble in the widths that it is asked for.
#[derive(Debug)]
pub(super) struct Forest {
    single: Option<Ensemble<f32>>,
    double: OnceLock<Ensemble<f64>>,
}

/// The ensemble that computes as an input asks for it.
pub(super) enum Width<'a> {
    Single(&'a Ensemble<f32>),
    Double(&'a Ensemble<f64>),
}

impl Forest {
    /// Reads the node table and the weights (`class_*` or `target_*`).
    pub(super) fn read(node: &NodeProto, weights: &str, targets: usize) -> TractResult<Self> {
        let names = [
            "nodes_values_as_tensor",
            &format!("{weights}_weights_as_tensor"),
        ];
        let mut attributes = node.attribute.iter();
        let is_double = attributes.any(|a| {
            let double = a.t.as_ref().is_some_and(|t| t.data_type == DOUBLE);
            double && names.contains(&&*a.name)
        });
        Ok(match is_double {
            true => Self {
                single: None,
                double: OnceLock::from(Ensemble::read(node, weights, targets)?),
            },
            false => Self {
                single: Some(Ensemble::read(node, weights, targets)?),
                double: OnceLock::new(),
            },
        })
    }

    /// The ensemble for inputs of this type, as onnxruntime has it.
    pub(super) fn of(&self, dtype: DatumType) -> Width<'_> {
        match &self.single {
            Some(single) if dtype == f64::datum_type() => {
                Width::Double(self.double.get_or_init(|| single.widened()))
            }
            Some(single) => Width::Single(single),
            None => Width::Double(self.double.get_or_init(Ensemble::empty)),
        }
    }

    /// Number of classes or targets.
    pub(super) fn targets(&self) -> usize {
        match self.of(f32::datum_type()) {
            Width::Single(ensemble) => ensemble.targets,
            Width::Double(ensemble) => ensemble.targets,
        }
    }
}

/// `FP64` in ONNX's numbering of types.
const DOUBLE: i32 = 11;

/// How a feature is compared with the value of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    LessOrEqual,
    Less,
    GreaterOrEqual,
    Greater,
    Equal,
    NotEqual,
}

/// A decision. Children are indices into the branches, or with [`LEAF`] into the leaves. Four of
/// FP32 are a line of the cache.
#[derive(Debug, Clone, Copy)]
pub(super) struct Branch<F> {
    /// The feature, with [`MISSING`] where missing values go the way of "yes".
    feature: u32,
    value: F,
    pub yes: u32,
    pub no: u32,
}

/// Marks the feature of a branch, see there.
const MISSING: u32 = 1 << 31;

/// What a leaf adds: a range of the ensemble's weights.
#[derive(Debug, Clone, Copy)]
pub(super) struct Leaf {
    pub start: u32,
    pub end: u32,
}

/// What is added to a class or target when a leaf is reached.
#[derive(Debug, Clone, Copy)]
pub(super) struct Weight<F> {
    pub id: u32,
    pub value: F,
}

/// A forest in flat memory: the nodes of a tree lie together, in the order of the file.
#[derive(Debug)]
pub(super) struct Ensemble<F> {
    pub branches: Vec<Branch<F>>,
    /// How each branch decides: beside them, since nearly always all decide alike.
    pub modes: Vec<Mode>,
    /// How all decide, where they are alike.
    pub alike: Option<Mode>,
    pub leaves: Vec<Leaf>,
    pub weights: Vec<Weight<F>>,
    pub roots: Vec<u32>,
    pub features: usize,
    /// Number of classes or targets.
    pub targets: usize,
}

impl<F: Real> Branch<F> {
    /// A decision whose children are not known yet; `None` for a feature beyond what can be.
    pub(super) fn new(feature: u32, value: F, missing_is_yes: bool) -> Option<Self> {
        let mark = if missing_is_yes { MISSING } else { 0 };
        (feature < MISSING).then_some(Self {
            feature: feature | mark,
            value,
            yes: 0,
            no: 0,
        })
    }

    /// The child for a row of features, of which the one of this branch is compared so.
    #[inline(always)]
    fn next(&self, row: &[F], test: impl Fn(F, F) -> bool) -> u32 {
        let feature = row[(self.feature & !MISSING) as usize];
        let missing = (self.feature & MISSING != 0) & feature.is_nan();
        if test(feature, self.value) | missing {
            self.yes
        } else {
            self.no
        }
    }
}

impl Mode {
    #[inline(always)]
    fn test<F: Real>(self, feature: F, value: F) -> bool {
        match self {
            Mode::LessOrEqual => feature <= value,
            Mode::Less => feature < value,
            Mode::GreaterOrEqual => feature >= value,
            Mode::Greater => feature > value,
            Mode::Equal => feature == value,
            Mode::NotEqual => feature != value,
        }
    }
}

/// Rows that go through a tree together, before the next tree is fetched: their features and a
/// tree of usual size stay in the first cache.
const ROWS: usize = 64;

/// Sums of a block of rows, at most, unless one row has more.
const SUMS: usize = 1 << 14;

/// Rows that walk side by side: while one waits for its node, the others go on.
const ABREAST: usize = 8;

/// Where sums begin, and how a weight is added to them.
pub(super) struct Adding<F, A> {
    pub start: F,
    pub add: A,
}

impl<F: Real> Ensemble<F> {
    pub(super) fn empty() -> Self {
        Self {
            branches: Vec::new(),
            modes: Vec::new(),
            alike: None,
            leaves: Vec::new(),
            weights: Vec::new(),
            roots: Vec::new(),
            features: 0,
            targets: 0,
        }
    }

    /// The same with numbers of FP64.
    fn widened(&self) -> Ensemble<f64> {
        let branches = self.branches.iter().map(|branch| Branch {
            feature: branch.feature,
            value: branch.value.double(),
            yes: branch.yes,
            no: branch.no,
        });
        let weights = self.weights.iter().map(|weight| Weight {
            id: weight.id,
            value: weight.value.double(),
        });
        Ensemble {
            branches: branches.collect(),
            modes: self.modes.clone(),
            alike: self.alike,
            leaves: self.leaves.clone(),
            weights: weights.collect(),
            roots: self.roots.clone(),
            features: self.features,
            targets: self.targets,
        }
    }

    /// Number of trees.
    pub(super) fn trees(&self) -> usize {
        self.roots.len()
    }

    /// The weights of all leaves.
    pub(super) fn weights(&self) -> &[Weight<F>] {
        &self.weights
    }

    /// The scores, `[rows, targets]`: what `finish` makes of the sums of each row, for which there
    /// is a place. Rows are taken in blocks, and each block goes through tree after tree, so that
    /// the weights of a row are added in the order of the trees.
    pub(super) fn score(
        &self,
        input: &Tensor,
        adding: Adding<F, impl Fn(F, F) -> F>,
        mut finish: impl FnMut(&mut [F], &mut [f32]),
    ) -> TractResult<Tensor> {
        let (rows, columns) = rows_and_columns(input.shape())?;
        ensure!(
            columns >= self.features.max(1),
            "the trees use {} features, the input has {columns}",
            self.features
        );
        let input = input.cast_to::<F>()?;
        let input = input.try_as_plain_ram()?;
        let features = input.as_slice::<F>()?;
        let block = (SUMS / self.targets.max(1)).clamp(1, ROWS).min(rows.max(1));
        let mut sums = vec![adding.start; block * self.targets];
        let mut scores = vec![0f32; rows * self.targets];
        let scored = scores.chunks_mut(block * self.targets);
        for (features, scores) in features.chunks(block * columns).zip(scored) {
            let sums = &mut sums[..scores.len()];
            sums.fill(adding.start);
            self.add_block(features, columns, sums, &adding.add);
            let sums = sums.chunks_exact_mut(self.targets);
            for (sums, scores) in sums.zip(scores.chunks_exact_mut(self.targets)) {
                finish(sums, scores);
            }
        }
        Tensor::from_shape(&[rows, self.targets], &scores)
    }

    /// Adds what the trees say of some rows to their sums.
    fn add_block(&self, rows: &[F], width: usize, sums: &mut [F], add: &impl Fn(F, F) -> F) {
        match self.alike {
            Some(Mode::LessOrEqual) => {
                self.add_with(rows, width, sums, add, |_, x, value| x <= value);
            }
            Some(Mode::Less) => self.add_with(rows, width, sums, add, |_, x, value| x < value),
            _ => self.add_with(rows, width, sums, add, |at, x, value| {
                self.modes[at].test(x, value)
            }),
        }
    }

    fn add_with(
        &self,
        rows: &[F],
        width: usize,
        sums: &mut [F],
        add: &impl Fn(F, F) -> F,
        test: impl Fn(usize, F, F) -> bool,
    ) {
        let add_leaf = |place: u32, sums: &mut [F]| {
            for weight in self.reached(place) {
                let sum = &mut sums[weight.id as usize];
                *sum = add(*sum, weight.value);
            }
        };
        // Too few rows to walk side by side: one row through as many trees.
        if rows.len() < ABREAST * width {
            let sums = sums.chunks_exact_mut(self.targets);
            for (row, sums) in rows.chunks_exact(width).zip(sums) {
                for roots in self.roots.chunks(ABREAST) {
                    let mut places = [LEAF; ABREAST];
                    let places = &mut places[..roots.len()];
                    places.copy_from_slice(roots);
                    self.walk(places, |_| row, &test);
                    places.iter().for_each(|place| add_leaf(*place, sums));
                }
            }
            return;
        }
        for &root in &self.roots {
            let groups = rows.chunks(ABREAST * width);
            for (rows, sums) in groups.zip(sums.chunks_mut(ABREAST * self.targets)) {
                let mut places = [root; ABREAST];
                let places = &mut places[..rows.len() / width];
                self.walk(places, |at| &rows[at * width..(at + 1) * width], &test);
                let sums = sums.chunks_exact_mut(self.targets);
                for (place, sums) in places.iter().zip(sums) {
                    add_leaf(*place, sums);
                }
            }
        }
    }

    /// Goes on from each place, with the row that belongs to it, until all are at leaves.
    #[inline(always)]
    fn walk<'a>(
        &self,
        places: &mut [u32],
        row_of: impl Fn(usize) -> &'a [F],
        test: &impl Fn(usize, F, F) -> bool,
    ) where
        F: 'a,
    {
        loop {
            let mut all_leaves = LEAF;
            for (index, place) in places.iter_mut().enumerate() {
                if *place & LEAF == 0 {
                    let at = *place as usize;
                    *place = self.branches[at].next(row_of(index), |x, value| test(at, x, value));
                }
                all_leaves &= *place;
            }
            if all_leaves != 0 {
                return;
            }
        }
    }

    /// The weights of a leaf.
    fn reached(&self, place: u32) -> &[Weight<F>] {
        let leaf = &self.leaves[(place & !LEAF) as usize];
        &self.weights[leaf.start as usize..leaf.end as usize]
    }
}
