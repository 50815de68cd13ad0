"""Tables of pyarrow and pandas through `twinfer batch`, and its own read by them.

    python tests/python/batch_tables.py TWINFER FOLDER PICTURES MODEL

FOLDER has `in.csv`, with columns of tumour-risk and `id`, and a registry with tumour-risk and
face-detector; MODEL is an ONNX file that takes rows of numbers. Prints `all the same` as its last line.
"""

import base64
import datetime
import json
import os
import pathlib
import pty
import re
import subprocess
import sys
import time

import pandas
import pyarrow
import pyarrow.parquet

PROGRAM, FOLDER, PICTURES = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
MODEL = sys.argv[4]


def batch(*arguments, code=0):
    """Runs it, and gives its report."""
    said = subprocess.run(
        [PROGRAM, "batch", *arguments, "--json"], cwd=FOLDER, capture_output=True, text=True
    )
    assert said.returncode == code, (arguments, said.returncode, said.stderr)
    return json.loads(said.stdout) if said.stdout else json.loads(said.stderr)


def same(ours, wanted):
    pandas.testing.assert_frame_equal(ours, wanted, check_dtype=False, rtol=1e-6, atol=1e-9)


table = pandas.read_csv(FOLDER / "in.csv")
batch("tumour-risk", "-i", "in.csv", "-o", "csv.csv", "--keep", "id")
answers = pandas.read_csv(FOLDER / "csv.csv")
names = ["id", "label", "probabilities.benign", "probabilities.malignant"]
assert list(answers.columns) == names, answers.columns
assert list(answers["id"]) == list(table["id"])

# CSV in, Parquet out: the same rows, with types, in row groups.
batch("tumour-risk", "-i", "in.csv", "-o", "csv.parquet", "--keep", "id", "--row-group", "256")
file = pyarrow.parquet.ParquetFile(FOLDER / "csv.parquet")
assert file.metadata.num_rows == 700 and file.metadata.num_row_groups > 1, file.metadata
assert file.metadata.row_group(0).column(0).compression == "SNAPPY"
assert [str(field.type) for field in file.schema_arrow] == ["string", "string", "double", "double"]
same(pandas.read_parquet(FOLDER / "csv.parquet"), answers)

# Parquet as pandas and as pyarrow write it: compressions, versions, dictionaries, narrow types. Polars
# and DuckDB write Zstandard by default or often.
forms = {
    "pandas": {},
    "gzip": {"compression": "gzip"},
    "lz4": {"compression": "lz4"},
    "plain": {"compression": "none", "use_dictionary": False},
    "v2": {"data_page_version": "2.0", "version": "2.6", "row_group_size": 100},
    "zstd": {"compression": "zstd"},
    "zstd-19": {"compression": "zstd", "compression_level": 19, "use_dictionary": False},
    "zstd-v2": {"compression": "zstd", "data_page_version": "2.0", "row_group_size": 100},
    "zstd-pages": {"compression": "zstd", "data_page_size": 512, "write_page_index": True},
    "zstd-and-others": {"compression": {"id": "zstd", "mean radius": "gzip", "mean area": "zstd"}},
}
for form, options in forms.items():
    table.to_parquet(FOLDER / f"{form}.parquet", engine="pyarrow", **options)
    batch("tumour-risk", "-i", f"{form}.parquet", "-o", f"{form}.csv", "--keep", "id")
    same(pandas.read_csv(FOLDER / f"{form}.csv"), answers)
table.to_parquet(FOLDER / "brotli.parquet", compression="brotli")
refused = batch("tumour-risk", "-i", "brotli.parquet", "-o", "brotli.csv", code=1)
assert refused["code"] == "invalid_input" and "Zstandard" in refused["error"], refused

