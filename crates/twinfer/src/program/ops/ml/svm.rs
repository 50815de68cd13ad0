//! Support vector machines, with onnxruntime's reading of what the specification leaves open.

use super::super::super::inputs::{Inputs, Kernel, kernel, tensor_kernel};
use super::super::super::node::Node;
use super::super::Table;
use super::{Labels, floats, rows_and_columns};
use crate::ops::ml::{PostTransform, SecondClass};
use crate::{Result, Tensor, Value, bail};

pub(super) const OPS: Table = &[
    ("SVMClassifier", svm_classifier),
    ("SVMRegressor", svm_regressor),
];

/// How a row is compared with a support vector.
#[derive(Clone, Copy)]
enum Compare {
    Linear,
    Poly,
    Rbf,
    Sigmoid,
}

/// What both operators have.
struct Machine {
    compare: Compare,
    gamma: f32,
    coef0: f32,
    degree: f32,
    /// `[vectors, features]`, or without vectors the coefficients.
    vectors: Vec<f32>,
    features: usize,
    coefficients: Vec<f32>,
    rho: Vec<f32>,
    post: PostTransform,
}

impl Machine {
    /// `vectors` is how many support vectors there are, `models` for how many linear ones the
    /// coefficients are without any.
    fn read(node: &Node<'_>, vectors: usize, models: usize) -> Result<Self> {
        let list = |name| node.floats(name).unwrap_or_default().to_vec();
        let compare = match node.text("kernel_type", "LINEAR")? {
            _ if vectors == 0 => Compare::Linear,
            "LINEAR" => Compare::Linear,
            "POLY" => Compare::Poly,
            "RBF" => Compare::Rbf,
            "SIGMOID" => Compare::Sigmoid,
            other => bail!(InvalidModel, "kernel_type is `{other}`"),
        };
        let parameters = list("kernel_params");
        let parameter = |at: usize| parameters.get(at).copied().unwrap_or(0.0);
        let (coefficients, rho) = (list("coefficients"), list("rho"));
        let against = match vectors {
            0 => coefficients.clone(),
            _ => list("support_vectors"),
        };
        let rows = if vectors == 0 { models } else { vectors };
        if coefficients.is_empty() || rho.is_empty() || rows == 0 || against.len() % rows != 0 {
            bail!(
                InvalidModel,
                "{} coefficients, {} numbers in {rows} vectors and {} offsets do not fit",
                coefficients.len(),
                against.len(),
                rho.len()
            );
        }
        let name = node.text("post_transform", "NONE")?;
        let Some(post) = PostTransform::from_name(name) else {
            bail!(InvalidModel, "post_transform is `{name}`");
        };
        Ok(Self {
            compare,
            gamma: parameter(0),
            coef0: parameter(1),
            degree: parameter(2),
            features: against.len() / rows,
            vectors: against,
            coefficients,
            rho,
            post,
        })
    }

    /// The rows of the input, which has as many features as the vectors.
    fn rows(&self, inputs: &Inputs<'_>) -> Result<(usize, Vec<f32>)> {
        let tensor = inputs.tensor(0)?;
        let (rows, columns) = rows_and_columns(tensor)?;
        if columns != self.features {
            bail!(
                InvalidInput,
                "the model has {} features, the input {columns}",
                self.features
            );
        }
        Ok((rows, floats(tensor)?))
    }

    /// A row against every vector.
    fn compare(&self, row: &[f32], offset: f32) -> Vec<f32> {
        let vectors = self.vectors.chunks_exact(self.features.max(1));
        let one = |vector: &[f32]| {
            let pairs = row.iter().zip(vector);
            let dot = || -> f32 { pairs.clone().map(|(x, y)| x * y).sum() };
            match self.compare {
                Compare::Linear => dot() + offset,
                Compare::Poly => (self.gamma * dot() + self.coef0 + offset).powf(self.degree),
                Compare::Sigmoid => (self.gamma * dot() + self.coef0 + offset).tanh(),
                Compare::Rbf => {
                    let distance: f32 = pairs.clone().map(|(x, y)| (x - y) * (x - y)).sum();
                    (-self.gamma * distance).exp()
                }
            }
        };
        vectors.map(one).collect()
    }

    fn first_rho(&self) -> f32 {
        self.rho.first().copied().unwrap_or(0.0)
    }
}

