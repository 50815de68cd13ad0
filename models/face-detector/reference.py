"""The reference of `face-detector`: makes golden.json and the pictures of its cases.

The steps are those of the detector's own `run_video_face_detect_onnx.py` (score over 0.7, hard
non-maximum suppression at 0.3, one class), with these differences, all of them stated in
twinfer.toml's terms:

- the picture is resized as floats (OpenCV's INTER_LINEAR; pixel centres at halves, no
  smoothing), not as bytes, whose fixed-point rounding is OpenCV's own;
- intersection over union has no 1e-5 in the denominator: with coordinates from 0 to 1 that is
  not small beside the area of a small face. `_keeps_the_same` makes sure that for all cases
  the original rule keeps the same boxes;
- boxes stay fractions of pixels and are clipped to the picture.

Run: python models/face-detector/reference.py
"""

import io
import sys
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
from PIL import Image, ImageOps

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parent))
import recipes  # noqa: E402

FILES = {
    "version-RFB-320.onnx": "34cd7e60aeff28744c657de7a3dc64e872d506741de66987f3426f2b79f88017",
    "pictures/group.jpg": "898e120bd162bd879649a9f26cce0feaf7fed5396db4766fac54ea6dd617829b",
}
PACKAGES = ("onnxruntime", "opencv-python-headless", "pillow", "numpy")
WIDTH, HEIGHT = 320, 240
SCORE, OVERLAP = 0.7, 0.3

# How far answers may be off where the pixels are the same.
EXACT = {"relative": 1e-5, "absolute": 1e-5}, (
    "the pixels are certain (PNG and lossless WebP by definition; lossy WebP came out the same from libwebp and "
    "image-webp, and JPEG from libjpeg-turbo and Twinfer, which rounds as it does): what is left is the order of "
    "additions in 52 convolutions in single precision"
)


def decode(data: bytes) -> np.ndarray:
    """Upright RGB pixels [height, width, 3]: alpha is dropped, not blended; grey is tripled."""
    picture = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    if "A" in picture.getbands():
        picture = Image.merge(picture.mode[:-1] if len(picture.mode) > 2 else "L", picture.split()[:-1])
    return np.asarray(picture.convert("RGB"))


