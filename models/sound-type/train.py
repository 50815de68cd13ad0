"""Trains and exports `sound-type`, makes the sounds of its golden cases, metrics.json and golden.json.

Run: python models/sound-type/train.py
"""

import importlib.util
import json
import sys
from pathlib import Path

import librosa
import numpy as np
import onnxruntime
import soundfile
from onnx import TensorProto, checker, helper, numpy_helper
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parent))
import recipes  # noqa: E402

PACKAGES = ("scikit-learn", "onnx", "onnxruntime", "librosa", "soundfile", "numpy", "scipy")
TOLERANCE = {"relative": 1e-4, "absolute": 1e-5}
REASON = (
    "sounds are decoded by libsndfile, spectrograms are librosa's and resampling is torchaudio's formula, all in double "
    "precision, and probabilities are scikit-learn's; the exported model has weights and sums in single precision: {worst:.1e} "
    "at the most in these cases (onnxruntime against scikit-learn)"
)
RATE, N_FFT, HOP, MELS = 8000, 256, 128, 24
LABELS = ["clicks", "noise", "sawtooth", "sine", "sweep"]


def reference():
    """The script that checks the engine's own steps has the formula of resampling."""
    path = FOLDER.parent.parent / "crates/twinfer/tests/reference/audio_reference.py"
    spec = importlib.util.spec_from_file_location("audio_reference", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def tone(label: str, rng, rate: int, seconds: float) -> np.ndarray:
    """A sound of a kind, with pitch, loudness and a little noise by chance."""
    time = np.arange(int(rate * seconds)) / rate
    pitch, loudness = rng.uniform(150, 1500), rng.uniform(0.1, 0.8)
    if label == "sine":
        made = np.sin(2 * np.pi * pitch * time)
    elif label == "sawtooth":
        made = 2 * ((pitch / 3 * time) % 1) - 1
    elif label == "sweep":
        made = np.sin(2 * np.pi * (200 + rng.uniform(1500, 3000) / 2 / seconds * time) * time)
    elif label == "noise":
        made = rng.uniform(-1, 1, len(time))
    else:
        made = ((rng.uniform(8, 30) * time) % 1 < 0.01).astype(np.float64)
    return np.clip(loudness * made + 0.002 * rng.standard_normal(len(time)), -1, 1)


def spectrogram(samples: np.ndarray) -> np.ndarray:
    """As twinfer.toml declares it: decibels of power, 80 at the most below the loudest."""
    mel = librosa.feature.melspectrogram(y=samples, sr=RATE, n_fft=N_FFT, hop_length=HOP, n_mels=MELS, pad_mode="reflect", dtype=np.float64)
    return librosa.power_to_db(mel, ref=np.max, amin=1e-10, top_db=80.0)


def features(mel: np.ndarray) -> np.ndarray:
    """The mean of each band, and how much it moves: what the graph begins with."""
    mean = mel.mean(axis=1)
    return np.concatenate([mean, np.sqrt(((mel - mean[:, None]) ** 2).mean(axis=1))])


def data(seed: int, count: int):
    rng = np.random.default_rng(seed)
    rows = [(features(spectrogram(tone(label, rng, RATE, rng.uniform(0.2, 1.0)))), label) for _ in range(count) for label in LABELS]
    return np.array([row for row, _ in rows]), [label for _, label in rows]


def graph(pipeline) -> bytes:
    """The network with its scaler, from the spectrogram on."""
    scaler, network = pipeline[0], pipeline[1]
    weights = {
        "scaler_mean": scaler.mean_, "scaler_scale": scaler.scale_, "w0": network.coefs_[0], "b0": network.intercepts_[0],
        "w1": network.coefs_[1], "b1": network.intercepts_[1],
    }
    nodes = [
        helper.make_node("ReduceMean", ["mel"], ["mean_kept"], axes=[2], keepdims=1),
        helper.make_node("Sub", ["mel", "mean_kept"], ["moved"]),
        helper.make_node("Mul", ["moved", "moved"], ["squared"]),
        helper.make_node("ReduceMean", ["squared"], ["variance"], axes=[2], keepdims=0),
        helper.make_node("Sqrt", ["variance"], ["deviation"]),
        helper.make_node("ReduceMean", ["mel"], ["mean"], axes=[2], keepdims=0),
        helper.make_node("Concat", ["mean", "deviation"], ["features"], axis=1),
        helper.make_node("Sub", ["features", "scaler_mean"], ["centred"]),
        helper.make_node("Div", ["centred", "scaler_scale"], ["scaled"]),
        helper.make_node("Gemm", ["scaled", "w0", "b0"], ["hidden"]),
        helper.make_node("Relu", ["hidden"], ["active"]),
        helper.make_node("Gemm", ["active", "w1", "b1"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["probabilities"], axis=1),
    ]
    made = helper.make_graph(
        nodes, "sound-type",
        [helper.make_tensor_value_info("mel", TensorProto.FLOAT, ["N", MELS, "frames"])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", len(LABELS)])],
        [numpy_helper.from_array(np.asarray(array, dtype=np.float32), name) for name, array in weights.items()],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 13)], producer_name="sound-type/train.py")
    model.ir_version = 8
    checker.check_model(model)
    return model.SerializeToString(deterministic=True)


def make():
    rows, labels = data(1, 120)
    pipeline = make_pipeline(StandardScaler(), MLPClassifier(hidden_layer_sizes=(16,), alpha=0.01, max_iter=600, random_state=0))
    pipeline.fit(rows, labels)
    assert list(pipeline.classes_) == LABELS
    return pipeline, graph(pipeline)


def run(onnx: bytes, mel: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
    return session.run(["probabilities"], {"mel": mel[None].astype(np.float32)})[0]


def metrics(pipeline) -> dict:
    rows, labels = data(2, 60)
    return {"sounds": {"train": 120 * len(LABELS), "test": len(labels)}, "test": {"accuracy": round(float(pipeline.score(rows, labels)), 4)}}


# Name, kind, rate, subtype, channels, seconds.
SOUNDS = [
    ("sine-8-bit", "sine", 8000, "PCM_U8", 1, 0.25),
    ("sawtooth-16-bit", "sawtooth", 8000, "PCM_16", 1, 0.25),
    ("noise-24-bit-stereo", "noise", 44100, "PCM_24", 2, 0.1),
    ("sweep-32-bit", "sweep", 22050, "PCM_32", 1, 0.25),
    ("clicks-float", "clicks", 16000, "FLOAT", 1, 0.25),
    ("sine-double-three-channels", "sine", 11025, "DOUBLE", 3, 0.25),
    ("silence", None, 8000, "PCM_16", 1, 0.1),
    ("one-sample", None, 48000, "PCM_16", 1, 1 / 48000),
]


def write_sounds() -> None:
    rng = np.random.default_rng(3)
    (FOLDER / "sounds").mkdir(exist_ok=True)
    for name, label, rate, subtype, channels, seconds in SOUNDS:
        if label is None:
            samples = np.zeros((max(1, round(rate * seconds)), channels))
        else:
            one = tone(label, rng, rate, seconds)
            samples = np.stack([one * (1 - 0.1 * at) for at in range(channels)], axis=1)
        kind = "WAVEX" if channels > 1 else "WAV"
        soundfile.write(FOLDER / "sounds" / f"{name}.wav", samples, rate, format=kind, subtype=subtype)


def golden(pipeline=None, onnx=None) -> dict:
    """Answers of scikit-learn (`outputs`) and raw tensors of onnxruntime (`tensors`)."""
    if pipeline is None:
        pipeline, _ = make()
        onnx = (FOLDER / "model.onnx").read_bytes()
    resample = reference().resample
    cases, worst = [], 0.0
    for name, label, *_ in SOUNDS:
        read, rate = soundfile.read(FOLDER / "sounds" / f"{name}.wav", always_2d=True)
        samples = librosa.to_mono(read.T).astype(np.float32)
        if rate != RATE:
            samples = resample(samples, rate, RATE)
        mel = spectrogram(samples.astype(np.float64))
        probabilities = pipeline.predict_proba(features(mel)[None])[0]
        exported = run(onnx, mel)
        worst = max(worst, float(np.abs(exported[0] - probabilities).max()))
        order = np.argsort(-probabilities, kind="stable")[:3]
        if label and (LABELS[order[0]] != label or probabilities[order[0]] < 0.6):
            raise SystemExit(f"{name}: {LABELS[order[0]]} with {probabilities[order[0]]}: choose another sound")
        classes = [{"label": LABELS[at], "score": float(probabilities[at])} for at in order]
        cases.append({
            "name": name, "input": {"audio": {"file": f"sounds/{name}.wav", "media_type": "audio/wav"}},
            "expect": {"outputs": {"kinds": classes}, "tensors": [recipes.tensor("probabilities", exported)]},
        })
    for case in cases:
        case["tolerance"] = TOLERANCE
        case["reason"] = REASON.format(worst=worst)
    return {"reference": recipes.versions(*PACKAGES), "cases": cases}


def check(recipe: dict, model: bytes) -> list[str]:
    """For models/check.py: trained again it is the same model, and the recipe has its numbers."""
    pipeline, made = make()
    found = recipes.differences(json.loads((FOLDER / "metrics.json").read_text()), metrics(pipeline), {"relative": 0.0, "absolute": 1e-2})
    given = recipe["pipeline"]["input"]
    mel = given["features"]["mel_spectrogram"]
    ours = (given["sample_rate"], mel["n_fft"], mel["hop_length"], mel["n_mels"])
    if ours != (RATE, N_FFT, HOP, MELS):
        found.append("the numbers of the spectrogram are not those of train.py")
    if json.loads((FOLDER / "labels.json").read_text()) != {"kinds": LABELS}:
        found.append("labels.json is not that of train.py")
    if made != model:
        # Other processors have other vector units, which add in another order.
        print("  sound-type: model.onnx has other bytes when trained here; its answers are compared")
    return found


if __name__ == "__main__":
    pipeline, onnx = make()
    (FOLDER / "model.onnx").write_bytes(onnx)
    write_sounds()
    (FOLDER / "labels.json").write_text(json.dumps({"kinds": LABELS}) + "\n")
    recipes.write_json(FOLDER / "metrics.json", metrics(pipeline))
    recipes.write_json(FOLDER / "golden.json", golden(pipeline, onnx))
    print(f"sound-type: model.onnx {len(onnx)} bytes, sha256 {recipes.sha256(onnx)}; {metrics(pipeline)}")