/// `SVMRegressor` (Operators-ml.md, ai.onnx.ml 1). onnxruntime has no post-transform of it.
fn svm_regressor(node: &Node<'_>) -> Result<Option<Kernel>> {
    let vectors = usize::try_from(node.int("n_supports", 0)).unwrap_or(0);
    let machine = Machine::read(node, vectors, 1)?;
    if vectors > 0 && machine.coefficients.len() != vectors {
        bail!(
            InvalidModel,
            "there are {} coefficients for {vectors} vectors",
            machine.coefficients.len()
        );
    }
    let one_class = node.flag("one_class", false);
    tensor_kernel(move |inputs| {
        let (rows, input) = machine.rows(inputs)?;
        let rho = machine.first_rho();
        let score = |row: &[f32]| {
            let score: f32 = match vectors {
                0 => machine.compare(row, rho).first().copied().unwrap_or(rho),
                _ => {
                    let compared = machine.compare(row, 0.0);
                    let pairs = compared.iter().zip(&machine.coefficients);
                    pairs.map(|(x, y)| x * y).sum::<f32>() + rho
                }
            };
            match one_class {
                true if score > 0.0 => 1.0,
                true => -1.0,
                false => score,
            }
        };
        let scores = input.chunks_exact(machine.features.max(1)).map(score);
        Tensor::from_vec(&[rows, 1], scores.collect())
    })
    .map(Some)
}

struct Classifier {
    machine: Machine,
    labels: Labels,
    /// Support vectors of each class; empty for linear models.
    counts: Vec<usize>,
    probabilities: Option<(Vec<f32>, Vec<f32>)>,
    all_positive: bool,
}

/// `SVMClassifier` (Operators-ml.md, ai.onnx.ml 1).
fn svm_classifier(node: &Node<'_>) -> Result<Option<Kernel>> {
    let labels = Labels::read(node, "classlabels_ints", "classlabels_strings")?;
    let classes = labels.len();
    let counts: Vec<usize> = (node.ints("vectors_per_class").unwrap_or_default().iter())
        .map(|&count| usize::try_from(count).unwrap_or(usize::MAX))
        .collect();
    let vectors = counts
        .iter()
        .fold(0, |sum: usize, &n| sum.saturating_add(n));
    let machine = Machine::read(node, vectors, classes)?;
    let counts = if vectors == 0 { Vec::new() } else { counts };
    let pairs = classes.saturating_mul(classes.saturating_sub(1)) / 2;
    let list = |name| node.floats(name).unwrap_or_default().to_vec();
    let (a, b) = (list("prob_a"), list("prob_b"));
    let fits = vectors == 0
        || (counts.len() == classes
            && machine.coefficients.len() >= (classes - 1).saturating_mul(vectors)
            && machine.rho.len() >= pairs
            && (a.is_empty() || a.len() >= pairs));
    if !fits || a.len() != b.len() || classes >= 65536 {
        bail!(InvalidModel, "the parts of the SVM do not fit together");
    }
    let classifier = Classifier {
        all_positive: machine.coefficients.iter().all(|&c| c >= 0.0),
        probabilities: (!a.is_empty()).then_some((a, b)),
        machine,
        labels,
        counts,
    };
    kernel(move |inputs| {
        let (rows, input) = classifier.machine.rows(inputs)?;
        let (mut best, mut scores) = (Vec::with_capacity(rows), Vec::new());
        for row in input.chunks_exact(classifier.machine.features.max(1)) {
            let (class, of_row) = classifier.classify(row);
            best.push(class);
            scores.extend(of_row);
        }
        let columns = scores.len().checked_div(rows).unwrap_or(classes);
        Ok(vec![
            Value::Tensor(classifier.labels(&best)?),
            Value::Tensor(Tensor::from_vec(&[rows, columns], scores)?),
        ])
    })
    .map(Some)
}

impl Classifier {
    /// A single label stands for one of two.
    fn labels(&self, best: &[usize]) -> Result<Tensor> {
        self.labels.of(best)
    }

    /// The class of a row, and its scores.
    fn classify(&self, row: &[f32]) -> (usize, Vec<f32>) {
        let classes = self.labels.len();
        let post = self.machine.post;
        if self.counts.is_empty() {
            let mut scores = self.machine.compare(row, self.machine.first_rho());
            let mut best = largest(&scores);
            let most = scores.get(best).copied().unwrap_or(0.0);
            let threshold = if self.all_positive {
                most >= 0.5
            } else {
                most > 0.0
            };
            if classes == 2 && self.probabilities.is_none() && threshold {
                best = 1;
            }
            post.finish(&mut scores, None);
            return (best, scores);
        }
        let (votes, mut scores) = self.duels(row);
        let best = largest(&votes);
        match &self.probabilities {
            Some((a, b)) => {
                let mut together = self.probability(&scores, a, b);
                post.finish(&mut together, None);
                (best, together)
            }
            None => {
                // With two classes there is one score, and the second follows from it.
                let second = match post {
                    _ if classes != 2 => None,
                    PostTransform::None => Some(SecondClass::Negated),
                    _ => Some(SecondClass::Complement),
                };
                post.finish(&mut scores, second);
                (best, scores)
            }
        }
    }

