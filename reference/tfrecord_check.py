"""`atoll data convert` against another reader and writer of TFRecords, both ways.

  .venv-peers/bin/python reference/tfrecord_check.py [--atoll PROGRAM] [--data DIR] [--images N]

What we write is read by the PyPI package tfrecord (protobuf's own parser), its checksums by the package crc32c, its
masks by Pillow, and held against the COCO JSON through pycocotools: every field, every mask to the pixel, every byte of
the pictures. Then the package writes the same dataset, and what we make of it is held against that JSON. Without --data a
dataset is generated. Prints one JSON line; exits 1 at the first difference.
"""

import argparse
import contextlib
import hashlib
import io
import json
import pathlib
import struct
import subprocess
import sys
import tempfile

import crc32c
import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from tfrecord import example_pb2
from tfrecord.reader import tfrecord_iterator
from tfrecord.writer import TFRecordWriter

BOX_TOLERANCE = 2.0**-22  # of the image's side: the schema's boxes are float32


def check(condition, *what):
    if not condition:
        sys.exit("differs: " + " ".join(str(part) for part in what))


def checksums_hold(path):
    """Both of every record, which the package's reader does not look at."""
    data = path.read_bytes()
    at = records = 0
    while at < len(data):
        head = data[at : at + 8]
        (length,) = struct.unpack("<Q", head)
        body = data[at + 12 : at + 12 + length]
        check(data[at + 8 : at + 12] == TFRecordWriter.masked_crc(head), path, at, "length's checksum")
        check(data[at + 12 + length : at + 16 + length] == TFRecordWriter.masked_crc(body), path, at, "checksum")
        at += 16 + length
        records += 1
    return records


def load(path):
    with contextlib.redirect_stdout(io.StringIO()):  # it talks while it loads
        return COCO(str(path))


def values(example, name):
    feature = example.features.feature[name]
    return list(getattr(feature, feature.WhichOneof("kind")).value) if feature.WhichOneof("kind") else []


def read_records(pattern_folder, prefix):
    for path in sorted(pattern_folder.glob(f"{prefix}-*.tfrecord")):
        records = checksums_hold(path)
        for view in tfrecord_iterator(str(path)):
            yield example_pb2.Example.FromString(bytes(view))
            records -= 1
        check(records == 0, path, "number of records")


def mask_of(coco, annotation):  # polygons, runs or a crowd's list of runs
    return coco.annToMask(annotation)


def compare_record(coco, image, picture, example):
    name, width, height = image["file_name"], image["width"], image["height"]
    check(values(example, "image/filename") == [name.encode()], name, "filename")
    check(values(example, "image/source_id") == [str(image["id"]).encode()], name, "source_id")
    check(values(example, "image/height") == [height] and values(example, "image/width") == [width], name, "size")
    check(values(example, "image/encoded") == [picture], name, "picture")
    check(values(example, "image/key/sha256") == [hashlib.sha256(picture).hexdigest().encode()], name, "sha256")
    form = Image.open(io.BytesIO(picture)).format.lower()
    check(values(example, "image/format") == [form.encode()], name, "format")
    annotations = coco.imgToAnns[image["id"]]
    names = {c["id"]: c["name"].encode() for c in coco.dataset["categories"]}
    check(values(example, "image/object/class/label") == [a["category_id"] for a in annotations], name, "labels")
    check(values(example, "image/object/class/text") == [names[a["category_id"]] for a in annotations], name, "texts")
    check(values(example, "image/object/is_crowd") == [a["iscrowd"] for a in annotations], name, "is_crowd")
    areas = [float(np.float32(a["area"])) for a in annotations]
    check(values(example, "image/object/area") == areas, name, "areas")
    for key, number, side in (("xmin", 0, width), ("ymin", 1, height)):
        low = values(example, f"image/object/bbox/{key}")
        high = values(example, f"image/object/bbox/{key[0]}max")
        check(len(low) == len(high) == len(annotations), name, "boxes")
        for a, l, h in zip(annotations, low, high):
            check(abs(l * side - a["bbox"][number]) <= side * BOX_TOLERANCE, name, a["id"], key)
            check(abs((h - l) * side - a["bbox"][number + 2]) <= side * BOX_TOLERANCE, name, a["id"], key)
    pngs = values(example, "image/object/mask")
    check(len(pngs) == len(annotations), name, "masks")
    for a, png in zip(annotations, pngs):
        mask = np.asarray(Image.open(io.BytesIO(png)))
        check(mask.dtype == np.uint8 and set(np.unique(mask)) <= {0, 1}, name, a["id"], "mask's values")
        check(np.array_equal(mask, mask_of(coco, a)), name, a["id"], "mask")
    return len(annotations)


