"""Saves a model for `mlflow models serve`.

    python bench/rivals/mlflow_model.py --kind table --model FILE --out DIR

A table as MLflow's own flavour `onnx`; a picture or bytes as a `python_function`, because that flavour takes
tensors only. Without a signature, so that there is nothing to enforce: that is faster.
"""

import argparse
import os
import pathlib
import shutil

import mlflow.onnx
import mlflow.pyfunc
import onnx

ROOT = pathlib.Path(__file__).resolve().parent
ONE_THREAD = {"intra_op_num_threads": 1, "inter_op_num_threads": 1}


class Work(mlflow.pyfunc.PythonModel):
    """Rows of one column, `data`: base64 in JSON."""

    def __init__(self, kind: str):
        self.kind = kind

    def load_context(self, context):
        from work import KINDS

        self.work = KINDS[self.kind](os.path.join(context.artifacts["folder"], context.model_config["file"]))

    def predict(self, context, model_input, params=None):
        import base64

        return [answer(self.work.predict(base64.b64decode(text))) for text in model_input["data"]]


def answer(predicted):
    if isinstance(predicted, tuple):
        label, score = predicted
        return {"label": label, "score": score}
    return predicted.tolist()


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("--kind", "--model", "--out"):
        parser.add_argument(name, required=True)
    options = parser.parse_args()
    shutil.rmtree(options.out, ignore_errors=True)
    # Nothing is looked up, and nothing installed: it is served in this environment.
    given = {"path": options.out, "pip_requirements": []}
    if options.kind == "table":
        mlflow.onnx.save_model(onnx.load(options.model), onnx_session_options=ONE_THREAD, **given)
        return
    model = pathlib.Path(options.model)
    mlflow.pyfunc.save_model(
        python_model=Work(options.kind),
        artifacts={"folder": str(model.parent)},
        model_config={"file": model.name},
        code_paths=[str(ROOT / "work.py")],
        **given,
    )


if __name__ == "__main__":
    main()
