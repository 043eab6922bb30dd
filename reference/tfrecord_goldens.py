"""TFRecords by another writer: the golden files of src/dataset/tfrecord_golden_test.cpp.

  .venv-peers/bin/python reference/tfrecord_goldens.py

Written by the PyPI package tfrecord with Pillow's PNGs, as TensorFlow's create_coco_tf_record.py does: two shards,
and expected.json, the same as COCO JSON with pycocotools' runs. The masks come in every form in which a PNG can hold
one; what the schema lets a writer leave out is left out in one record each.
"""

import io
import json
import pathlib

import crc32c
import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask
from tfrecord import example_pb2
from tfrecord.writer import TFRecordWriter

FOLDER = pathlib.Path(__file__).parent / "goldens" / "tfrecord"
SEED = 20261124
CLASSES = {1: ("/m/01g317", "person"), 3: ("car", ""), 18: ("dog", ""), 90: ("unseen", "")}


def file_bytes(image, form, **options):
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def blob(rng, height, width):
    """A few discs, or nothing."""
    y, x = np.mgrid[:height, :width]
    mask = np.zeros((height, width), np.uint8)
    for _ in range(rng.integers(0, 4)):
        cy, cx, r = rng.random() * height, rng.random() * width, 1 + rng.random() * height / 3
        mask |= ((y - cy) ** 2 + (x - cx) ** 2 < r * r).astype(np.uint8)
    return mask


def grey(mask):  # create_coco_tf_record.py's form
    return file_bytes(Image.fromarray(mask), "PNG")


def bilevel(mask):
    return file_bytes(Image.fromarray(mask * 255).convert("1"), "PNG")


def palette(mask):
    image = Image.fromarray(mask).convert("P")
    image.putpalette([0, 0, 0, 200, 10, 10] + [0] * 762)
    return file_bytes(image, "PNG")


def colour(mask):
    return file_bytes(Image.fromarray(np.stack([0 * mask, mask * 7, 0 * mask], 2)), "PNG")


def alpha(mask):  # what is transparent is no background
    return file_bytes(Image.fromarray(np.stack([mask * 255, 255 - mask * 255], 2), "LA"), "PNG")


def deep(mask):  # 16 bits, of which the upper 8 are 0
    return file_bytes(Image.fromarray(mask.astype(np.uint16)), "PNG")


FORMS = [grey, bilevel, palette, colour, alpha, deep]


def float32(values):
    return [float(np.float32(v)) for v in values]


def make_record(rng, image_id, left_out=()):
    """The record's features for the writer, and what a reader should make of them."""
    height, width = int(rng.integers(9, 40)), int(rng.integers(9, 40))
    pixels = rng.integers(0, 255, (height // 4 + 1, width // 4 + 1, 3), np.uint8)
    picture = Image.fromarray(pixels).resize((width, height))
    form = "PNG" if image_id % 3 == 0 else "JPEG"
    encoded = file_bytes(picture, form, **({} if form == "PNG" else {"quality": 70}))
    name = f"{image_id:012}.{'png' if form == 'PNG' else 'jpg'}"
    masks = [blob(rng, height, width) for _ in range(int(rng.integers(0, 5)))]
    if left_out and not masks:
        masks = [blob(rng, height, width)]
    labels = [int(rng.choice([1, 3, 18])) for _ in masks]
    low, high = np.sort(rng.random((2, len(masks), 2)), 0)
    xmin, ymin, xmax, ymax = (float32(v) for v in (low[:, 0], low[:, 1], high[:, 0], high[:, 1]))
    crowds = [int(rng.random() < 0.2) for _ in masks]
    areas = float32(rng.random(len(masks)) * height * width)
    features = {
        "image/height": ([height], "int"),
        "image/width": ([width], "int"),
        "image/filename": ([name.encode()], "byte"),
        "image/source_id": ([str(image_id).encode()], "byte"),
        "image/key/sha256": ([b"not looked at"], "byte"),
        "image/encoded": ([encoded], "byte"),
        "image/format": ([form.lower().encode()], "byte"),
        "image/object/bbox/xmin": (xmin, "float"),
        "image/object/bbox/xmax": (xmax, "float"),
        "image/object/bbox/ymin": (ymin, "float"),
        "image/object/bbox/ymax": (ymax, "float"),
        "image/object/class/label": (labels, "int"),
        "image/object/class/text": ([CLASSES[k][0].encode() for k in labels], "byte"),
        "image/object/is_crowd": (crowds, "int"),
        "image/object/area": (areas, "float"),
        "image/object/mask": ([FORMS[(image_id + i) % len(FORMS)](m) for i, m in enumerate(masks)], "byte"),
        "image/caption": ([b"another feature"], "byte"),
    }
    objects = []
    for i, mask in enumerate(masks):
        rle = coco_mask.encode(np.asfortranarray(mask))
        x, y = xmin[i] * width, ymin[i] * height
        objects.append(
            {
                "image_id": image_id,
                "category_id": labels[i],
                "iscrowd": 0 if "crowd" in left_out else crowds[i],
                "bbox": [x, y, xmax[i] * width - x, ymax[i] * height - y],
                "area": float(coco_mask.area(rle)) if "area" in left_out else areas[i],
                "segmentation": {"size": [height, width], "counts": rle["counts"].decode()},
            }
        )
        if "bbox" in left_out:
            objects[-1]["bbox"] = [float(v) for v in coco_mask.toBbox(rle)]
    for key in list(features):
        if any(part in key for part in left_out):
            del features[key]
    return features, {"id": image_id, "file_name": name, "width": width, "height": height}, objects


def serialised(features):
    """By the package's writer; the order of a map's entries differs from run to run, so it is fixed here."""
    example = example_pb2.Example.FromString(TFRecordWriter.serialize_tf_example(features))
    return example.SerializeToString(deterministic=True)


def write_shard(path, records):
    writer = TFRecordWriter(str(path))
    for record in records:
        length = len(record).to_bytes(8, "little")
        for part in (length, writer.masked_crc(length), record, writer.masked_crc(record)):
            writer.file.write(part)
    writer.close()


def main():
    assert crc32c.crc32c(b"123456789") == 0xE3069283
    FOLDER.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(SEED)
    left_out = {4: ["crowd"], 5: ["area"], 6: ["bbox"], 7: ["height", "width"], 8: ["text"], 9: ["label"]}
    shards, images, annotations = [[], []], [], []
    for image_id in range(1, 13):
        features, image, objects = make_record(rng, image_id, left_out.get(image_id, ()))
        shards[(image_id - 1) // 6].append(serialised(features))
        images.append(image)
        for one in objects:
            annotations.append({"id": len(annotations) + 1} | one)
    for number, records in enumerate(shards):
        write_shard(FOLDER / f"train-{number:05}-of-00002.tfrecord", records)
    items = [
        f"item {{\n  id: {key}\n  name: '{name}'\n" + (f"  display_name: '{shown}'\n" if shown else "") + "}\n"
        for key, (name, shown) in CLASSES.items()
    ]
    (FOLDER / "label_map.pbtxt").write_text("".join(items))
    expected = {
        "info": {"seed": SEED, "writer": "tfrecord 1.14.6"},
        "categories": [{"id": key, "name": shown or name} for key, (name, shown) in CLASSES.items()],
        "images": images,
        "annotations": annotations,
    }
    (FOLDER / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    main()