def check_what_we_write(coco, pictures, records):
    images, objects = coco.dataset["images"], 0
    examples = list(read_records(records, "train"))
    check(len(examples) == len(images), "number of images")
    for image, example in zip(images, examples):
        objects += compare_record(coco, image, (pictures / image["file_name"]).read_bytes(), example)
    return len(images), objects


def write_with_the_package(coco, pictures, folder):
    writer = TFRecordWriter(str(folder / "train.record-00000-of-00001"))
    names = {c["id"]: c["name"].encode() for c in coco.dataset["categories"]}
    for image in coco.dataset["images"]:
        annotations = coco.imgToAnns[image["id"]]
        pngs = []
        for a in annotations:
            out = io.BytesIO()
            Image.fromarray(mask_of(coco, a)).save(out, "PNG")
            pngs.append(out.getvalue())
        boxes = np.array([a["bbox"] for a in annotations], np.float64).reshape(-1, 4)
        size = np.array([image["width"], image["height"]])
        low, high = boxes[:, :2] / size, (boxes[:, :2] + boxes[:, 2:]) / size
        writer.write(
            {
                "image/height": (image["height"], "int"),
                "image/width": (image["width"], "int"),
                "image/filename": (image["file_name"].encode(), "byte"),
                "image/source_id": (str(image["id"]).encode(), "byte"),
                "image/encoded": ((pictures / image["file_name"]).read_bytes(), "byte"),
                "image/object/bbox/xmin": (low[:, 0], "float"),
                "image/object/bbox/xmax": (high[:, 0], "float"),
                "image/object/bbox/ymin": (low[:, 1], "float"),
                "image/object/bbox/ymax": (high[:, 1], "float"),
                "image/object/class/label": ([a["category_id"] for a in annotations], "int"),
                "image/object/class/text": ([names[a["category_id"]] for a in annotations], "byte"),
                "image/object/is_crowd": ([a["iscrowd"] for a in annotations], "int"),
                "image/object/area": ([a["area"] for a in annotations], "float"),
                "image/object/mask": (pngs, "byte"),
            }
        )
    writer.close()


def check_what_we_read(coco, pictures, back):
    got = load(back / "annotations" / "instances_train2017.json")
    check([i["id"] for i in got.dataset["images"]] == [i["id"] for i in coco.dataset["images"]], "image ids")
    for image in coco.dataset["images"]:
        name = image["file_name"]
        check((back / "train2017" / name).read_bytes() == (pictures / name).read_bytes(), name, "picture")
        before, after = coco.imgToAnns[image["id"]], got.imgToAnns[image["id"]]
        check(len(before) == len(after), name, "number of objects")
        for a, b in zip(before, after):
            check(a["category_id"] == b["category_id"] and a["iscrowd"] == b["iscrowd"], name, a["id"], "class")
            check(b["area"] == float(np.float32(a["area"])), name, a["id"], "area")
            check(np.array_equal(mask_of(coco, a), mask_of(got, b)), name, a["id"], "mask")
            for number in range(4):
                side = (image["width"], image["height"])[number % 2]
                check(abs(a["bbox"][number] - b["bbox"][number]) <= side * BOX_TOLERANCE, name, a["id"], "bbox")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    root = pathlib.Path(__file__).parent.parent
    parser.add_argument("--atoll", default=str(root / "build/release/bin/atoll"))
    parser.add_argument("--data", type=pathlib.Path, help="in COCO's layout, its train2017 is used")
    parser.add_argument("--images", type=int, default=60, help="to generate without --data")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)

        def atoll(*arguments):
            subprocess.run([options.atoll, *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)

        data = options.data
        if data is None:
            data = folder / "coco"
            atoll("synth", "--out", data, "--images", options.images, "--val-images", 1, "--size", 160)
        coco = load(data / "annotations" / "instances_train2017.json")
        pictures = data / "train2017"
        atoll("data", "convert", "--data", data, "--out", f"tfrecord:{folder / 'ours'}", "--shards", 7)
        images, objects = check_what_we_write(coco, pictures, folder / "ours")
        (folder / "theirs").mkdir()
        write_with_the_package(coco, pictures, folder / "theirs")
        atoll("data", "convert", "--data", f"tfrecord:{folder / 'theirs'}", "--out", folder / "back")
        check_what_we_read(coco, pictures, folder / "back")
    print(json.dumps({"check": "tfrecord", "images": images, "objects": objects, "differences": 0}))


if __name__ == "__main__":
    main()
