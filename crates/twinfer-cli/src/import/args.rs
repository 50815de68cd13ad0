//! The options of `twinfer pack` for what is not a recipe.

use std::path::PathBuf;

use clap::Args as ClapArgs;

#[derive(Debug, Default, ClapArgs)]
#[command(next_help_heading = "Model files and MLflow models")]
pub struct ImportArgs {
    /// Where models:/… are: an MLflow server (https://…) or a tracking folder
    #[arg(
        long,
        value_name = "URL|DIR",
        env = "MLFLOW_TRACKING_URI",
        hide_env_values = true
    )]
    pub tracking_uri: Option<String>,

    /// Convert a scikit-learn model. That loads its pickle in Python, which runs whatever
    /// code is in it: only for models whose makers you trust
    #[arg(long)]
    pub convert: bool,

    /// The Python that converts and gives reference values; `none` does without.
    /// Without this, python3 where it has what is needed
    #[arg(long, value_name = "PROG", env = "TWINFER_PYTHON")]
    pub python: Option<String>,

    /// Leave the input example out: the package then has no golden example
    #[arg(long)]
    pub no_example: bool,

    /// Whether servers of other machines may be reached without TLS: the option of all commands.
    #[arg(skip)]
    pub plain_http: bool,

    /// The name of the package; else that in the MLflow registry, or of the file or folder
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,

    /// The version of the package; else N.0.0 for version N of an MLflow registry, or 0.1.0
    #[arg(long, value_name = "VERSION")]
    pub model_version: Option<String>,

    /// Do not pack an .onnx file or MLflow model, but write a recipe to begin with into this
    /// new folder
    #[arg(long, value_name = "DIR")]
    pub write_recipe: Option<PathBuf>,
}
