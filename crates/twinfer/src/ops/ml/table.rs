//! Tree ensembles from the attributes of a node.

use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

use super::ensemble::{Branch, Ensemble, LEAF, Leaf, Mode, Real, Weight};
use crate::program;

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
        let first = ensemble.modes.first().copied();
        ensemble.alike = first.filter(|first| ensemble.modes.iter().all(|mode| mode == first));
        Ok(ensemble)
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
                    let missing_is_yes = table.missing.is_some_and(|m| m[row] != 0);
                    let branch = Branch::new(feature, F::of(table.values[row]), missing_is_yes);
                    let branch =
                        branch.with_context(|| format!("node {key:?} is of feature {feature}"))?;
                    self.branches.push(branch);
                    self.modes.push(mode);
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

    /// A node that leads back to itself would make the walk endless. Several may lead to one: so
    /// LightGBM and XGBoost write the members of a set.
    fn check_acyclic(&self) -> TractResult<()> {
        let children = |branch: &Branch<F>| {
            let both = [branch.yes, branch.no];
            both.into_iter()
                .filter(|place| place & LEAF == 0)
                .map(|place| place as usize)
        };
        let mut parents = vec![0u32; self.branches.len()];
        for child in self.branches.iter().flat_map(children) {
            parents[child] += 1;
        }
        // Kahn: what has no parent left is taken away, until nothing is left or only cycles.
        let mut open: Vec<usize> = (0..parents.len()).filter(|&at| parents[at] == 0).collect();
        let mut taken = 0;
        while let Some(at) = open.pop() {
            taken += 1;
            for child in children(&self.branches[at]) {
                parents[child] -= 1;
                if parents[child] == 0 {
                    open.push(child);
                }
            }
        }
        ensure!(
            taken == self.branches.len(),
            "nodes of the tree ensemble form a cycle"
        );
        Ok(())
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
