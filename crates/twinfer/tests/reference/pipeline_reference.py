"""Makes `pipeline.json`: what the pipeline's steps must give, by the code that they follow.

Pictures: Pillow. Resizing: OpenCV (`bilinear`), Pillow (`triangle`), the definition in numpy
(`nearest`). Bytes and decisions: the `magika` package. Suppression: OpenCV.

    python -m venv venv
    venv/bin/pip install numpy==2.4.6 pillow==13.0.0 opencv-python-headless==5.0.0.93 magika==1.0.3
    venv/bin/python crates/twinfer/tests/reference/pipeline_reference.py

Everything is seeded; another run writes the same file.
"""

import base64
import io
import json
from pathlib import Path

import cv2
import numpy as np
from magika import Magika
from magika.types import ContentTypeLabel, PredictionMode
from magika.types.seekable import Seekable
from PIL import Image, ImageOps

rng = np.random.default_rng(20261125)
EXIF_ORIENTATION = 0x0112


def b64(data):
    return base64.b64encode(bytes(data)).decode()


def smooth(width, height, channels=3):
    """A picture with edges and gradients, as photos have them."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    planes = []
    for c in range(channels):
        plane = 120 + 90 * np.sin(x / (3 + c)) * np.cos(y / (4 - c)) + 40 * ((x + y) % 11 > 5)
        planes.append(np.clip(plane, 0, 255))
    return np.stack(planes, axis=-1).round().astype(np.uint8)


def encode(image, format, **options):
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


def picture(name, file, tolerance, expected=None, **more):
    """One case. `tolerance` is in levels of 0 to 255: 0 where the format is exact."""
    if expected is None:
        expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(file))).convert("RGB"))
    height, width, _ = expected.shape
    return {
        "name": name, "file": b64(file), "width": width, "height": height,
        "rgb": b64(expected.astype(np.uint8).tobytes()), "tolerance": tolerance, **more,
    }


def pictures():
    rgb = smooth(29, 19)
    image = Image.fromarray(rgb)
    alpha = Image.fromarray(rng.integers(0, 256, (19, 29), dtype=np.uint8))
    rgba = image.copy()
    rgba.putalpha(alpha)
    grey = image.convert("L")
    grey_alpha = grey.copy()
    grey_alpha.putalpha(alpha)
    yield picture("png rgb", encode(image, "PNG"), 0)
    # Dropping alpha is not what Pillow does for a transparent palette, but is for these.
    yield picture("png rgba", encode(rgba, "PNG"), 0, rgb)
    yield picture("png grey", encode(grey, "PNG"), 0)
    yield picture("png grey alpha", encode(grey_alpha, "PNG"), 0)
    yield picture("png palette", encode(image.quantize(16), "PNG"), 0)
    yield picture("png palette with transparency", encode(image.quantize(16), "PNG", transparency=3), 0)
    yield picture("png 1 bit", encode(image.convert("1"), "PNG"), 0)
    frames = [image, image.transpose(Image.Transpose.ROTATE_180)]
    yield picture("png animation", encode(frames[0], "PNG", save_all=True, append_images=frames[1:]), 0)
    wide = rng.integers(0, 65536, (19, 29, 3), dtype=np.uint16)
    wide[0, :5] = [[0] * 3, [65535] * 3, [128] * 3, [129] * 3, [65406] * 3]
    ok, png = cv2.imencode(".png", wide[:, :, ::-1])
    assert ok
    yield picture("png 16 bit rgb", png.tobytes(), 0, (wide.astype(np.uint32) + 128) // 257)
    ok, png = cv2.imencode(".png", wide[:, :, 0])
    assert ok
    narrow = (wide[:, :, :1].astype(np.uint32) + 128) // 257
    yield picture("png 16 bit grey", png.tobytes(), 0, narrow.repeat(3, axis=2))

    # Ours rounds as libjpeg-turbo does: the same pixels.
    for name, subsampling in (("444", 0), ("422", 1), ("420", 2)):
        for kind, progressive in (("baseline", False), ("progressive", True)):
            file = encode(image, "JPEG", quality=80, subsampling=subsampling, progressive=progressive)
            yield picture(f"jpeg {name} {kind}", file, 0)
    yield picture("jpeg grey", encode(grey, "JPEG", quality=80), 0)
    yield picture("jpeg cmyk", encode(image.convert("CMYK"), "JPEG", quality=90), 0)
    yield picture("jpeg with restarts", encode(image, "JPEG", quality=80, restart_marker_blocks=2), 0)
    yield picture("jpeg without transform", encode(image, "JPEG", quality=80, keep_rgb=True), 0)
    for name in ("440", "411"):
        factor = getattr(cv2, f"IMWRITE_JPEG_SAMPLING_FACTOR_{name}")
        ok, file = cv2.imencode(".jpg", rgb[:, :, ::-1], [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, factor])
        assert ok
        yield picture(f"jpeg {name}", file.tobytes(), 0)
    for width, height in ((1, 1), (2, 3), (3, 2), (16, 16), (17, 33)):
        for subsampling in (1, 2):
            small = Image.fromarray(smooth(width, height))
            file = encode(small, "JPEG", quality=60, subsampling=subsampling, progressive=subsampling == 1)
            yield picture(f"jpeg {width} x {height} {subsampling}", file, 0)
    noise = Image.fromarray(np.random.default_rng(7).integers(0, 256, (40, 50, 3), dtype=np.uint8))
    for quality in (5, 50, 100):
        yield picture(f"jpeg noise {quality}", encode(noise, "JPEG", quality=quality), 0)

    yield picture("webp lossless", encode(image, "WEBP", lossless=True), 0)
    yield picture("webp lossless alpha", encode(rgba, "WEBP", lossless=True, exact=True), 0, rgb)
    yield picture("webp lossy", encode(image, "WEBP", quality=80), 2)
    yield picture("webp animation", encode(image, "WEBP", lossless=True, save_all=True, append_images=frames[1:]), 0)

    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[EXIF_ORIENTATION] = orientation
        yield picture(f"png orientation {orientation}", encode(image, "PNG", exif=exif), 0)
        yield picture(f"webp orientation {orientation}", encode(image, "WEBP", lossless=True, exif=exif), 0)
        yield picture(f"jpeg orientation {orientation}", encode(image, "JPEG", quality=80, exif=exif), 0)


def resizes():
    source = rng.integers(0, 256, (17, 23, 3), dtype=np.uint8)
    floats = source.astype(np.float32)
    cases = []
    for width, height in ((7, 5), (31, 26), (23, 17), (1, 1), (46, 3), (3, 34)):
        nearest_y = np.floor((np.arange(height) + 0.5) * 17 / height).astype(int).clip(0, 16)
        nearest_x = np.floor((np.arange(width) + 0.5) * 23 / width).astype(int).clip(0, 22)
        planes = [
            np.asarray(Image.fromarray(floats[:, :, c]).resize((width, height), Image.Resampling.BILINEAR))
            for c in range(3)
        ]
        results = {
            "nearest": floats[nearest_y][:, nearest_x],
            "bilinear": cv2.resize(floats, (width, height), interpolation=cv2.INTER_LINEAR),
            "triangle": np.stack(planes, axis=-1),
        }
        for name, result in results.items():
            assert result.shape == (height, width, 3)
            cases.append({
                "filter": name, "width": width, "height": height,
                "values": b64(result.astype("<f4").tobytes()),
            })
    return {"width": 23, "height": 17, "rgb": b64(source.tobytes()), "cases": cases}


def bytes_cases():
    """Small blocks, so that every rule is met by little content."""
    begin, end, block, padding, below = 12, 10, 24, 256, 4
    contents = [
        b"", b"a", b"abc", b"abcd", b"\xff\xfe", "é".encode(), "é".encode()[:1], b"   ", b" \t\n\r\x0b\x0c ",
        b"   abc", b"abc   ", b"   abcd", b"  ab \xff  ", b"\x1c\x1d\x85 abcd \x00\x1c", b"\x00\x00\x00\x00\x00",
        bytes(range(12)), bytes(range(40, 40 + 24)), bytes(range(100, 140)), b" " * 24 + b"abcdefgh",
        b"abcdefgh" + b" " * 30, b" " * 23 + "é".encode() + b"abcdef", b"x" * 100, b"\n" * 100 + b"y",
        bytes(range(256)), b"ab  cd  ef  gh  ij  kl  mn  op  qr  ",
    ]
    contents += [rng.integers(0, 256, n, dtype=np.uint8).tobytes() for n in (5, 11, 12, 13, 23, 24, 25, 50, 300)]
    contents += [rng.choice(list(b" \t\nab\xc3\xa9"), n).astype(np.uint8).tobytes() for n in (4, 8, 16, 30, 60, 61, 62)]
    cases = []
    magika = object.__new__(Magika)
    for content in contents:
        seekable = Seekable(io.BytesIO(content))
        case = {"content": b64(content)}
        features = Magika._extract_features_from_seekable(seekable, begin, 0, end, padding, block, False)
        few = None
        if len(content) == 0:
            few = "empty"
        elif len(content) < below:
            few = str(magika._get_label_from_few_bytes(content))
        elif features.beg[below - 1] == padding:
            few = str(magika._get_label_from_few_bytes(seekable.read_at(0, min(len(content), block))))
        if few is None:
            case["tokens"] = features.beg + features.end
        else:
            case["label"] = few
        cases.append(case)
    return {"begin": begin, "end": end, "block": block, "padding": padding, "below": below, "cases": cases}


def decisions():
    magika = Magika()
    config = magika._model_config
    labels = [str(label) for label in config.target_labels_space]
    extra = sorted({"txt", "unknown"} - set(labels))
    cases = []
    for label in ("pdf", "python", "markdown", "crt", "randombytes", "randomtxt", "txt", "latex", "zig"):
        thresholds = [config.medium_confidence_threshold, config.thresholds.get(ContentTypeLabel(label), 0.5)]
        scores = {float(np.float32(score)) for score in (0.01, 0.3, 0.999, 1.0)}
        for threshold in thresholds:
            at = np.float32(threshold)
            scores |= {float(at), float(np.nextafter(at, np.float32(0))), float(np.nextafter(at, np.float32(1)))}
        for mode in PredictionMode:
            magika._prediction_mode = mode
            for score in sorted(scores):
                output, reason = magika._get_output_label_from_dl_label_and_score(ContentTypeLabel(label), score)
                cases.append({
                    "model_label": label, "mode": str(mode), "score": score,
                    "label": str(output), "reason": str(reason),
                })
    return {
        "labels": [
            {"name": label, "text": True} if magika._get_ct_info(ContentTypeLabel(label)).is_text else {"name": label}
            for label in labels + extra
        ],
        "classes": len(labels),
        "threshold": config.medium_confidence_threshold,
        "thresholds": {str(k): v for k, v in config.thresholds.items()},
        "overwrite": {str(k): str(v) for k, v in config.overwrite_map.items()},
        "cases": cases,
    }


def suppression():
    """Boxes as left, top, right, bottom from 0 to 1, and which stay, the best first."""
    corner = rng.uniform(0, 0.8, (120, 2))
    size = rng.uniform(0.05, 0.2, (120, 2))
    boxes = np.hstack([corner, corner + size]).astype(np.float32)
    scores = rng.permutation(np.linspace(0.05, 0.99, 120)).astype(np.float32)
    cases = []
    for score_threshold, iou_threshold in ((0.0, 0.3), (0.5, 0.5), (0.0, 0.05), (0.7, 0.0), (0.0, 1.0)):
        rects = np.hstack([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]]).astype(np.float64)
        kept = cv2.dnn.NMSBoxes(rects.tolist(), scores.tolist(), score_threshold, iou_threshold)
        cases.append({
            "score_threshold": score_threshold, "iou_threshold": iou_threshold,
            "kept": [int(i) for i in kept],
        })
    return {"boxes": b64(boxes.astype("<f4").tobytes()), "scores": b64(scores.astype("<f4").tobytes()), "cases": cases}


if __name__ == "__main__":
    reference = {
        "pictures": list(pictures()), "resize": resizes(), "bytes": bytes_cases(),
        "decision": decisions(), "suppression": suppression(),
    }
    path = Path(__file__).with_name("pipeline.json")
    path.write_text(json.dumps(reference, ensure_ascii=False, separators=(",", ":")) + "\n")
    print(f"{path.name}: {path.stat().st_size} bytes")
