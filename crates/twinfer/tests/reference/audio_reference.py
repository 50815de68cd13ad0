"""Makes `audio.json`: what the steps for sounds must give, by the code that they follow.

WAV files: libsndfile (`soundfile`), channels by librosa. Spectrograms: librosa, in double precision; the
one of Whisper by the lines of transformers' `WhisperFeatureExtractor._np_extract_fbank_features`, the
normalisation of samples by those of `Wav2Vec2FeatureExtractor.zero_mean_unit_var_norm`. Resampling: the
formula of `torchaudio.functional.resample` (`sinc_interp_hann`, `lowpass_filter_width` 6, `rolloff` 0.99;
torchaudio/functional/functional.py, `_get_sinc_resample_kernel` and `_apply_sinc_resample_kernel`) in
numpy: torchaudio itself brings all of torch. That it is a resampling is checked with tones here.

    python -m venv venv
    venv/bin/pip install numpy==2.4.6 scipy==1.17.1 librosa==0.11.0 soundfile==0.14.0
    venv/bin/python crates/twinfer/tests/reference/audio_reference.py

Everything is seeded; another run writes the same file.
"""

import base64
import io
import json
import math
from pathlib import Path

import librosa
import numpy as np
import soundfile

RATE = 16000
rng = np.random.default_rng(20261127)


def b64(data):
    return base64.b64encode(bytes(data)).decode()


def floats(array):
    return b64(np.ascontiguousarray(array, dtype="<f4").tobytes())


def sound(length, channels=1):
    """A rising tone with a second one and noise, different in each channel."""
    time = np.arange(length) / RATE
    made = []
    for channel in range(channels):
        tone = 0.4 * np.sin(2 * np.pi * (200 + 100 * channel + 9000 * time) * time)
        hum = 0.2 * np.sin(2 * np.pi * 440 * (channel + 1) * time)
        made.append(tone + hum + 0.05 * rng.standard_normal(length))
    return np.clip(np.stack(made, axis=-1), -1, 1)


def files():
    for kind in ("WAV", "WAVEX"):
        for subtype in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"):
            for channels in (1, 2, 6):
                samples = sound(60, channels)
                out = io.BytesIO()
                soundfile.write(out, samples, RATE, format=kind, subtype=subtype)
                out.seek(0)
                read, rate = soundfile.read(out, dtype="float32", always_2d=True)
                assert rate == RATE
                yield {
                    "name": f"{kind} {subtype} {channels}", "file": b64(out.getvalue()),
                    "mean": floats(librosa.to_mono(read.T)), "first": floats(read[:, 0]),
                }


def kernel(old, new):
    width_in_crossings, rolloff = 6, 0.99
    base = min(old, new) * rolloff
    width = math.ceil(width_in_crossings * old / base)
    index = np.arange(-width, width + old, dtype=np.float64)[None] / old
    t = (np.arange(0, -new, -1, dtype=np.float64)[:, None] / new + index) * base
    t = t.clip(-width_in_crossings, width_in_crossings)
    window = np.cos(t * math.pi / width_in_crossings / 2) ** 2
    t *= math.pi
    with np.errstate(invalid="ignore"):
        sinc = np.where(t == 0, 1.0, np.sin(t) / t)
    return sinc * window * (base / old), width


def resample(samples, old, new):
    divisor = math.gcd(old, new)
    old, new = old // divisor, new // divisor
    taps, width = kernel(old, new)
    padded = np.pad(samples.astype(np.float64), (width, width + old))
    frames = [padded[at : at + taps.shape[1]] for at in range(0, len(padded) - taps.shape[1] + 1, old)]
    made = np.stack([taps @ frame for frame in frames]).reshape(-1)
    return made[: math.ceil(new * len(samples) / old)]


