"""Pictures of text, drawn with the font inside Pillow, and photographs of the repository."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

PHOTOGRAPH = Path(__file__).parents[3] / "models/face-detector/pictures/group.jpg"
LINES = ["Twinfer runs the same model", "in the page and on the server.", "Invoice 2026-11: 1,204.50", "Thank you!"]


def line(text: str, height: int = 48, ink: int = 20, paper: int = 245) -> Image.Image:
    """A line of text with a little room around."""
    font = ImageFont.load_default(size=height * 0.62)
    width = int(font.getlength(text)) + height // 2
    picture = Image.new("RGB", (width, height), (paper, paper, paper - 8))
    ImageDraw.Draw(picture).text((height // 4, height * 0.12), text, (ink, ink, ink + 30), font)
    return picture


def page(width: int, height: int, columns: int = 1) -> Image.Image:
    """A page: a heading, columns of text, and a photograph at the end."""
    picture = Image.new("RGB", (width, height), (250, 250, 246))
    draw = ImageDraw.Draw(picture)
    size = max(14, width // 26)
    draw.text((width // 16, height // 40), "Quarterly report", (10, 10, 40), ImageFont.load_default(size=size * 1.7))
    room = width // columns
    end = height * 2 // 3
    font = ImageFont.load_default(size=size * (1.0 if columns == 1 else 0.6))
    for column in range(columns):
        top, number = height // 9, 0
        while top < end:
            draw.text((column * room + width // 16, top), LINES[number % len(LINES)], (30, 30, 30), font)
            top, number = top + size * 1.6, number + 1
    with Image.open(PHOTOGRAPH) as photograph:
        below = photograph.convert("RGB").resize((width * 3 // 4, height // 4), Image.Resampling.BILINEAR)
    picture.paste(below, (width // 8, height * 7 // 10))
    return picture


def photograph(width: int, height: int) -> Image.Image:
    with Image.open(PHOTOGRAPH) as picture:
        return picture.convert("RGB").resize((width, height), Image.Resampling.BILINEAR)


def planes(picture: Image.Image, mean, std) -> np.ndarray:
    """[1, 3, height, width] in FP32, blue first as OpenCV reads: what these models were trained with."""
    pixels = np.asarray(picture, np.float32)[:, :, ::-1] / np.float32(255)
    made = (pixels - np.array(mean, np.float32)) / np.array(std, np.float32)
    return np.ascontiguousarray(made.transpose(2, 0, 1)[None])


def strips(lines: list, width: int) -> np.ndarray:
    """Lines of 48 pixels' height in one batch, as wide as the widest may be, and zeros where they end."""
    made = np.zeros((len(lines), 3, 48, width), np.float32)
    for number, picture in enumerate(lines):
        kept = picture.resize((min(width, picture.width), 48), Image.Resampling.BILINEAR)
        made[number, :, :, : kept.width] = planes(kept, (0.5,) * 3, (0.5,) * 3)[0]
    return made
