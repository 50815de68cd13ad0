//! Tree ensembles: reading them from attributes, and walking them.

use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

use super::{floats, rows_and_columns};

/// Nodes of an ensemble are addressed with 32 bits, the top one of which marks a leaf.
const LEAF: u32 = 1 << 31;

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
struct Branch {
    feature: u32,
    value: f32,
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
pub(super) struct Weight {
    pub id: u32,
    pub value: f32,
}

/// A forest in flat memory: the nodes of a tree lie together, in the order of the file.
#[derive(Debug)]
pub(super) struct Ensemble {
    branches: Vec<Branch>,
    leaves: Vec<Leaf>,
    weights: Vec<Weight>,
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
    values: Vec<f32>,
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
            values: node.get_attr_vec("nodes_values")?,
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

impl Ensemble {
    /// Reads the node table and the weights (`class_*` or `target_*`).
    pub(super) fn read(node: &NodeProto, weights: &str, targets: usize) -> TractResult<Self> {
        let table = Table::read(node)?;
        let mut weights = read_weights(node, weights, targets)?;
        let mut ensemble = Self {
            branches: Vec::new(),
            leaves: Vec::new(),
            weights: Vec::new(),
            roots: Vec::new(),
            features: 0,
            targets,
        };
        let places = ensemble.place(&table, &mut weights)?;
        ensemble.link(&table, &places)?;
        ensemble.check_acyclic()?;
        Ok(ensemble)
    }

    /// Gives every node its place; leaves take their weights with them.
    fn place(
        &mut self,
        table: &Table,
        weights: &mut HashMap<(i64, i64), Vec<Weight>>,
    ) -> TractResult<Places> {
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
                        value: table.values[row],
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
    pub(super) fn weights(&self) -> &[Weight] {
        &self.weights
    }

    /// The scores, `[rows, targets]`: of each row of features, what `score_row` writes into its
    /// zeros.
    pub(super) fn score(
        &self,
        input: &Tensor,
        mut score_row: impl FnMut(&[f32], &mut [f32]),
    ) -> TractResult<Tensor> {
        let (rows, columns) = rows_and_columns(input.shape())?;
        ensure!(
            columns >= self.features,
            "the trees use {} features, the input has {columns}",
            self.features
        );
        let input = floats(input)?;
        let input = input.try_as_plain_ram()?;
        let mut scores = vec![0f32; rows * self.targets];
        let features = input.as_slice::<f32>()?.chunks_exact(columns.max(1));
        for (row, scores) in features.zip(scores.chunks_exact_mut(self.targets)) {
            score_row(row, scores);
        }
        Tensor::from_shape(&[rows, self.targets], &scores)
    }

    /// The weights that a row of features reaches, tree by tree.
    pub(super) fn reach<'a>(&'a self, row: &'a [f32]) -> impl Iterator<Item = &'a [Weight]> {
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

impl Branch {
    fn goes_yes(&self, feature: f32) -> bool {
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

/// The weights by (tree, node).
fn read_weights(
    node: &NodeProto,
    prefix: &str,
    targets: usize,
) -> TractResult<HashMap<(i64, i64), Vec<Weight>>> {
    let attribute = |name: &str| format!("{prefix}_{name}");
    let (trees, nodes) = (attribute("treeids"), attribute("nodeids"));
    let (ids, values) = (attribute("ids"), attribute("weights"));
    let trees: &[i64] = node.get_attr_slice(&trees)?;
    let nodes: &[i64] = node.get_attr_slice(&nodes)?;
    let ids: &[i64] = node.get_attr_slice(&ids)?;
    let values: Vec<f32> = node.get_attr_vec(&values)?;
    let n = trees.len();
    ensure!(
        nodes.len() == n && ids.len() == n && values.len() == n,
        "the {prefix}_* attributes have different lengths"
    );
    let mut weights: HashMap<(i64, i64), Vec<Weight>> = HashMap::new();
    for row in 0..n {
        let id = usize::try_from(ids[row])
            .ok()
            .filter(|&id| id < targets)
            .with_context(|| format!("{prefix} id {} is not one of {targets}", ids[row]))?;
        let weight = Weight {
            id: id as u32,
            value: values[row],
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
