//! Tree ensembles: reading them from attributes, and walking them.

use std::fmt::Debug;
use std::ops::{Add, Div, Neg, Sub};
use std::sync::OnceLock;

use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

use super::rows_and_columns;
use crate::program;

/// Nodes of an ensemble are addressed with 32 bits, the top one of which marks a leaf.
const LEAF: u32 = 1 << 31;

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

/// The numbers of an attribute, or of the tensor that version 3 has in its place.
pub(super) fn numbers(node: &NodeProto, name: &str) -> TractResult<Option<Vec<f64>>> {
    let tensor = format!("{name}_as_tensor");
    let mut attributes = node.attribute.iter();
    if let Some(tensor) = attributes.find(|a| a.name == tensor) {
        let tensor = tensor.t.as_ref().context("an attribute has no tensor")?;
        let read = program::numbers(tensor).map_err(|e| format_err!("{name}: {e}"))?;
        return Ok(Some(read));
    }
    let floats: Option<Vec<f32>> = node.get_attr_opt_vec(name)?;
    Ok(floats.map(|floats| floats.into_iter().map(f64::from).collect()))
}

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
enum Mode {
    LessOrEqual,
    Less,
    GreaterOrEqual,
    Greater,
    Equal,
    NotEqual,
}

impl Mode {
    /// `None` for a leaf.
    fn read(text: &str) -> TractResult<Option<Self>> {
        Ok(Some(match text {
            "LEAF" => return Ok(None),
            "BRANCH_LEQ" => Mode::LessOrEqual,
            "BRANCH_LT" => Mode::Less,
            "BRANCH_GTE" => Mode::GreaterOrEqual,
            "BRANCH_GT" => Mode::Greater,
            "BRANCH_EQ" => Mode::Equal,
            "BRANCH_NEQ" => Mode::NotEqual,
            other => bail!("unknown node mode `{other}`"),
        }))
    }
}

/// A decision. Children are indices into the branches, or with [`LEAF`] into the leaves.
#[derive(Debug, Clone, Copy)]
struct Branch<F> {
    feature: u32,
    value: F,
    yes: u32,
    no: u32,
    mode: Mode,
    missing_is_yes: bool,
}

/// What a leaf adds: a range of the ensemble's weights.
#[derive(Debug, Clone, Copy)]
struct Leaf {
    start: u32,
    end: u32,
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
    branches: Vec<Branch<F>>,
    leaves: Vec<Leaf>,
    weights: Vec<Weight<F>>,
    roots: Vec<u32>,
    features: usize,
    /// Number of classes or targets.
    pub targets: usize,
}

/// The attributes of a node table, all of one length.
struct Table<'a> {
    trees: &'a [i64],
    ids: &'a [i64],
    features: &'a [i64],
    values: Vec<f64>,
    modes: Vec<Option<Mode>>,
    yes: &'a [i64],
    no: &'a [i64],
    missing: Option<&'a [i64]>,
}

impl<'a> Table<'a> {
    fn read(node: &'a NodeProto) -> TractResult<Self> {
        let modes = node.get_attr_vec::<&str>("nodes_modes")?;
        let table = Self {
            trees: node.get_attr_slice("nodes_treeids")?,
            ids: node.get_attr_slice("nodes_nodeids")?,
            features: node.get_attr_slice("nodes_featureids")?,
            values: numbers(node, "nodes_values")?
                .with_context(|| format!("{} has no nodes_values", node.op_type))?,
            modes: modes
                .iter()
                .map(|m| Mode::read(m))
                .collect::<TractResult<_>>()?,
            yes: node.get_attr_slice("nodes_truenodeids")?,
            no: node.get_attr_slice("nodes_falsenodeids")?,
            missing: node.get_attr_opt_slice("nodes_missing_value_tracks_true")?,
        };
        let n = table.trees.len();
        ensure!(
            n > 0 && n < LEAF as usize,
            "a tree ensemble needs 1 to {LEAF} nodes, got {n}"
        );
        let lengths = [
            table.ids.len(),
            table.features.len(),
            table.values.len(),
            table.modes.len(),
            table.yes.len(),
            table.no.len(),
            table.missing.map_or(n, <[i64]>::len),
        ];
        ensure!(
            lengths.iter().all(|&l| l == n),
            "the nodes_* attributes have different lengths: {n} trees, {lengths:?}"
        );
        Ok(table)
    }
}

