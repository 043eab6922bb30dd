"""The cases of bench/storage.py that train: `atoll train` to its first step, and the trainer's loader at a step's pace."""

import json
import os
import shutil
import signal
import subprocess
import time

from s3_world import run
from storage_turns import BUCKET, MB, Turns

BASE_IMAGES = 1000


def base_images(world, size):
    """Generated shapes of this size, made once: the folder."""
    folder = world.folder.parent / f"storage-shapes-{size}"
    if not (folder / "made").exists():
        shutil.rmtree(folder, ignore_errors=True)
        run([world.atoll, "synth", "--out", folder, "--images", BASE_IMAGES, "--size", size, "--seed", 7])
        (folder / "made").touch()
    return folder


def repeated(folder, count):
    """COCO annotations of `count` images, 000000.jpg and so on, which are the base's again and again."""
    base = json.loads((folder / "annotations/instances_train2017.json").read_text())
    by_image = {}
    for annotation in base["annotations"]:
        by_image.setdefault(annotation["image_id"], []).append(annotation)
    files = [folder / "train2017" / image["file_name"] for image in base["images"]]
    suffix = files[0].suffix
    images, annotations = [], []
    for i in range(count):
        image = base["images"][i % len(base["images"])]
        images.append({**image, "id": i + 1, "file_name": f"{i:06}{suffix}"})
        for annotation in by_image.get(image["id"], ()):
            annotations.append({**annotation, "id": len(annotations) + 1, "image_id": i + 1})
    return files, {"images": images, "annotations": annotations, "categories": base["categories"]}


def upload(world, prefix, folder, count):
    """The dataset as s3://bench/PREFIX, laid out as COCO is."""
    files, document = repeated(folder, count)
    text = world.folder / "annotations.json"
    text.write_text(json.dumps(document))
    world.raw("make", BUCKET, url=world.server_url)
    world.raw("copy", BUCKET, f"{prefix}/train2017", count, *files, url=world.server_url)
    world.raw("put", BUCKET, f"{prefix}/annotations/instances_train2017.json", text, url=world.server_url)
    return text.stat().st_size


def first_step_seconds(world, data, cache):
    out = world.fresh("run")
    # The whole of it: blocks, the bucket's listing, the annotations' index.
    environment = {**world.environment(), "XDG_CACHE_HOME": str(cache)}
    command = [world.atoll, "train", "--preset", "tiny", "--data", data, "--out", out]
    command += ["--set", "train.steps=1", "--set", "train.checkpoint_every=1000"]
    begin = time.perf_counter()
    process = subprocess.Popen(
        [str(word) for word in command], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    metrics = out / "metrics.jsonl"
    try:
        while process.poll() is None:
            if metrics.exists() and '"step"' in metrics.read_text():
                return time.perf_counter() - begin
            time.sleep(0.005)
    finally:
        process.send_signal(signal.SIGTERM)
        errors = process.communicate()[1]
    raise SystemExit(f"atoll train ended before its first step: {errors.strip()}")


def first_step(world, options):
    """`indexed`: as many, and `atoll data index` has put the index beside the annotations."""
    folder = base_images(world, 128)
    counts = {"few": BASE_IMAGES, "many": int(100 * BASE_IMAGES * options.scale)}
    counts["indexed"] = counts["many"]
    sizes = {name: upload(world, f"first-{name}", folder, count) for name, count in counts.items()}
    index = [world.atoll, "data", "index", "--data", f"s3://{BUCKET}/first-indexed"]
    index += ["--annotations", "annotations/instances_train2017.json"]
    run(index, env=world.environment(world.server_url))
    world.proxy.set(latency_ms=options.latency_ms)
    turns = Turns(world, options)
    for _ in range(options.rounds):
        for name in counts:
            with turns.turn(name):
                seconds = first_step_seconds(world, f"s3://{BUCKET}/first-{name}", world.fresh("cache-train"))
                turns.took(seconds)
    world.proxy.set(latency_ms=0)
    result = turns.result()
    seconds = result["seconds"]
    return {
        "images": counts,
        "annotations_mb": {name: size / MB for name, size in sizes.items()},
        "latency_ms": options.latency_ms,
        "many_of_few": seconds["many"] / seconds["few"],
        "indexed_of_few": seconds["indexed"] / seconds["few"],
        **result,
    }


def train(world, options):
    """Batches of eight by the trainer's loader, in its sampler's order; a step is 50 ms of doing nothing."""
    folder = base_images(world, 512)
    count, step_ms = max(64, int(2400 * options.scale)), 50
    upload(world, "train", folder, count)
    local = world.fresh("train-local")
    (local / "train2017").mkdir()
    files, document = repeated(folder, count)
    for i, image in enumerate(document["images"]):
        os.link(files[i % len(files)], local / "train2017" / image["file_name"])
    (local / "annotations").mkdir()
    (local / "annotations/instances_train2017.json").write_text(json.dumps(document))
    world.proxy.set(latency_ms=options.latency_ms)
    turns = Turns(world, options)
    program = [world.build / "bench/step_bench", "--step-ms", step_ms]
    for _ in range(options.rounds):
        with turns.turn("local"):
            answer = json.loads(run([*program, local]))
            turns.took(answer["seconds"], answer["check"])
        with turns.turn("cold"):
            environment = {**world.environment(), "ATOLL_CACHE_DIR": str(world.fresh("cache-train"))}
            answer = json.loads(run([*program, f"s3://{BUCKET}/train"], env=environment))
            turns.took(answer["seconds"], answer["check"])
    world.proxy.set(latency_ms=0)
    shutil.rmtree(local)
    return {
        "images": count,
        "step_ms": step_ms,
        "latency_ms": options.latency_ms,
        "images_per_s": {name: count / seconds for name, seconds in turns.result()["seconds"].items()},
        **turns.result(cold_of_local=("cold", "local")),
    }
