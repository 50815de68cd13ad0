//! What a job reads and writes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use twinfer::{Parameters, Result, bail};

/// Where rows come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A file, a folder, or a pipe that has a name.
    Path(PathBuf),
    /// Standard input. A job is taken up when it gives the same bytes again.
    Stdin,
}

/// Where answers go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// A file. It is there when it is whole.
    Path(PathBuf),
    /// Standard output, as they come.
    Stdout,
}

/// What the input is. Text may be compressed with gzip (RFC 1952). A folder has tables of one format and
/// with the same columns, whose rows come in the order of their paths, or it is a [`InputFormat::Folder`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputFormat {
    /// Text with a delimiter (RFC 4180), in UTF-8.
    Csv(CsvForm),
    /// A JSON value a line, as `predict` takes them.
    JsonLines,
    /// Apache Parquet.
    Parquet,
    /// A folder whose files are a row each. For models that take neither pictures nor bytes they are
    /// tables, of the format that their names say.
    Folder,
}

/// The form of a table in text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CsvForm {
    /// What stands between two cells.
    pub delimiter: u8,
    /// Whether the first line has the names of the columns.
    pub header: bool,
}

impl Default for CsvForm {
    fn default() -> Self {
        Self {
            delimiter: b',',
            header: true,
        }
    }
}

/// What the output is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputFormat {
    /// A table in text (RFC 4180) with a header.
    Csv,
    /// A JSON object a line.
    JsonLines,
    /// Apache Parquet, compressed with Snappy.
    Parquet,
}

impl InputFormat {
    /// The format of a path: a folder, or by the extension, before `.gz` where it ends so.
    ///
    /// # Errors
    /// `invalid_input` for an extension that says nothing, and for Parquet in gzip.
    pub fn of(path: &Path) -> Result<Self> {
        if path.is_dir() {
            return Ok(Self::Folder);
        }
        let tabs = CsvForm {
            delimiter: b'\t',
            header: true,
        };
        let gzip = extension(path) == "gz";
        let inside = match gzip {
            true => extension(&path.with_extension("")),
            false => extension(path),
        };
        match inside.as_str() {
            "csv" => Ok(Self::Csv(CsvForm::default())),
            "tsv" => Ok(Self::Csv(tabs)),
            "jsonl" | "ndjson" => Ok(Self::JsonLines),
            "parquet" | "pq" if gzip => bail!(
                InvalidInput,
                "{} is a file of Parquet in gzip, which is read from its end: unpack it",
                path.display()
            ),
            "parquet" | "pq" => Ok(Self::Parquet),
            _ => bail!(
                InvalidInput,
                "the name {} does not say what it is: csv, tsv, jsonl or parquet; say it",
                path.display()
            ),
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Csv(_) => "csv",
            Self::JsonLines => "jsonl",
            Self::Parquet => "parquet",
            Self::Folder => "folder",
        }
    }
}

impl OutputFormat {
    /// The format by the extension of a path.
    ///
    /// # Errors
    /// `invalid_input` for an extension that says nothing.
    pub fn of(path: &Path) -> Result<Self> {
        match extension(path).as_str() {
            "csv" => Ok(Self::Csv),
            "jsonl" | "ndjson" => Ok(Self::JsonLines),
            "parquet" | "pq" => Ok(Self::Parquet),
            _ => bail!(
                InvalidInput,
                "the name {} does not say what to write: csv, jsonl or parquet; say it",
                path.display()
            ),
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::JsonLines => "jsonl",
            Self::Parquet => "parquet",
        }
    }
}

fn extension(path: &Path) -> String {
    let extension = path.extension().unwrap_or_default();
    extension.to_string_lossy().to_ascii_lowercase()
}

/// Which columns of the input stand beside the answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keep {
    /// These; of a folder `file`, the name of the file, even when nothing is named.
    Named(Vec<String>),
    /// All.
    All,
}

/// What a column of text has, for models of pictures and bytes. Columns of binary values have the
/// content itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// The content in base64.
    Base64,
    /// The path of a file, relative to the folder of the input.
    Path,
}