    /// Every class against every other: who wins how often, and the scores.
    fn duels(&self, row: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let compared = self.machine.compare(row, 0.0);
        let classes = self.labels.len();
        let vectors = compared.len();
        let mut starts = Vec::with_capacity(classes);
        let mut start = 0;
        for count in &self.counts {
            starts.push(start..start + count);
            start += count;
        }
        let part = |line: usize, range: &std::ops::Range<usize>| -> f64 {
            let places = line * vectors + range.start..line * vectors + range.end;
            let coefficients = self.machine.coefficients.get(places).unwrap_or_default();
            let compared = compared.get(range.clone()).unwrap_or_default();
            let pairs = coefficients.iter().zip(compared);
            pairs.map(|(x, y)| f64::from(x * y)).sum()
        };
        let mut votes = vec![0f32; classes];
        let mut scores = Vec::with_capacity(classes * (classes - 1) / 2);
        for (i, of_i) in starts.iter().enumerate() {
            for (j, of_j) in starts.iter().enumerate().skip(i + 1) {
                let rho = self.machine.rho.get(scores.len()).copied().unwrap_or(0.0);
                let sum = part(j - 1, of_i) + part(i, of_j) + f64::from(rho);
                scores.push(sum as f32);
                let winner = if sum > 0.0 { i } else { j };
                if let Some(votes) = votes.get_mut(winner) {
                    *votes += 1.0;
                }
            }
        }
        (votes, scores)
    }

    /// One probability for each class.
    fn probability(&self, scores: &[f32], a: &[f32], b: &[f32]) -> Vec<f32> {
        let classes = self.labels.len();
        let mut pairs = vec![0f32; classes * classes];
        let mut at = scores.iter().zip(a.iter().zip(b));
        for i in 0..classes {
            for j in i + 1..classes {
                let Some((score, (a, b))) = at.next() else {
                    continue;
                };
                let p = 1.0 - crate::ops::ml::logistic(score * a + b);
                let p = p.max(1e-7).min(1.0 - 1e-7);
                pairs[i * classes + j] = p;
                pairs[j * classes + i] = 1.0 - p;
            }
        }
        couple(&pairs, classes)
    }
}

/// Probabilities of classes from those of pairs (Wu, Lin and Weng, "Probability estimates for
/// multi-class classification by pairwise coupling", 2004, second approach), as libsvm does it.
fn couple(pairs: &[f32], classes: usize) -> Vec<f32> {
    let k = classes;
    let mut q = vec![0f32; k * k];
    for i in 0..k {
        for j in (0..k).filter(|&j| j != i) {
            q[i * k + i] += pairs[j * k + i] * pairs[j * k + i];
            q[i * k + j] = -pairs[j * k + i] * pairs[i * k + j];
        }
    }
    let mut p = vec![1.0 / k as f32; k];
    let enough = 0.005 / k as f32;
    for _ in 0..100 {
        let lines = q.chunks_exact(k);
        let mut qp: Vec<f32> = lines
            .map(|line| line.iter().zip(&p).map(|(q, p)| q * p).sum())
            .collect();
        let mut pqp: f32 = p.iter().zip(&qp).map(|(p, qp)| p * qp).sum();
        if qp.iter().all(|qp| (qp - pqp).abs() < enough) {
            break;
        }
        for i in 0..k {
            let own = q[i * k + i];
            let step = (pqp - qp[i]) / own;
            p[i] += step;
            pqp = (pqp + step * (step * own + 2.0 * qp[i])) / (1.0 + step) / (1.0 + step);
            for j in 0..k {
                qp[j] = (qp[j] + step * q[i * k + j]) / (1.0 + step);
                p[j] /= 1.0 + step;
            }
        }
    }
    p
}

/// The first of the largest.
fn largest(numbers: &[f32]) -> usize {
    let mut best = (0, f32::NEG_INFINITY);
    for (at, &number) in numbers.iter().enumerate() {
        if number > best.1 {
            best = (at, number);
        }
    }
    best.0
}
