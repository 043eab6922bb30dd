"""Small picture files of the rarer sorts, and the pixels that Pillow finds in them: goldens/images.json.

  .venv-peers/bin/python reference/image_goldens.py

Files that Pillow cannot write are made from ones that it can (a CMYK JPEG says YCCK by one byte of its Adobe
marker), or chunk by chunk (PNGs that are interlaced or have 16 bits).
"""
import io
import json
import pathlib
import struct
import warnings
import zlib

import numpy as np
import PIL
from PIL import Image, features

SEED = 14
# Wider than one block and one MCU, and no multiple of either.
WIDTH, HEIGHT = 21, 13
GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6
CHANNELS = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGBA: 4}
# Adam7: first column, first row, step across, step down.
PASSES = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]


def noise(random, channels):
    return random.integers(0, 256, (HEIGHT, WIDTH, channels), dtype=np.uint8)


def jpeg(pixels, mode, **options):
    file = io.BytesIO()
    Image.fromarray(pixels, mode).save(file, "JPEG", quality=90, **options)
    return bytearray(file.getvalue())


def with_adobe_transform(file, transform):
    """0: components as they are, 1: YCbCr, 2: YCCK."""
    marker = file.index(b"\xff\xee\x00\x0eAdobe")
    file[marker + 15] = transform
    return file


def with_plain_component_ids(file):
    """1, 2, 3 in place of R, G, B, so that nothing but the Adobe marker says what the components are."""
    frame = file.index(b"\xff\xc0")
    scan = file.index(b"\xff\xda")
    for i in range(3):
        file[frame + 10 + 3 * i] = i + 1
        file[scan + 5 + 2 * i] = i + 1
    return file


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def packed_rows(samples, bits):
    """(height, width, channels) as PNG stores it, each row with filter type 0 before it."""
    rows = b""
    for row in samples.reshape(len(samples), -1):
        if bits == 16:
            rows += b"\0" + row.astype(">u2").tobytes()
        else:
            digits = "".join(f"{value:0{bits}b}" for value in row)
            digits += "0" * (-len(digits) % 8)
            rows += b"\0" + bytes(int(digits[i:i + 8], 2) for i in range(0, len(digits), 8))
    return rows


def png(random, color, bits, interlaced, extra=b""):
    samples = random.integers(0, 1 << bits, (HEIGHT, WIDTH, CHANNELS[color]))
    if interlaced:
        parts = [samples[y::down, x::across] for x, y, across, down in PASSES]
        data = b"".join(packed_rows(part, bits) for part in parts if part.size)
    else:
        data = packed_rows(samples, bits)
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, bits, color, 0, 0, int(interlaced))
    chunks = chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(data, 9)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def files(random):
    colours = chunk(b"PLTE", random.integers(0, 256, 3 * 16, dtype=np.uint8).tobytes())
    clear = chunk(b"tRNS", bytes([0, 128, 255]))
    yield "CMYK JPEG", jpeg(noise(random, 4), "CMYK")
    yield "YCCK JPEG", with_adobe_transform(jpeg(noise(random, 4), "CMYK"), 2)
    yield "progressive YCCK JPEG", with_adobe_transform(jpeg(noise(random, 4), "CMYK", progressive=True), 2)
    yield "RGB JPEG by its Adobe marker and its ids", jpeg(noise(random, 3), "RGB", keep_rgb=True)
    yield "RGB JPEG by its Adobe marker alone", with_plain_component_ids(jpeg(noise(random, 3), "RGB", keep_rgb=True))
    for subsampling in ("4:4:4", "4:2:2", "4:2:0"):
        yield f"JPEG, {subsampling}", jpeg(noise(random, 3), "RGB", subsampling=subsampling)
    yield "progressive JPEG, 4:2:0", jpeg(noise(random, 3), "RGB", subsampling="4:2:0", progressive=True)
    yield "interlaced RGB PNG", png(random, RGB, 8, True)
    yield "interlaced RGBA PNG", png(random, RGBA, 8, True)
    yield "interlaced grey PNG", png(random, GREY, 8, True)
    yield "interlaced PNG of 4 bits with a palette", png(random, PALETTE, 4, True, colours)
    yield "PNG of 2 bits with a palette that is clear in parts", png(random, PALETTE, 2, False, colours + clear)
    yield "grey PNG of 1 bit", png(random, GREY, 1, False)
    yield "interlaced grey PNG of 2 bits", png(random, GREY, 2, True)
    yield "grey PNG with alpha", png(random, GREY_ALPHA, 8, False)
    yield "RGB PNG of 16 bits", png(random, RGB, 16, False)
    yield "interlaced RGB PNG of 16 bits", png(random, RGB, 16, True)
    yield "RGBA PNG of 16 bits", png(random, RGBA, 16, False)
    yield "grey PNG of 16 bits with alpha", png(random, GREY_ALPHA, 16, False)


def main():
    warnings.filterwarnings("ignore", "Palette images with Transparency")
    random = np.random.default_rng(SEED)
    cases = []
    for name, file in files(random):
        pixels = np.asarray(Image.open(io.BytesIO(file)).convert("RGB"))
        assert pixels.shape == (HEIGHT, WIDTH, 3), name
        cases.append({"name": name, "file": bytes(file).hex(), "rgb": pixels.tobytes().hex()})
    source = {"made_by": "reference/image_goldens.py", "seed": SEED, "pillow": PIL.__version__,
              "libjpeg_turbo": features.version("libjpeg_turbo"), "width": WIDTH, "height": HEIGHT}
    lines = ",\n".join(json.dumps(case) for case in cases)
    out = pathlib.Path(__file__).resolve().parent / "goldens" / "images.json"
    out.write_text(f'{{"source":{json.dumps(source)},"cases":[\n{lines}\n]}}\n')
    print(f"{len(cases)} pictures -> {out}")


if __name__ == "__main__":
    main()
