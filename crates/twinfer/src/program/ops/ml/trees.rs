//! `TreeEnsemble` of version 5: decisions and leaves in tables of their own.

use half::f16;

use super::super::super::inputs::{Kernel, tensor_kernel};
use super::super::super::node::Node;
use super::super::Table;
use super::rows_and_columns;
use crate::ops::ml::PostTransform;
use crate::program::cast;
use crate::{DType, Result, Tensor, bail, element_count, err};

pub(super) const OPS: Table = &[("TreeEnsemble", tree_ensemble)];

/// More targets than a real model has: a row of scores is made for each.
const MAX_TARGETS: usize = 1_000_000;

enum Test {
    LessOrEqual(f64),
    Less(f64),
    GreaterOrEqual(f64),
    Greater(f64),
    Equal(f64),
    NotEqual(f64),
    Member(Vec<f64>),
}

impl Test {
    fn is_met(&self, x: f64) -> bool {
        match self {
            Self::LessOrEqual(value) => x <= *value,
            Self::Less(value) => x < *value,
            Self::GreaterOrEqual(value) => x >= *value,
            Self::Greater(value) => x > *value,
            Self::Equal(value) => x == *value,
            Self::NotEqual(value) => x != *value,
            Self::Member(members) => members.contains(&x),
        }
    }
}

#[derive(Clone, Copy)]
enum Child {
    Branch(usize),
    Leaf(usize),
}

struct Branch {
    feature: usize,
    test: Test,
    missing_is_yes: bool,
    yes: Child,
    no: Child,
}

#[derive(Clone, Copy, PartialEq)]
enum Aggregate {
    Average,
    Sum,
    Min,
    Max,
}

struct Ensemble {
    branches: Vec<Branch>,
    /// Target and weight.
    leaves: Vec<(usize, f64)>,
    roots: Vec<Child>,
    targets: usize,
    features: usize,
    aggregate: Aggregate,
    post: PostTransform,
}

/// `TreeEnsemble` (Operators-ml.md, ai.onnx.ml 5).
fn tree_ensemble(node: &Node<'_>) -> Result<Option<Kernel>> {
    let ensemble = Ensemble::read(node)?;
    tensor_kernel(move |inputs| ensemble.run(inputs.tensor(0)?)).map(Some)
}

fn numbers(node: &Node<'_>, name: &str) -> Result<Vec<f64>> {
    let tensor = node.required(name, node.tensor(name)?)?;
    cast::to_f64(&tensor)
}

fn ints<'a>(node: &Node<'a>, name: &str) -> Result<&'a [i64]> {
    node.required(name, node.ints(name))
}

impl Ensemble {
    fn read(node: &Node<'_>) -> Result<Self> {
        let targets = match usize::try_from(node.int("n_targets", 1)) {
            Ok(targets) if (1..=MAX_TARGETS).contains(&targets) => targets,
            _ => bail!(InvalidModel, "n_targets is {}", node.int("n_targets", 1)),
        };
        let ids = ints(node, "leaf_targetids")?;
        let weights = numbers(node, "leaf_weights")?;
        if ids.len() != weights.len() {
            bail!(InvalidModel, "the leaf_* attributes have different lengths");
        }
        let leaves = ids.iter().zip(weights).map(|(&id, weight)| {
            let id = usize::try_from(id).ok().filter(|&id| id < targets);
            let id = id.ok_or_else(|| err!(InvalidModel, "a leaf is of no target"))?;
            Ok((id, weight))
        });
        let mut ensemble = Self {
            branches: Vec::new(),
            leaves: leaves.collect::<Result<_>>()?,
            roots: Vec::new(),
            targets,
            features: 0,
            aggregate: match node.int("aggregate_function", 1) {
                0 => Aggregate::Average,
                1 => Aggregate::Sum,
                2 => Aggregate::Min,
                3 => Aggregate::Max,
                other => bail!(InvalidModel, "aggregate_function is {other}"),
            },
            post: match node.int("post_transform", 0) {
                0 => PostTransform::None,
                1 => PostTransform::Softmax,
                2 => PostTransform::Logistic,
                3 => PostTransform::SoftmaxZero,
                4 => PostTransform::Probit,
                other => bail!(InvalidModel, "post_transform is {other}"),
            },
        };
        ensemble.read_branches(node)?;
        for &root in ints(node, "tree_roots")? {
            let root = ensemble.child(root, false)?;
            ensemble.roots.push(root);
        }
        ensemble.check_trees()?;
        Ok(ensemble)
    }