/// Where a node of the file went.
type Places = HashMap<(i64, i64), u32>;

impl<F: Real> Ensemble<F> {
    /// Reads the node table and the weights (`class_*` or `target_*`).
    pub(super) fn read(node: &NodeProto, weights: &str, targets: usize) -> TractResult<Self> {
        let table = Table::read(node)?;
        let mut weights = read_weights(node, weights, targets)?;
        let mut ensemble = Self {
            targets,
            ..Self::empty()
        };
        let places = ensemble.place(&table, &mut weights)?;
        ensemble.link(&table, &places)?;
        ensemble.check_acyclic()?;
        Ok(ensemble)
    }

    fn empty() -> Self {
        Self {
            branches: Vec::new(),
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
            mode: branch.mode,
            missing_is_yes: branch.missing_is_yes,
        });
        let weights = self.weights.iter().map(|weight| Weight {
            id: weight.id,
            value: weight.value.double(),
        });
        Ensemble {
            branches: branches.collect(),
            leaves: self.leaves.clone(),
            weights: weights.collect(),
            roots: self.roots.clone(),
            features: self.features,
            targets: self.targets,
        }
    }

    /// Gives every node its place; leaves take their weights with them.
    fn place(&mut self, table: &Table, weights: &mut Weights<F>) -> TractResult<Places> {
        let mut places = Places::with_capacity(table.ids.len());
        for row in 0..table.ids.len() {
            let key = (table.trees[row], table.ids[row]);
            let place = match table.modes[row] {
                Some(mode) => {
                    let feature = u32::try_from(table.features[row])
                        .map_err(|_| format_err!("node {key:?} has a negative feature"))?;
                    self.features = self.features.max(feature as usize + 1);
                    self.branches.push(Branch {
                        feature,
                        value: F::of(table.values[row]),
                        yes: 0,
                        no: 0,
                        mode,
                        missing_is_yes: table.missing.is_some_and(|m| m[row] != 0),
                    });
                    self.branches.len() as u32 - 1
                }
                None => {
                    let start = self.weights.len() as u32;
                    self.weights
                        .append(&mut weights.remove(&key).unwrap_or_default());
                    self.leaves.push(Leaf {
                        start,
                        end: self.weights.len() as u32,
                    });
                    LEAF | (self.leaves.len() as u32 - 1)
                }
            };
            ensure!(
                places.insert(key, place).is_none(),
                "node {key:?} (tree, node) is there twice"
            );
            // The root of a tree is its first node in the file, as onnxruntime has it.
            if row == 0 || table.trees[row] != table.trees[row - 1] {
                self.roots.push(place);
            }
        }
        if let Some(key) = weights.keys().min() {
            bail!("weights are given for node {key:?} (tree, node), which is not a leaf");
        }
        Ok(places)
    }

    fn link(&mut self, table: &Table, places: &Places) -> TractResult<()> {
        let rows = (0..table.ids.len()).filter(|&row| table.modes[row].is_some());
        for (branch, row) in self.branches.iter_mut().zip(rows) {
            let child = |id: i64| {
                let key = (table.trees[row], id);
                places.get(&key).copied().with_context(|| {
                    format!(
                        "node {} of tree {} has no child {id}",
                        table.ids[row], key.0
                    )
                })
            };
            branch.yes = child(table.yes[row])?;
            branch.no = child(table.no[row])?;
        }
        Ok(())
    }

    /// A node with two parents, or one that leads back to itself, would make the walk endless.
    fn check_acyclic(&self) -> TractResult<()> {
        let mut parents = vec![0u8; self.branches.len()];
        let children = self.branches.iter().flat_map(|b| [b.yes, b.no]);
        for place in children
            .chain(self.roots.iter().copied())
            .filter(|p| p & LEAF == 0)
        {
            parents[place as usize] += 1;
            ensure!(
                parents[place as usize] == 1,
                "a node of the tree ensemble has two parents"
            );
        }
        // Every branch has at most one parent: what is not reached from a root is a cycle.
        let mut reached = 0;
        let mut open: Vec<u32> = self
            .roots
            .iter()
            .copied()
            .filter(|p| p & LEAF == 0)
            .collect();
        while let Some(place) = open.pop() {
            reached += 1;
            let branch = &self.branches[place as usize];
            open.extend(
                [branch.yes, branch.no]
                    .into_iter()
                    .filter(|p| p & LEAF == 0),
            );
        }
        ensure!(
            reached == self.branches.len(),
            "nodes of the tree ensemble form a cycle"
        );
        Ok(())
    }

    /// Number of trees.
    pub(super) fn trees(&self) -> usize {
        self.roots.len()
    }

    /// The weights of all leaves.
    pub(super) fn weights(&self) -> &[Weight<F>] {
        &self.weights
    }

    /// The scores, `[rows, targets]`: of each row of features, what `score_row` makes of the sums,
    /// for which there is a place.
    pub(super) fn score(
        &self,
        input: &Tensor,
        mut score_row: impl FnMut(&[F], &mut [F], &mut [f32]),
    ) -> TractResult<Tensor> {
        let (rows, columns) = rows_and_columns(input.shape())?;
        ensure!(
            columns >= self.features,
            "the trees use {} features, the input has {columns}",
            self.features
        );
        let input = input.cast_to::<F>()?;
        let input = input.try_as_plain_ram()?;
        let mut sums = vec![F::default(); self.targets];
        let mut scores = vec![0f32; rows * self.targets];
        let features = input.as_slice::<F>()?.chunks_exact(columns.max(1));
        for (row, scores) in features.zip(scores.chunks_exact_mut(self.targets)) {
            score_row(row, &mut sums, scores);
        }
        Tensor::from_shape(&[rows, self.targets], &scores)
    }

    /// The weights that a row of features reaches, tree by tree.
    pub(super) fn reach<'a>(&'a self, row: &'a [F]) -> impl Iterator<Item = &'a [Weight<F>]> {
        self.roots.iter().map(move |&root| {
            let mut place = root;
            while place & LEAF == 0 {
                let branch = &self.branches[place as usize];
                place = if branch.goes_yes(row[branch.feature as usize]) {
                    branch.yes
                } else {
                    branch.no
                };
            }
            let leaf = &self.leaves[(place & !LEAF) as usize];
            &self.weights[leaf.start as usize..leaf.end as usize]
        })
    }
}

