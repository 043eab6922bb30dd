"""What ends `./run demo`: demo/check.py on folders as the demo leaves them, and on ones where something is missing."""

import json
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

CHECK = Path(__file__).parent.parent / "demo/check.py"
LEFT = {  # file, and what is said where it is missing
    "config.toml": "config.toml",
    "metrics.jsonl": "metrics.jsonl",
    "events.out.tfevents.1700000000.host": "events.out.tfevents.*",
    "model.safetensors": "model.safetensors",
    "checkpoints/step-00001000.manifest.json": "checkpoints/step-*.manifest.json",
    "checkpoints/step-00001000.shard-00000-of-00002.safetensors": "checkpoints/step-*.safetensors",
    "predictions.json": "predictions.json",
    "pictures/01_7.jpg": "pictures/*.jpg",
    "predicted/predictions.json": "predicted/predictions.json",
    "predicted/pictures/000000000001.jpg": "predicted/pictures/*.jpg",
}


class DemoCheck(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.out = Path(folder.name)
        for name in LEFT:
            self.write(name, "x")
        self.write("trace.json", '{"traceEvents": []}')
        self.write_numbers(0.65)

    def write(self, name, text):
        path = self.out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def write_numbers(self, ap):
        self.write("eval.json", json.dumps({kind: {"stats": [ap] * 12} for kind in ("bbox", "segm")}))

    def faults(self):
        result = subprocess.run([sys.executable, CHECK, self.out], capture_output=True, text=True, timeout=60)
        lines = result.stderr.splitlines()
        self.assertEqual(result.returncode, 1 if lines else 0, result.stderr)
        return lines

    def test_a_whole_folder_passes(self):
        self.assertEqual(self.faults(), [])

    def test_each_missing_thing_is_one_line(self):
        for name, told in {**LEFT, "trace.json": "trace.json", "eval.json": "eval.json"}.items():
            text = (self.out / name).read_text()
            (self.out / name).unlink()
            lines = self.faults()
            self.assertEqual(len(lines), 1, lines)
            self.assertIn(f" {self.out / told}: ", lines[0])
            self.write(name, text)
        (self.out / "config.toml").write_text("")
        (self.out / "metrics.jsonl").unlink()
        self.assertEqual(len(self.faults()), 2)

    def test_a_cut_trace_is_told(self):
        self.write("trace.json", '{"traceEvents": [')
        self.assertRegex("\n".join(self.faults()), "^run: .*/trace.json is no JSON: ")

    def test_an_ap_below_the_promise_is_told(self):
        self.write_numbers(0.59)
        self.assertEqual(self.faults(), ["run: segm AP 0.590 is below the 0.60 that the demo promises"])


if __name__ == "__main__":
    unittest.main()