    fn read_branches(&mut self, node: &Node<'_>) -> Result<()> {
        let modes = numbers(node, "nodes_modes")?;
        let splits = numbers(node, "nodes_splits")?;
        let features = ints(node, "nodes_featureids")?;
        let (yes, no) = (
            ints(node, "nodes_truenodeids")?,
            ints(node, "nodes_falsenodeids")?,
        );
        let (yes_leaf, no_leaf) = (
            ints(node, "nodes_trueleafs")?,
            ints(node, "nodes_falseleafs")?,
        );
        let missing = node.ints("nodes_missing_value_tracks_true");
        let missing = missing.filter(|missing| !missing.is_empty());
        let count = modes.len();
        let lengths = [
            splits.len(),
            features.len(),
            yes.len(),
            no.len(),
            yes_leaf.len(),
            no_leaf.len(),
            missing.map_or(count, <[i64]>::len),
        ];
        if lengths.iter().any(|&length| length != count) {
            bail!(
                InvalidModel,
                "the nodes_* attributes have different lengths"
            );
        }
        let members = match node.tensor("membership_values")? {
            Some(tensor) => cast::to_f64(&tensor)?,
            None => Vec::new(),
        };
        let mut sets = members.split(|member| member.is_nan());
        // So that children can be checked before all are there.
        let total = count;
        for at in 0..count {
            let split = splits[at];
            let test = match modes[at] as i64 {
                0 => Test::LessOrEqual(split),
                1 => Test::Less(split),
                2 => Test::GreaterOrEqual(split),
                3 => Test::Greater(split),
                4 => Test::Equal(split),
                5 => Test::NotEqual(split),
                6 => match sets.next() {
                    Some(set) => Test::Member(set.to_vec()),
                    None => bail!(
                        InvalidModel,
                        "there are fewer sets than nodes that ask for them"
                    ),
                },
                other => bail!(InvalidModel, "a node's mode is {other}"),
            };
            let Ok(feature) = usize::try_from(features[at]) else {
                bail!(InvalidModel, "a node has a negative feature");
            };
            self.features = self.features.max(feature.saturating_add(1));
            let yes = place(yes[at], yes_leaf[at] != 0, total, self.leaves.len())?;
            let no = place(no[at], no_leaf[at] != 0, total, self.leaves.len())?;
            self.branches.push(Branch {
                feature,
                test,
                missing_is_yes: missing.is_some_and(|missing| missing[at] != 0),
                yes,
                no,
            });
        }
        Ok(())
    }

    fn child(&self, at: i64, is_leaf: bool) -> Result<Child> {
        place(at, is_leaf, self.branches.len(), self.leaves.len())
    }

    /// A branch that leads back to itself would make walks endless; several may lead to one. What
    /// no root leads to is never walked, and may be as it is.
    fn check_trees(&self) -> Result<()> {
        let branches = |child: &Child| match *child {
            Child::Branch(at) => Some(at),
            Child::Leaf(_) => None,
        };
        let below = |at: usize| [self.branches[at].yes, self.branches[at].no];
        let mut parents = vec![0usize; self.branches.len()];
        let mut seen = vec![false; self.branches.len()];
        let mut open: Vec<usize> = self.roots.iter().filter_map(branches).collect();
        let mut walked = 0;
        while let Some(at) = open.pop() {
            if std::mem::replace(&mut seen[at], true) {
                continue;
            }
            walked += 1;
            for child in below(at).iter().filter_map(branches) {
                parents[child] += 1;
                open.push(child);
            }
        }
        // Kahn: what has no parent left is taken away, until nothing is left or only cycles.
        let is_top = |at: &usize| seen[*at] && parents[*at] == 0;
        let mut tops: Vec<usize> = (0..parents.len()).filter(is_top).collect();
        let mut taken = 0;
        while let Some(at) = tops.pop() {
            taken += 1;
            for child in below(at).iter().filter_map(branches) {
                parents[child] -= 1;
                if parents[child] == 0 {
                    tops.push(child);
                }
            }
        }
        if taken != walked {
            bail!(InvalidModel, "nodes of the tree ensemble form a cycle");
        }
        Ok(())
    }