impl<F: Real> Branch<F> {
    fn goes_yes(&self, feature: F) -> bool {
        let met = match self.mode {
            Mode::LessOrEqual => feature <= self.value,
            Mode::Less => feature < self.value,
            Mode::GreaterOrEqual => feature >= self.value,
            Mode::Greater => feature > self.value,
            Mode::Equal => feature == self.value,
            Mode::NotEqual => feature != self.value,
        };
        met || (self.missing_is_yes && feature.is_nan())
    }
}

/// The weights of leaves, by (tree, node).
type Weights<F> = HashMap<(i64, i64), Vec<Weight<F>>>;

/// The weights by (tree, node).
fn read_weights<F: Real>(
    node: &NodeProto,
    prefix: &str,
    targets: usize,
) -> TractResult<Weights<F>> {
    let attribute = |name: &str| format!("{prefix}_{name}");
    let (trees, nodes) = (attribute("treeids"), attribute("nodeids"));
    let (ids, values) = (attribute("ids"), attribute("weights"));
    let trees: &[i64] = node.get_attr_slice(&trees)?;
    let nodes: &[i64] = node.get_attr_slice(&nodes)?;
    let ids: &[i64] = node.get_attr_slice(&ids)?;
    let values =
        numbers(node, &values)?.with_context(|| format!("{} has no {values}", node.op_type))?;
    let n = trees.len();
    ensure!(
        nodes.len() == n && ids.len() == n && values.len() == n,
        "the {prefix}_* attributes have different lengths"
    );
    let mut weights = Weights::<F>::new();
    for row in 0..n {
        let id = usize::try_from(ids[row])
            .ok()
            .filter(|&id| id < targets)
            .with_context(|| format!("{prefix} id {} is not one of {targets}", ids[row]))?;
        let weight = Weight {
            id: id as u32,
            value: F::of(values[row]),
        };
        weights
            .entry((trees[row], nodes[row]))
            .or_default()
            .push(weight);
    }
    Ok(weights)
}