/// What is done where a job was begun before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resume {
    /// It is taken up when it was the same job, refused when it was another one.
    Auto,
    /// It must be there.
    Always,
    /// It is thrown away.
    Never,
}

/// A job: rows in, answers out.
#[derive(Debug, Clone)]
pub struct Job {
    /// Where rows come from.
    pub input: Input,
    /// What they are.
    pub input_format: InputFormat,
    /// Where answers go.
    pub output: Output,
    /// What they are.
    pub output_format: OutputFormat,
    /// Where rows go that cannot be answered; by default `OUTPUT.bad.jsonl`. Nowhere for standard
    /// output, unless it is named.
    pub bad: Option<PathBuf>,
    /// Parameters of the model, for every row.
    pub parameters: Parameters,
    /// Columns of the input that stand beside the answers.
    pub keep: Keep,
    /// The name of a column with the number of the row in the input, counted from 0.
    pub row_number: Option<String>,
    /// What the names of the columns of answers begin with.
    pub prefix: String,
    /// The column with the content, for models of pictures and bytes; by default that of the name of
    /// the input.
    pub column: Option<String>,
    /// What is in it, where it is text.
    pub content: Content,
    /// Rows that the model runs at once; `None` chooses by its signature.
    pub batch: Option<usize>,
    /// Threads that predict; `None` for all cores.
    pub threads: Option<usize>,
    /// Rows of a row group of Parquet. A job with such an output is taken up at these.
    pub row_group: usize,
    /// More bad rows than this end the job.
    pub max_bad: Option<u64>,
    /// What is done where the job was begun before.
    pub resume: Resume,
    /// How long after a checkpoint the next one is made; 0 after each chunk of rows.
    pub checkpoint_every: Duration,
}

impl Job {
    /// A job with the default of everything else.
    pub fn new(
        input: Input,
        input_format: InputFormat,
        output: Output,
        output_format: OutputFormat,
    ) -> Self {
        Self {
            input,
            input_format,
            output,
            output_format,
            bad: None,
            parameters: Parameters::new(),
            keep: Keep::Named(Vec::new()),
            row_number: None,
            prefix: String::new(),
            column: None,
            content: Content::Base64,
            batch: None,
            threads: None,
            row_group: 65_536,
            max_bad: None,
            resume: Resume::Auto,
            checkpoint_every: Duration::from_secs(1),
        }
    }

    /// Where bad rows go.
    pub fn bad_path(&self) -> Option<PathBuf> {
        match (&self.bad, &self.output) {
            (Some(path), _) => Some(path.clone()),
            (None, Output::Path(path)) => Some(beside(path, ".bad.jsonl")),
            (None, Output::Stdout) => None,
        }
    }
}

/// The path with something behind its name.
pub(crate) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_by_their_names() {
        let of = |name: &str| InputFormat::of(Path::new(name)).ok().map(InputFormat::name);
        assert_eq!(of("a/b.CSV"), Some("csv"));
        assert_eq!(of("b.ndjson"), Some("jsonl"));
        assert_eq!(of("b.parquet"), Some("parquet"));
        assert_eq!(of("."), Some("folder"));
        assert_eq!(of("b.xlsx"), None);
        assert_eq!(of("a/b.csv.gz"), Some("csv"));
        assert_eq!(of("b.NDJSON.GZ"), Some("jsonl"));
        assert_eq!(
            (of("b.parquet.gz"), of("b.gz"), of("gz")),
            (None, None, None)
        );
        assert_eq!(
            InputFormat::of(Path::new("x.tsv")).unwrap(),
            InputFormat::Csv(CsvForm {
                delimiter: b'\t',
                header: true
            })
        );
        assert_eq!(
            OutputFormat::of(Path::new("o.pq")).unwrap(),
            OutputFormat::Parquet
        );
        assert!(OutputFormat::of(Path::new("o.tsv")).is_err());
    }
}