def check_tones():
    """A tone below both halves of the rates is the same tone, away from the ends."""
    for old, new in ((8000, 16000), (44100, 16000), (48000, 8000), (16000, 22050)):
        tone = np.sin(2 * np.pi * 1000 * np.arange(old) / old)
        made = resample(tone, old, new)
        wanted = np.sin(2 * np.pi * 1000 * np.arange(new) / new)
        assert np.abs(made - wanted)[new // 10 : -new // 10].max() < 2e-3, (old, new)


def resampled():
    samples = sound(300)[:, 0].astype(np.float32)
    cases = []
    for old, new in ((8000, 16000), (16000, 8000), (44100, 16000), (48000, 16000), (11025, 16000), (16000, 22050), (4411, 1601), (960, 7)):
        cases.append({"from": old, "to": new, "values": floats(resample(samples, old, new))})
    return {"samples": floats(samples), "cases": cases}


def log_of(values, log, power):
    """By librosa, where it has it."""
    if log is None:
        return values
    values = values + log.get("offset", 0.0)
    floor = log.get("floor", 1e-10)
    reference = log.get("reference", {"value": 1.0})
    reference = values.max() if reference == "max" else reference["value"]
    top = log.get("range")
    if log["scale"] == "decibel":
        of = librosa.power_to_db if power == 2 else librosa.amplitude_to_db
        return of(values, ref=reference, amin=floor, top_db=top)
    of = np.log if log["scale"] == "natural" else np.log10
    made = of(np.maximum(values, floor)) - of(max(reference, floor))
    return made if top is None else np.maximum(made, made.max() - top)


def spectrogram(samples, rate, step):
    win = step.get("win_length", step["n_fft"])
    pad = {"reflect": "reflect", "constant": "constant"}[step.get("pad_mode", "reflect")]
    made = librosa.feature.melspectrogram(
        y=samples.astype(np.float64), sr=rate, n_fft=step["n_fft"], hop_length=step["hop_length"], win_length=win,
        window=step.get("window", "hann"), center=step.get("center", True), pad_mode=pad,
        power=float(step.get("power", 2)), n_mels=step["n_mels"], fmin=step.get("f_min", 0.0), fmax=step.get("f_max"),
        htk=step.get("mel_scale", "slaney") == "htk", norm={"slaney": "slaney", "none": None}[step.get("norm", "slaney")],
        dtype=np.float64,
    )
    made = log_of(made, step.get("log"), step.get("power", 2))
    if by := step.get("normalize"):
        made = (made - np.array(by["mean"], dtype=np.float32)[:, None].astype(np.float64)) / np.array(by["std"], dtype=np.float32)[:, None]
    made = made[:, : step.get("frames")]
    return made.T if step.get("layout") == "frames_mels" else made


def whisper(samples, rate):
    """The lines of transformers, from the mel spectrogram on."""
    mel = librosa.feature.melspectrogram(
        y=samples.astype(np.float64), sr=rate, n_fft=400, hop_length=160, window="hann", center=True,
        pad_mode="reflect", power=2.0, n_mels=80, fmin=0.0, fmax=8000.0, dtype=np.float64)
    log_spec = np.log10(np.maximum(mel, 1e-10))
    log_spec = log_spec[:, :-1]
    log_spec = np.maximum(log_spec, log_spec.max() - 8.0)
    return (log_spec + 4.0) / 4.0


def mels():
    short = {"n_fft": 64, "hop_length": 24, "n_mels": 10}
    steps = {
        "librosa, power": short,
        "librosa, decibel below the loudest": {**short, "log": {"scale": "decibel", "reference": "max", "range": 40.0}},
        "librosa, decibel of magnitude": {**short, "power": 1, "log": {"scale": "decibel", "reference": {"value": 0.5}, "floor": 1e-5}},
        "torchaudio": {**short, "mel_scale": "htk", "norm": "none", "win_length": 48, "log": {"scale": "natural", "offset": 1e-6}},
        "zeros around": {**short, "pad_mode": "constant", "window": "hamming", "f_min": 100.0, "f_max": 6000.0},
        "no centre": {**short, "center": False, "layout": "frames_mels", "log": {"scale": "log10", "floor": 1e-3}},
        "by band": {**short, "n_mels": 3, "log": {"scale": "natural"}, "normalize": {"mean": [-3.5, -4.25, -5.125], "std": [2.0, 1.5, 0.3]}},
        "an odd transform": {**short, "n_fft": 51, "hop_length": 17, "win_length": 20},
        "bands between two frequencies": {**short, "n_mels": 40},
    }
    cases = []
    for length in (500, 20):
        samples = sound(length)[:, 0].astype(np.float32)
        for name, step in steps.items():
            if length < step["n_fft"] and not step.get("center", True):
                continue
            made = spectrogram(samples, RATE, step)
            cases.append({"name": f"{name}, {length}", "samples": floats(samples), "step": step, "shape": list(made.shape), "values": floats(made)})
    samples = sound(1600)[:, 0].astype(np.float32)
    step = {
        "n_fft": 400, "hop_length": 160, "n_mels": 80, "f_max": 8000.0, "frames": 10,
        "log": {"scale": "log10", "range": 8.0}, "normalize": {"mean": [-4.0], "std": [4.0]},
    }
    made = whisper(samples, RATE)
    cases.append({"name": "Whisper", "samples": floats(samples), "step": step, "shape": list(made.shape), "values": floats(made)})
    return cases


def normalised():
    samples = (0.1 + 0.3 * sound(200)[:, 0]).astype(np.float32)
    wide = samples.astype(np.float64)
    made = (wide - wide.mean()) / np.sqrt(wide.var() + 1e-7)
    return {"samples": floats(samples), "zero_mean_unit_variance": floats(made), "peak": floats(librosa.util.normalize(wide))}


if __name__ == "__main__":
    check_tones()
    reference = {
        "rate": RATE, "files": list(files()), "resample": resampled(), "mel": mels(), "normalize": normalised(),
    }
    path = Path(__file__).with_name("audio.json")
    path.write_text(json.dumps(reference, separators=(",", ":")) + "\n")
    print(f"{path.name}: {path.stat().st_size} bytes")
