//! `twinfer batch`

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::{Args as ClapArgs, ValueEnum, value_parser};
use serde_json::json;
use twinfer::{ErrorCode, Model, Result, bail, err};
use twinfer_batch::{
    Content, CsvForm, Input, InputFormat, Job, Keep, Output as Target, OutputFormat, Progress,
    Report, Resume,
};
use twinfer_package::{Built, Parts, Store};

use crate::bar::Bar;
use crate::model_source::ModelSource;
use crate::options::pair;
use crate::output::{BAD_ROWS, Output, fact_table};
use crate::trust::{Trust, warn};

/// Answer the rows of a file, on all cores, and go on after an interruption
///
/// Rows that cannot be answered go to OUTPUT.bad.jsonl, each with its reason. The output is there when
/// it is whole; until then it grows in the folder OUTPUT.batch. The same command after an interruption
/// goes on where it was.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  twinfer batch tumour-risk --input patients.parquet --output risks.parquet --keep id
  twinfer batch tumour-risk --input patients.csv --output risks.csv --keep-all
  twinfer batch tumour-risk --input patients.parquet/ --input-format parquet --output risks.parquet
  twinfer batch face-detector --input photos/ --output faces.jsonl
  twinfer batch face-detector --input photos.csv --column path --content path --output faces.jsonl
  cat rows.jsonl | twinfer batch tumour-risk --input - --input-format jsonl --output - --format jsonl
  twinfer batch model.onnx --input rows.csv --output answers.parquet --batch 64")]
pub struct BatchArgs {
    /// name, name:version, name@sha256:…; or an .onnx file
    #[arg(value_name = "REFERENCE|FILE.onnx")]
    pub model: String,

    /// A .csv, .tsv, .jsonl or .parquet file, text also as .gz, a folder of such files with the same
    /// columns or of pictures or other files, or - for standard input
    #[arg(long, short, value_name = "PATH|-")]
    pub input: String,

    /// A .csv, .jsonl or .parquet file, or - for standard output
    #[arg(long, short, value_name = "FILE|-")]
    pub output: String,

    /// What the input is, or the files of a folder are, where the name does not say it
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub input_format: Option<InputKind>,

    /// What is written, where the name of the output does not say it
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub format: Option<OutputKind>,

    /// The delimiter of a .csv file
    #[arg(long, value_name = "CHARACTER", value_parser = delimiter)]
    pub delimiter: Option<u8>,

    /// The first line of a .csv file is a row
    #[arg(long)]
    pub no_header: bool,

    /// Columns of the input that stand beside the answers; a comma between, or given several times
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    pub keep: Vec<String>,

    /// All columns of the input stand beside the answers
    #[arg(long, conflicts_with = "keep")]
    pub keep_all: bool,

    /// A column of this name has the number of each row, counted from 0
    #[arg(long, value_name = "NAME")]
    pub row_number: Option<String>,

    /// What the names of the columns of answers begin with
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub prefix: String,

    /// The column with the picture or the bytes [default: the one that has the name of the input]
    #[arg(long, value_name = "NAME")]
    pub column: Option<String>,

    /// What is in that column, where it is text; paths are relative to the folder of the input
    #[arg(long, value_enum, default_value = "base64", value_name = "KIND")]
    pub content: ContentKind,

    /// A parameter that the model declares
    #[arg(long, short, value_name = "NAME=VALUE", value_parser = pair)]
    pub param: Vec<(String, String)>,

    /// Rows that the model runs at once [default: by its signature, up to 256]
    #[arg(long, value_name = "ROWS", value_parser = value_parser!(u64).range(1..=65536))]
    pub batch: Option<u64>,

    /// Threads that predict [default: one for each core]
    #[arg(long, value_name = "COUNT", value_parser = value_parser!(u64).range(1..=1024))]
    pub threads: Option<u64>,

    /// Rows of a row group of Parquet
    #[arg(long, value_name = "ROWS", default_value = "65536", value_parser = value_parser!(u64).range(1..=1 << 30))]
    pub row_group: u64,

    /// Where rows go that cannot be answered [default: OUTPUT.bad.jsonl]
    #[arg(long, value_name = "FILE")]
    pub bad: Option<PathBuf>,

    /// Stop when more rows than this cannot be answered. Without it all are tried, and the exit code
    /// is 6 when there are some
    #[arg(long, value_name = "ROWS")]
    pub max_bad: Option<u64>,

    /// Whether a job that was interrupted is gone on with
    #[arg(long, value_enum, default_value = "auto", value_name = "WHETHER")]
    pub resume: Whether,