/// What turns sums into scores (`post_transform`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PostTransform {
    None,
    Logistic,
    Softmax,
    SoftmaxZero,
    Probit,
}

/// How a second score follows from the only one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SecondClass {
    /// The score is a probability: that of the first class is the rest.
    Complement,
    /// The score is a margin: that of the first class is the same to the other side.
    Negated,
}

impl PostTransform {
    pub(super) fn read(node: &NodeProto) -> TractResult<Self> {
        let name = node.get_attr_opt::<&str>("post_transform")?;
        let name = name.unwrap_or("NONE");
        Self::from_name(name).with_context(|| format!("unknown post_transform `{name}`"))
    }

    /// The one of this name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "NONE" => Self::None,
            "LOGISTIC" => Self::Logistic,
            "SOFTMAX" => Self::Softmax,
            "SOFTMAX_ZERO" => Self::SoftmaxZero,
            "PROBIT" => Self::Probit,
            _ => return None,
        })
    }

    /// Applies it to the scores of one row.
    pub(super) fn apply(self, scores: &mut [f32]) {
        match self {
            Self::None => {}
            Self::Logistic => scores.iter_mut().for_each(|s| *s = logistic(*s)),
            Self::Softmax => softmax(scores, |_| true),
            Self::SoftmaxZero => softmax(scores, |s| s.abs() > 1e-7),
            Self::Probit => scores.iter_mut().for_each(|s| *s = probit(*s)),
        }
    }

    /// The scores of a row as onnxruntime gives them: a single one is left alone but for PROBIT,
    /// and may have a second one follow from it.
    pub(crate) fn finish(self, scores: &mut Vec<f32>, second: Option<SecondClass>) {
        let (&[score], Some(second)) = (&scores[..], second) else {
            if scores.len() > 1 || self == Self::Probit {
                self.apply(scores);
            }
            return;
        };
        *scores = match (self, second) {
            (Self::Logistic, _) => vec![logistic(-score), logistic(score)],
            (Self::Probit, _) => vec![probit(1.0 - score), probit(score)],
            (_, SecondClass::Complement) => vec![1.0 - score, score],
            (_, SecondClass::Negated) => vec![-score, score],
        };
    }
}

/// `1 / (1 + exp(-x))`, computed on the side where `exp` does not overflow.
pub(crate) fn logistic(x: f32) -> f32 {
    let y = 1.0 / (1.0 + (-x.abs()).exp());
    if x < 0.0 { 1.0 - y } else { y }
}

/// Softmax over the scores that count; the others (SOFTMAX_ZERO: zeros) stay near zero.
fn softmax(scores: &mut [f32], counts: impl Fn(f32) -> bool) {
    let max = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let zero = (-max).exp();
    let mut sum = 0.0;
    for score in scores.iter_mut() {
        if counts(*score) {
            *score = (*score - max).exp();
            sum += *score;
        } else {
            *score *= zero;
        }
    }
    scores.iter_mut().for_each(|s| *s /= sum);
}

/// The inverse of the normal distribution, in the approximation that onnxruntime uses
/// (Winitzki, "A handy approximation for the error function and its inverse", a = 0.147).
fn probit(p: f32) -> f32 {
    let x = 2.0 * p - 1.0;
    let log = ((1.0 - x) * (1.0 + x)).ln();
    let v = 2.0 / (std::f32::consts::PI * 0.147) + 0.5 * log;
    let root = ((v * v - log / 0.147).sqrt() - v).sqrt();
    std::f32::consts::SQRT_2 * if x < 0.0 { -root } else { root }
}