def preprocess(pixels: np.ndarray) -> np.ndarray:
    """[1, 3, 240, 320], single precision."""
    resized = cv2.resize(pixels.astype(np.float32), (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)
    normal = (resized - np.float32(127)) / np.float32(128)
    return np.ascontiguousarray(normal.transpose(2, 0, 1)[None])


class Detector:
    def __init__(self):
        for name, expected in FILES.items():
            found = recipes.sha256((FOLDER / name).read_bytes())
            if found != expected:
                raise SystemExit(f"{name} has sha256 {found}, expected {expected}")
        path = FOLDER / "version-RFB-320.onnx"
        options = onnxruntime.SessionOptions()
        # The file lists its weights among the inputs; onnxruntime warns of each of the 244.
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def run(self, picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Scores [1, 4420, 2] and boxes [1, 4420, 4]."""
        return self.session.run(["scores", "boxes"], {"input": picture})


def overlap(a: np.ndarray, b: np.ndarray, added: float = 0.0) -> float:
    """Intersection over union of two boxes (left, top, right, bottom)."""
    def area(left, top, right, bottom):
        return max(right - left, 0.0) * max(bottom - top, 0.0)

    both = area(max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3]))
    return both / (area(*a) + area(*b) - both + added)


def suppress(scores: np.ndarray, boxes: np.ndarray, added: float = 0.0) -> list[int]:
    """Indices of the boxes that stay, the best first."""
    kept: list[int] = []
    for index in np.argsort(-scores, kind="stable"):
        if scores[index] > SCORE and all(overlap(boxes[k], boxes[index], added) <= OVERLAP for k in kept):
            kept.append(int(index))
    return kept


def postprocess(scores: np.ndarray, boxes: np.ndarray, width: int, height: int) -> list[dict]:
    """Boxes in pixels of the picture, the best first."""
    chance, corners = scores[0, :, 1], boxes[0].astype(np.float64)
    kept = suppress(chance, corners)
    _keeps_the_same(chance, corners, kept)
    result = []
    for index in kept:
        left, top, right, bottom = np.clip(corners[index] * ([width, height] * 2), 0, [width, height] * 2)
        result.append({"x": left, "y": top, "width": right - left, "height": bottom - top, "score": chance[index]})
    return [{key: float(value) for key, value in box.items()} for box in result]


def _keeps_the_same(chance: np.ndarray, corners: np.ndarray, kept: list[int]) -> None:
    if suppress(chance, corners, added=1e-5) != kept:
        raise SystemExit("the original rule (1e-5 added to the union) keeps other boxes: choose another picture")


def make_pictures(folder: Path) -> None:
    """The pictures of the cases, cut from group.jpg. They are checked in: encoders change from
    version to version. Only a picture that is not there is made."""
    group = Image.open(folder / "group.jpg")
    fade = Image.linear_gradient("L")
    fifth = group.crop((440, 200, 600, 320))

    def with_alpha(picture: Image.Image) -> Image.Image:
        return Image.merge("RGBA", (*picture.split(), fade.resize(picture.size)))

    exif = Image.Exif()
    exif[0x0112] = 6  # Stored lying; to be turned by a quarter clockwise.
    pictures = {
        "faces.png": (group.crop((200, 200, 440, 380)), {"optimize": True}),
        "no-face.png": (group.crop((0, 60, 110, 140)), {"optimize": True}),
        "tiny.png": (group.crop((320, 220, 328, 228)), {}),
        "grey.png": (fifth.convert("L"), {"optimize": True}),
        "palette.png": (fifth.quantize(64, dither=Image.Dither.NONE), {"optimize": True}),
        "alpha.png": (with_alpha(fifth), {"optimize": True}),
        "alpha-lossless.webp": (with_alpha(fifth), {"lossless": True, "exact": True}),
        "lossy.webp": (fifth, {"quality": 90}),
        "lying.jpg": (fifth.transpose(Image.Transpose.ROTATE_90), {"quality": 92, "subsampling": 0, "exif": exif}),
        "subsampled.jpg": (group.crop((200, 200, 440, 380)), {"quality": 90, "subsampling": 2}),
        "progressive.jpg": (fifth, {"quality": 92, "progressive": True, "subsampling": 0}),
    }
    for name, (picture, options) in pictures.items():
        if not (folder / name).exists():
            picture.save(folder / name, **options)


# Name of the case, its picture, its media type, how certain its pixels are.
CASES = (
    ("group-jpeg", "group.jpg", "image/jpeg", EXACT),
    ("six-faces-png", "faces.png", "image/png", EXACT),
    ("no-face", "no-face.png", "image/png", EXACT),
    ("tiny-8x8", "tiny.png", "image/png", EXACT),
    ("grey-png", "grey.png", "image/png", EXACT),
    ("palette-png", "palette.png", "image/png", EXACT),
    ("rgba-png", "alpha.png", "image/png", EXACT),
    ("rgba-lossless-webp", "alpha-lossless.webp", "image/webp", EXACT),
    ("lossy-webp", "lossy.webp", "image/webp", EXACT),
    ("exif-turned-jpeg", "lying.jpg", "image/jpeg", EXACT),
    ("progressive-jpeg", "progressive.jpg", "image/jpeg", EXACT),
    ("subsampled-jpeg", "subsampled.jpg", "image/jpeg", EXACT),
)
# The 4,420 scores and boxes before suppression are 140 kB of base64: for one case only.
WITH_TENSORS = "six-faces-png"


def golden() -> dict:
    detector = Detector()
    cases = []
    for name, file, media_type, (tolerance, reason) in CASES:
        pixels = decode((FOLDER / "pictures" / file).read_bytes())
        scores, boxes = detector.run(preprocess(pixels))
        height, width = pixels.shape[:2]
        expect = {"outputs": {"boxes": postprocess(scores, boxes, width, height)}}
        if name == WITH_TENSORS:
            expect["tensors"] = [recipes.tensor("scores", scores), recipes.tensor("boxes", boxes)]
        given = {"picture": {"file": f"pictures/{file}", "media_type": media_type}}
        cases.append({"name": name, "input": given, "expect": expect, "tolerance": tolerance, "reason": reason})
    return {"reference": recipes.versions(*PACKAGES), "cases": cases}


if __name__ == "__main__":
    make_pictures(FOLDER / "pictures")
    result = golden()
    recipes.write_json(FOLDER / "golden.json", result)
    for case in result["cases"]:
        print(f"face-detector: {case['name']}: {len(case['expect']['outputs']['boxes'])} faces")