    /// The leaf of a tree that a row reaches.
    fn leaf(&self, mut child: Child, row: &[f64]) -> Option<(usize, f64)> {
        loop {
            match child {
                Child::Leaf(at) => return self.leaves.get(at).copied(),
                Child::Branch(at) => {
                    let branch = self.branches.get(at)?;
                    let x = *row.get(branch.feature)?;
                    let yes = branch.test.is_met(x) || (branch.missing_is_yes && x.is_nan());
                    child = if yes { branch.yes } else { branch.no };
                }
            }
        }
    }

    fn score(&self, row: &[f64], scores: &mut [f64]) {
        let is_sum = matches!(self.aggregate, Aggregate::Sum | Aggregate::Average);
        // NaN loses against every number in `min` and `max`.
        scores.fill(if is_sum { 0.0 } else { f64::NAN });
        for root in &self.roots {
            let Some((target, weight)) = self.leaf(*root, row) else {
                continue;
            };
            if let Some(score) = scores.get_mut(target) {
                *score = match self.aggregate {
                    Aggregate::Sum | Aggregate::Average => *score + weight,
                    Aggregate::Min => score.min(weight),
                    Aggregate::Max => score.max(weight),
                };
            }
        }
        for score in scores.iter_mut() {
            if self.aggregate == Aggregate::Average {
                *score /= self.roots.len() as f64;
            }
            if !is_sum && score.is_nan() {
                *score = 0.0;
            }
        }
        if self.post != PostTransform::None {
            let mut all: Vec<f32> = scores.iter().map(|&score| score as f32).collect();
            self.post.finish(&mut all, None);
            scores
                .iter_mut()
                .zip(all)
                .for_each(|(to, score)| *to = score.into());
        }
    }

    fn run(&self, input: &Tensor) -> Result<Tensor> {
        let (rows, columns) = rows_and_columns(input)?;
        if columns < self.features {
            bail!(
                InvalidInput,
                "the trees use {} features, the input has {columns}",
                self.features
            );
        }
        let shape = [rows, self.targets];
        if element_count(&shape)? > super::maps::MAX_ELEMENTS {
            bail!(InvalidInput, "{shape:?} is more than can be");
        }
        let mut scores = vec![0f64; element_count(&shape)?];
        let features = cast::to_f64(input)?;
        let of_rows = features.chunks_exact(columns.max(1));
        for (row, scores) in of_rows.zip(scores.chunks_exact_mut(self.targets)) {
            self.score(row, scores);
        }
        match input.dtype() {
            DType::F64 => Tensor::from_vec(&shape, scores),
            DType::F16 => Tensor::from_vec(&shape, scores.into_iter().map(f16::from_f64).collect()),
            _ => Tensor::from_vec(&shape, scores.into_iter().map(|x| x as f32).collect()),
        }
    }
}

/// Where a child is, among so many branches and leaves.
fn place(at: i64, is_leaf: bool, branches: usize, leaves: usize) -> Result<Child> {
    let count = if is_leaf { leaves } else { branches };
    match usize::try_from(at) {
        Ok(at) if at < count => Ok(if is_leaf {
            Child::Leaf(at)
        } else {
            Child::Branch(at)
        }),
        _ => bail!(
            InvalidModel,
            "a node of the tree ensemble has no child {at}"
        ),
    }
}
