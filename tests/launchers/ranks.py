"""What the tests of launchers share: a small training, what print_place found, and the environments that the tests of src/job
take for real ones."""

import json
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
SKIPPED = 77  # as ctest knows it

# Where the same is to come out to the last bit, threads must not decide the order of a sum.
SMALL = ["--preset", "tiny", "--device", "cpu", "--batch", "4", "--threads", "1", "--seed", "3",
         *(f"--set={pair}" for pair in ("data.threads=1", "model.min_size_px=64", "model.max_size_px=64"))]


def make_data(atoll, folder):
    subprocess.run([atoll, "synth", "--out", folder, "--images", "8", "--val-images", "2", "--size", "64", "--seed", "3"],
                   check=True, capture_output=True)


def train_words(data, out, steps):
    return ["train", "--data", str(data), "--out", str(out), "--steps", str(steps), *SMALL]


def steps_of(out):
    path = Path(out) / "metrics.jsonl"
    lines = path.read_text().splitlines(True) if path.exists() else []
    return [json.loads(line)["step"] for line in lines if line.endswith("\n") and '"loss"' in line]


def places(folder):
    """What the ranks have left there, by rank."""
    found = {}
    for path in sorted(Path(folder).glob("*.json")):
        place = json.loads(path.read_text())
        variables = dict(entry.split("=", 1) for entry in place.pop("environment"))
        found[place["rank"]] = place, variables
    return found


def fixture(file, name):
    """The variables of a literal `Surroundings NAME{{{"A", "1"}, …` in src/job/FILE."""
    text = (ROOT / "src/job" / file).read_text()
    literal = re.search(rf"Surroundings {name}\{{\s*\{{\{{(.*?)\}}\}},\s*\{{\}}", text, re.DOTALL)
    if literal is None:
        raise AssertionError(f"src/job/{file} has no {name}")
    return dict(re.findall(r'\{?"(\w+)", "([^"]*)"\}?', literal[1]))