# Bytes that are changed or missing in pages of Zstandard give errors or other numbers, and no panic.
whole = (FOLDER / "zstd.parquet").read_bytes()
for at in range(8, len(whole) - 8, len(whole) // 40):
    changed = bytearray(whole)
    changed[at] ^= 0x5A
    changed[at + 1] = 0xFF
    (FOLDER / "changed.parquet").write_bytes(changed)
    said = subprocess.run(
        [PROGRAM, "batch", "tumour-risk", "-i", "changed.parquet", "-o", "c.csv", "--resume", "never"],
        cwd=FOLDER, capture_output=True, text=True,
    )
    assert said.returncode in (0, 1, 6) and "panicked" not in said.stderr, (at, said)

# A job that is killed goes on inside a row group, behind its dictionaries.
long = pandas.concat([table] * 10, ignore_index=True)
long["ward"] = [f"ward {row % 7}" for row in range(len(long))]
for form, options in [("snappy", {}), ("zstd", {}), ("zstd", {"data_page_version": "2.0"})]:
    long.to_parquet(FOLDER / "long.parquet", compression=form, row_group_size=2500, **options)
    job = ["tumour-risk", "-i", "long.parquet", "--keep", "id,ward", "--batch", "16"]
    batch(*job, "-o", "undisturbed.csv")
    process = subprocess.Popen(
        [PROGRAM, "batch", *job, "-o", "killed.csv", "--checkpoint-every", "0s"],
        cwd=FOLDER, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )
    place = FOLDER / "killed.csv.batch" / "checkpoint.json"
    row = 0
    while row < 3000 and process.poll() is None:
        time.sleep(0.001)
        row = json.loads(place.read_text())["next"]["row"] if place.exists() else 0
    process.kill()
    process.wait()
    said = batch(*job, "-o", "killed.csv")
    assert 3000 <= said["resumed_at"] < said["rows"] == len(long), said
    assert (FOLDER / "killed.csv").read_bytes() == (FOLDER / "undisturbed.csv").read_bytes(), form

# A folder of parts as pandas, pyarrow and Spark write it: names, and what they leave beside.
parts = FOLDER / "parts.parquet"
parts.mkdir()
for part, start in enumerate(range(0, 700, 250)):
    compression = ["snappy", "zstd", "gzip"][part]
    table[start : start + 250].to_parquet(parts / f"part-{part:05}-c000.{compression}.parquet", compression=compression)
(parts / "_SUCCESS").touch()
(parts / "._SUCCESS.crc").write_bytes(b"crc")
for more in [[], ["--input-format", "parquet"]]:
    batch("tumour-risk", "-i", "parts.parquet", "-o", "parts.csv", "--keep", "id", *more)
    same(pandas.read_csv(FOLDER / "parts.csv"), answers)
pyarrow.parquet.write_to_dataset(pyarrow.Table.from_pandas(table.head(9)), FOLDER / "dataset")
assert batch("tumour-risk", "-i", "dataset", "-o", "dataset.csv", "--keep", "id")["rows"] == 9
table.head(5).assign(**{"mean radius": "large"}).to_parquet(parts / "part-00003.parquet")
refused = batch("tumour-risk", "-i", "parts.parquet", "-o", "parts.csv", code=1)
assert refused["code"] == "invalid_input", refused
assert "part-00003.parquet" in refused["error"] and "`mean radius`" in refused["error"], refused
texts = FOLDER / "texts"
texts.mkdir()
table[:400].to_csv(texts / "part-0.csv.gz", index=False)
table[400:].to_csv(texts / "part-1.csv", index=False)
batch("tumour-risk", "-i", "texts", "-o", "texts.csv", "--keep", "id")
same(pandas.read_csv(FOLDER / "texts.csv"), answers)

# What a person sees on a terminal: a line that changes, with part, rate and the time that is left.
own, terminal = pty.openpty()
process = subprocess.Popen(
    [PROGRAM, "batch", "tumour-risk", "-i", "long.parquet", "-o", "seen.csv", "--keep", "id", "--batch", "1"],
    cwd=FOLDER, stderr=terminal, stdout=subprocess.DEVNULL,
)
os.close(terminal)
seen = b""
try:
    while piece := os.read(own, 65536):
        seen += piece
except OSError:
    # So Linux says that the other end is closed.
    pass
assert process.wait() == 0, seen
shown = re.findall(r"\r(\d+) rows  (\d+) %  (\d+) rows/s  ([^\r]+?) left", seen.decode())
assert shown and [int(line[0]) for line in shown] == sorted(int(line[0]) for line in shown), seen
assert all(int(line[1]) <= 100 and int(line[2]) > 0 for line in shown), shown

# What is kept of Parquet keeps its types, and what is missing stays missing.
rich = table.head(50).copy()
rich["when"] = pandas.Timestamp("2026-11-27T12:30:00Z")
rich["day"] = datetime.date(2026, 11, 27)
rich["count"] = pandas.array([None, 2] * 25, dtype="Int64")
rich["ward"] = pandas.Categorical(["a", "b"] * 25)
rich["codes"] = [[1, 2], []] * 25
rich.loc[3, "mean radius"] = None
pyarrow.parquet.write_table(pyarrow.Table.from_pandas(rich, preserve_index=False), FOLDER / "rich.parquet")
source = pyarrow.parquet.read_table(FOLDER / "rich.parquet")
kept = ["when", "day", "count", "ward", "codes"]
batch("tumour-risk", "-i", "rich.parquet", "-o", "kept.parquet", "--keep", ",".join(kept))
found = pyarrow.parquet.read_table(FOLDER / "kept.parquet")
for name in kept:
    assert found[name].to_pylist() == source[name].to_pylist(), name
    assert found.schema.field(name).type == source.schema.field(name).type, name
batch("tumour-risk", "-i", "rich.parquet", "-o", "kept.jsonl", "--keep", ",".join(kept))
lines = [json.loads(line) for line in (FOLDER / "kept.jsonl").read_text().splitlines()]
assert lines[1]["when"] == "2026-11-27T12:30:00Z" and lines[1]["day"] == "2026-11-27", lines[1]
assert lines[0]["count"] is None and lines[0]["codes"] == [1, 2], lines[0]
assert [line["label"] for line in lines] == found["label"].to_pylist()

# JSON Lines of pandas.
table.drop(columns="id").to_json(FOLDER / "in.jsonl", orient="records", lines=True, double_precision=15)
batch("tumour-risk", "-i", "in.jsonl", "-o", "jsonl.parquet")
same(pandas.read_parquet(FOLDER / "jsonl.parquet"), answers.drop(columns="id"))

# Columns of the wrong type are an error of the table, not of each row.
wrong = table.assign(**{"mean radius": "large"})
wrong.to_parquet(FOLDER / "wrong.parquet")
refused = batch("tumour-risk", "-i", "wrong.parquet", "-o", "wrong.csv", code=1)
assert refused["code"] == "wrong_dtype", refused

# Pictures in a column: bytes, as the library datasets has them, and base64.
pictures = sorted(PICTURES.glob("*.jpg"))[:3]
contents = [picture.read_bytes() for picture in pictures]
batch("face-detector", "-i", str(PICTURES), "-o", "folder.jsonl", "--max-bad", "1000")
known = [json.loads(line) for line in (FOLDER / "folder.jsonl").read_text().splitlines()]
known = {line["file"]: line["boxes"] for line in known}
columns = {
    "bytes": contents,
    "structs": [{"bytes": content, "path": "x.jpg"} for content in contents],
    "base64": [base64.b64encode(content).decode() for content in contents],
}
for form, cells in columns.items():
    pyarrow.parquet.write_table(pyarrow.table({"picture": cells}), FOLDER / f"{form}.parquet")
    batch("face-detector", "-i", f"{form}.parquet", "-o", f"{form}-out.parquet")
    boxes = pyarrow.parquet.read_table(FOLDER / f"{form}-out.parquet")["boxes"].to_pylist()
    assert boxes == [known[picture.name] for picture in pictures], form

# A model without a pipeline: its elements as columns, and as one column of lists.
said = subprocess.run([PROGRAM, "inspect", MODEL, "--json"], capture_output=True, text=True, check=True)
width = json.loads(said.stdout)["signature"]["inputs"][0]["shape"][1]
rows = [[(row * 7 + column) % 5 - 1.5 for column in range(width)] for row in range(10)]
wide = {f"c{column}": [row[column] for row in rows] for column in range(width)}
pyarrow.parquet.write_table(pyarrow.table(wide), FOLDER / "wide.parquet")
lists = pyarrow.table({"id": list(range(10)), "features": pyarrow.array(rows, pyarrow.list_(pyarrow.float32()))})
pyarrow.parquet.write_table(lists, FOLDER / "lists.parquet")
batch(MODEL, "-i", "wide.parquet", "-o", "wide.jsonl")
batch(MODEL, "-i", "lists.parquet", "-o", "lists.jsonl", "--keep", "id")
batch(MODEL, "-i", "wide.parquet", "-o", "wide-kept.parquet", "--keep-all")
wide, lists = ([json.loads(line) for line in (FOLDER / f"{name}.jsonl").read_text().splitlines()] for name in ("wide", "lists"))
assert [line.pop("id") for line in lists] == list(range(10))
assert wide == lists and len(wide) == 10
kept = pyarrow.parquet.read_table(FOLDER / "wide-kept.parquet")
assert kept["c0"].to_pylist() == [row[0] for row in rows] and kept.num_columns > width
print("all the same")