    /// How long after a checkpoint the next one is made, such as 1s or 500ms
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = humantime::parse_duration)]
    pub checkpoint_every: Duration,

    /// How often a line says how far the job is, where nobody looks at a terminal; 0s after each chunk
    /// of rows
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration)]
    pub progress_every: Duration,
}

/// What an input is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum InputKind {
    Csv,
    Tsv,
    Jsonl,
    Parquet,
    Folder,
}

/// What an output is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OutputKind {
    Csv,
    Jsonl,
    Parquet,
}

/// What is in a column of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ContentKind {
    /// The content in base64
    Base64,
    /// The path of a file
    Path,
}

/// Whether a job is gone on with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Whether {
    /// When it was the same job; another one is refused
    Auto,
    /// It must be there
    Always,
    /// It is thrown away
    Never,
}

impl BatchArgs {
    /// The model is a file, not in a registry.
    pub fn is_file(&self) -> bool {
        matches!(ModelSource::of(&self.model), Ok(ModelSource::File(_)))
    }
}

/// Does the job, with a model of `store`, which is the registry or a cache in front of it.
pub fn run(
    args: &BatchArgs,
    store: Option<&dyn Store>,
    trust: &Trust,
    output: &Output,
) -> Result<()> {
    let job = job(args)?;
    let model = load(args, store, trust)?;
    let mut shown = Shown::new(output, args.progress_every);
    let done = twinfer_batch::run(&model, &job, &mut |progress| shown.show(progress));
    shown.bar.clear();
    let report = match done {
        // `twinfer batch … --output - | head` is no failure.
        Err(e) if e.code() == ErrorCode::Aborted && job.output == Target::Stdout => return Ok(()),
        done => done?,
    };
    say(&report, &job, &model, output)?;
    if report.bad > 0 && args.max_bad.is_none() {
        output.end_with(BAD_ROWS);
    }
    Ok(())
}

fn load(args: &BatchArgs, store: Option<&dyn Store>, trust: &Trust) -> Result<Model> {
    match (ModelSource::of(&args.model)?, store) {
        (ModelSource::File(path), _) => {
            let built = Built::from_file(&path, "model", "0.0.0");
            built
                .and_then(|built| built.load())
                .map_err(|e| e.context(path.display()))
        }
        (ModelSource::Package(reference), Some(store)) => {
            trust.open(store, &reference, Parts::Model)?.take_model()
        }
        (ModelSource::Package(_), None) => {
            Err(err!(Internal, "no registry was opened for a package"))
        }
    }
}

fn job(args: &BatchArgs) -> Result<Job> {
    let input = match args.input.as_str() {
        "-" => Input::Stdin,
        path => Input::Path(path.into()),
    };
    let target = match args.output.as_str() {
        "-" => Target::Stdout,
        path => Target::Path(path.into()),
    };
    let input_format = input_format(args, &input)?;
    let output_format = match (args.format, &target) {
        (Some(OutputKind::Csv), _) => OutputFormat::Csv,
        (Some(OutputKind::Jsonl), _) => OutputFormat::JsonLines,
        (Some(OutputKind::Parquet), _) => OutputFormat::Parquet,
        (None, Target::Path(path)) => {
            OutputFormat::of(path).map_err(|e| e.context("without --format"))?
        }
        (None, Target::Stdout) => OutputFormat::JsonLines,
    };
    let mut job = Job::new(input, input_format, target, output_format);
    job.bad = args.bad.clone();
    let parameters = args.param.iter();
    job.parameters = parameters
        .map(|(name, value)| (name.clone(), value.clone().into()))
        .collect();
    job.keep = match args.keep_all {
        true => Keep::All,
        false => Keep::Named(args.keep.clone()),
    };
    job.row_number = args.row_number.clone();
    job.prefix = args.prefix.clone();
    job.column = args.column.clone();
    job.content = match args.content {
        ContentKind::Base64 => Content::Base64,
        ContentKind::Path => Content::Path,
    };
    job.batch = args.batch.map(|rows| rows as usize);
    job.threads = args.threads.map(|count| count as usize);
    job.row_group = args.row_group as usize;
    job.max_bad = args.max_bad;
    job.resume = match args.resume {
        Whether::Auto => Resume::Auto,
        Whether::Always => Resume::Always,
        Whether::Never => Resume::Never,
    };
    job.checkpoint_every = args.checkpoint_every;
    Ok(job)
}

