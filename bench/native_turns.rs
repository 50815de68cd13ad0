//! Runs a model when it is told to, so that `native_onnxruntime.py` can let it take turns with
//! onnxruntime: one engine's minutes are then as quiet as the other's.
//!
//! `twinfer-native-turns MODEL.onnx FREE`: axes without a length get FREE. Every line of the
//! input is `THREADS RUNS`: that many threads run that many times each. The answer is a line
//! of JSON, `{"ms": […], "outputs": […]}`: the milliseconds for one run of each round of all
//! threads, and the sum of each output.

use std::io::{BufRead, Write};
use std::time::Instant;

use serde_json::json;
use twinfer::{DType, Dim, NoWeights, Parsed, Session, Tensor, Tensors, Value};

type Error = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Error> {
    let mut given = std::env::args().skip(1);
    let path = given.next().ok_or("the model file is missing")?;
    let free: usize = given
        .next()
        .ok_or("the length of free axes is missing")?
        .parse()?;
    let start = Instant::now();
    let session = Session::parse(&std::fs::read(&path)?, &NoWeights).and_then(Parsed::optimise)?;
    let load = start.elapsed().as_secs_f64() * 1e3;
    let inputs = inputs(&session, free)?;
    let sums = sums(&session.run(inputs.clone())?)?;
    println!("{}", json!({ "load_ms": load }));
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let (threads, runs) = line
            .trim()
            .split_once(' ')
            .ok_or("a line is THREADS RUNS")?;
        let (threads, runs): (usize, usize) = (threads.parse()?, runs.parse()?);
        let times = (0..runs).map(|_| round(&session, &inputs, threads));
        let times = times.collect::<Result<Vec<f64>, Error>>()?;
        println!("{}", json!({ "ms": times, "outputs": sums }));
        std::io::stdout().flush()?;
    }
    Ok(())
}

/// One run in every thread; the milliseconds for one of them.
fn round(session: &Session, inputs: &Tensors, threads: usize) -> Result<f64, Error> {
    let copies: Vec<Tensors> = (0..threads).map(|_| inputs.clone()).collect();
    let start = Instant::now();
    std::thread::scope(|scope| {
        let (mine, others) = copies.split_at(1);
        let others: Vec<_> = others
            .iter()
            .map(|inputs| scope.spawn(|| session.run(inputs.clone()).map(drop)))
            .collect();
        for inputs in mine {
            session.run(inputs.clone())?;
        }
        for other in others {
            other.join().map_err(|_| "a thread broke off")??;
        }
        Ok::<(), Error>(())
    })?;
    Ok(start.elapsed().as_secs_f64() * 1e3 / threads as f64)
}

/// The same numbers as in `native_onnxruntime.py`.
fn inputs(session: &Session, free: usize) -> Result<Tensors, Error> {
    let mut all = Tensors::new();
    for spec in &session.signature().inputs {
        let dims = spec.shape.as_ref().ok_or("an input has any rank")?;
        let shape: Vec<usize> = dims
            .iter()
            .map(|dim| if let Dim::Fixed(n) = dim { *n } else { free })
            .collect();
        let count = shape.iter().product::<usize>();
        let steps = (0..count).map(|i| i * 40503 % 65521 % 251);
        let tensor = match spec.dtype {
            DType::F32 => Tensor::from_vec(&shape, steps.map(|i| i as f32 / 251.0).collect()),
            DType::F64 => Tensor::from_vec(&shape, steps.map(|i| i as f64 / 251.0).collect()),
            DType::I64 => Tensor::from_vec(&shape, steps.map(|i| (i % 2) as i64).collect()),
            DType::I32 => Tensor::from_vec(&shape, steps.map(|i| (i % 2) as i32).collect()),
            other => return Err(format!("no input of {other} is made here").into()),
        };
        all.push((spec.name.clone(), tensor?));
    }
    Ok(all)
}

fn sums(values: &[(String, Value)]) -> Result<Vec<f64>, Error> {
    let sum = |(_, value): &(String, Value)| {
        let tensor = value.tensor()?;
        Ok(match tensor.dtype() {
            DType::F32 => tensor.view::<f32>()?.iter().map(|&v| f64::from(v)).sum(),
            DType::I64 => tensor.view::<i64>()?.iter().map(|&v| v as f64).sum(),
            // Strings and their like are compared by the conformance suite.
            _ => 0.0,
        })
    };
    values.iter().map(sum).collect()
}
