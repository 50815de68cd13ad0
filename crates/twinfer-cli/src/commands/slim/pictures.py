"""Makes pictures.json: small pictures of every kind that a visitor may choose (Pillow 13.0.0).

They are what a slim engine of a model for pictures is profiled with, beside its golden
examples: python3 pictures.py > pictures.json
"""

import base64
import io
import json
import math

from PIL import Image

WIDTH, HEIGHT = 45, 34


def picture(mode: str) -> Image.Image:
    """A gradient with an edge and some texture, so that filters and predictors all have work."""
    image = Image.new("RGBA", (WIDTH, HEIGHT))
    for y in range(HEIGHT):
        for x in range(WIDTH):
            wave = int(60 * math.sin(x * 0.7) * math.cos(y * 0.5))
            edge = 90 if (x - 20) ** 2 + (y - 15) ** 2 < 90 else 0
            rgb = (x * 5 + wave, y * 7 + edge, (x * y) % 251)
            image.putpixel((x, y), tuple(max(0, min(255, v)) for v in rgb) + (255 - x,))
    return image.convert(mode)


def encoded(mode: str, kind: str, **options) -> str:
    target = io.BytesIO()
    picture(mode).save(target, kind, **options)
    return base64.b64encode(target.getvalue()).decode()


def turned(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif.tobytes()


PICTURES = {
    "png-rgb": encoded("RGB", "PNG"),
    "png-rgba": encoded("RGBA", "PNG"),
    "png-grey": encoded("L", "PNG"),
    "png-grey-alpha": encoded("LA", "PNG"),
    "png-palette": encoded("P", "PNG"),
    "png-bits": encoded("1", "PNG"),
    "jpeg": encoded("RGB", "JPEG", quality=80),
    "jpeg-444": encoded("RGB", "JPEG", quality=95, subsampling=0),
    "jpeg-422": encoded("RGB", "JPEG", quality=60, subsampling=1),
    "jpeg-progressive": encoded("RGB", "JPEG", progressive=True, optimize=True),
    "jpeg-grey": encoded("L", "JPEG"),
    "jpeg-cmyk": encoded("CMYK", "JPEG"),
    "jpeg-restart": encoded("RGB", "JPEG", restart_marker_blocks=4),
    **{f"jpeg-turned-{n}": encoded("RGB", "JPEG", exif=turned(n)) for n in range(2, 9)},
    "webp": encoded("RGB", "WEBP", quality=70),
    "webp-alpha": encoded("RGBA", "WEBP", quality=70),
    "webp-lossless": encoded("RGBA", "WEBP", lossless=True),
}

if __name__ == "__main__":
    print(json.dumps(PICTURES, indent=1))