fn input_format(args: &BatchArgs, input: &Input) -> Result<InputFormat> {
    let format = match (args.input_format, input) {
        (Some(InputKind::Csv), _) => InputFormat::Csv(CsvForm::default()),
        (Some(InputKind::Tsv), _) => InputFormat::of(Path::new("input.tsv"))?,
        (Some(InputKind::Jsonl), _) => InputFormat::JsonLines,
        (Some(InputKind::Parquet), _) => InputFormat::Parquet,
        (Some(InputKind::Folder), _) => InputFormat::Folder,
        (None, Input::Path(path)) => {
            InputFormat::of(path).map_err(|e| e.context("without --input-format"))?
        }
        (None, Input::Stdin) => bail!(
            InvalidInput,
            "standard input has no name that says what it is: give --input-format"
        ),
    };
    let given = args.delimiter.is_some() || args.no_header;
    match format {
        InputFormat::Csv(form) => Ok(InputFormat::Csv(CsvForm {
            delimiter: args.delimiter.unwrap_or(form.delimiter),
            header: !args.no_header,
        })),
        _ if given => bail!(
            InvalidInput,
            "--delimiter and --no-header are for tables in text; of a folder say so with --input-format csv"
        ),
        format => Ok(format),
    }
}

/// One character of one byte; `\t` is a tab.
fn delimiter(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        b"\\t" => Ok(b'\t'),
        [byte] if byte.is_ascii() && !matches!(byte, b'"' | b'\r' | b'\n') => Ok(*byte),
        _ => Err("write one character, such as ; or \\t".into()),
    }
}

/// Tells how far it is: a line that changes on a terminal, otherwise one from time to time.
struct Shown<'a> {
    bar: Bar,
    output: &'a Output,
    every: Duration,
    last: Instant,
}

impl<'a> Shown<'a> {
    fn new(output: &'a Output, every: Duration) -> Self {
        Self {
            bar: Bar::new(output),
            output,
            every,
            last: Instant::now(),
        }
    }

    fn show(&mut self, progress: &Progress) {
        if self.bar.is_on() {
            return self.bar.text(|| text(progress));
        }
        if self.last.elapsed() < self.every {
            return;
        }
        self.last = Instant::now();
        self.output.note(&match self.output.is_json() {
            true => json!({"event": "progress", "progress": progress}).to_string(),
            false => text(progress),
        });
    }
}

/// `1200 rows  40 %  350 rows/s  5s left  2 bad`
fn text(progress: &Progress) -> String {
    let mut parts = vec![format!("{} rows", progress.rows)];
    if let Some(fraction) = progress.fraction {
        parts.push(format!("{:.0} %", (fraction * 100.0).floor()));
    }
    parts.push(format!("{:.0} rows/s", progress.rows_per_second));
    if let Some(seconds) = progress.seconds_left {
        let left = Duration::from_secs(seconds.min(1e9).ceil() as u64);
        parts.push(format!("{} left", humantime::format_duration(left)));
    }
    if progress.bad > 0 {
        parts.push(format!("{} bad", progress.bad));
    }
    parts.join("  ")
}

fn say(report: &Report, job: &Job, model: &Model, output: &Output) -> Result<()> {
    if report.rows_influence_each_other {
        warn("the rows of this model influence each other: they ran one by one");
    }
    if !report.ignored_columns.is_empty() && !output.is_json() {
        let names = report.ignored_columns.join(", ");
        output.note(&format!(
            "left out, because the model does not take them: {names}"
        ));
    }
    let place = match &job.output {
        Target::Path(path) => path,
        // On standard output are the answers.
        Target::Stdout => {
            if output.is_json() {
                output.note(&json!(report).to_string());
            } else if report.bad > 0 {
                let place = match &report.bad_file {
                    Some(file) => format!("are in {}", file.display()),
                    None => "are not kept; --bad FILE keeps them".into(),
                };
                warn(&format!(
                    "{} of {} rows could not be answered, and {place}",
                    report.bad, report.rows
                ));
            }
            return Ok(());
        }
    };
    let mut value = json!(report);
    value["output"] = json!(place);
    value["model_name"] = json!(model.config().name);
    value["model_version"] = json!(model.config().version);
    value["digest"] = json!(model.digest());
    output.print(&value, || {
        let mut facts = vec![
            ("output", place.display().to_string()),
            ("rows", report.rows.to_string()),
        ];
        if let Some(at) = report.resumed_at {
            facts.push(("gone on", format!("at row {at}")));
        }
        if let Some(file) = &report.bad_file {
            facts.push(("bad", format!("{}, in {}", report.bad, file.display())));
        }
        let done = report.rows - report.resumed_at.unwrap_or(0);
        let rate = done as f64 / report.seconds.max(1e-9);
        let times = format!(
            "{:.1} s, {rate:.0} rows/s on {} threads, {} at once",
            report.seconds, report.threads, report.batch
        );
        facts.push(("took", times));
        fact_table(facts)
    })
}
