"""Several processes that train into one bucket, and meet in it: atoll launch, and atoll job run.
Usage: bucket_jobs_test.py ATOLL [unittest's options]"""

import os
import pathlib
import re
import signal
import subprocess
import time

import on_a_bucket
from on_a_bucket import ATOLL, OnABucket

PATIENCE_S = 100
MANIFEST = "manifest.json"
# The smallest network that is one, so that a step takes hundredths of a second.
SMALL = ["model.min_size_px=64", "model.max_size_px=64", "model.stem_width=8", "model.fpn_channels=16",
         "model.rpn_post_nms_top_n_train=50", "model.rpn_post_nms_top_n_test=20", "model.box_head_channels=32",
         "model.box_batch_per_image=16", "model.detections_per_image=10", "model.mask_conv_channels=[8]",
         "model.mask_deconv_channels=8", "train.global_batch=4", "train.base_batch=4"]


class Jobs(OnABucket):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        made = cls.run_atoll("synth", "--out", f"{cls.uri}/coco", "--images", 16, "--val-images", 4, "--size", 64, "--seed", 3)
        if made.returncode != 0:
            raise AssertionError(made.stderr)

    def train(self, out, steps, every):
        sets = [*SMALL, f"train.steps={steps}", f"train.checkpoint_every={every}", "train.keep_checkpoints=1000"]
        return ["train", "--preset", "tiny", "--data", f"{self.uri}/coco", "--out", f"{self.uri}/{out}", "--threads", "1",
                *(word for one in sets for word in ("--set", one))]

    def checkpoints(self, out):
        """The files of each checkpoint that is whole, by step."""
        files = {}
        for key in self.bucket.keys():
            found = re.fullmatch(rf"{out}/checkpoints/step-(\d+)\.(.+)", key)
            if found:
                files.setdefault(int(found[1]), []).append(found[2])
        return {step: sorted(names) for step, names in files.items() if MANIFEST in names}

    def wait_for(self, what, happened):
        until = time.monotonic() + PATIENCE_S
        while not happened():
            self.assertLess(time.monotonic(), until, f"{what} has not come within {PATIENCE_S} s")
            time.sleep(0.05)

    def test_two_ranks_write_a_shard_each_and_one_process_goes_on_from_them(self):
        command = self.train("ranks", 4, 2)
        self.atoll("launch", "-n", 2, "--", *command)
        whole = self.checkpoints("ranks")
        self.assertEqual(sorted(whole), [2, 4])
        shards = [f"shard-0000{rank}-of-00002.safetensors" for rank in (0, 1)]
        for names in whole.values():
            self.assertEqual(names, [MANIFEST, *shards])
        self.assertIn("ranks/model.safetensors", self.bucket.keys())
        # As a crash leaves it that comes before the manifest, which is last.
        self.bucket.remove(f"ranks/checkpoints/step-00000004.{MANIFEST}")
        again = self.atoll(*command, ATOLL_CACHE_DIR=str(self.folder / "another"))
        self.assertIn("going on after step 2 of 4", again.stdout + again.stderr)
        self.assertEqual(sorted(self.checkpoints("ranks")), [2, 4])

    def test_hosts_that_meet_in_the_bucket_go_on_when_a_rank_is_killed(self):
        started = []
        for host in (1, 2):
            command = [ATOLL, "launch", "--nnodes", "2", "--rendezvous-dir", f"{self.uri}/hosts", "--silence", "5", "--",
                       *self.train("killed", 60, 5)]
            log = open(self.folder / f"host{host}.log", "w+", encoding="utf-8")
            self.addCleanup(log.close)
            process = subprocess.Popen([str(word) for word in command], env=self.environment, stdout=log, stderr=log,
                                       cwd=self.folder, start_new_session=True)
            started.append((process, log))
            self.addCleanup(process.wait)
            self.addCleanup(kill_all_of, process.pid)
        self.wait_for("the first checkpoint", lambda: self.checkpoints("killed"))
        os.kill(children(started[1][0].pid)[0], signal.SIGKILL)
        said = []
        for process, log in started:
            self.assertEqual(process.wait(timeout=PATIENCE_S), 0, pathlib.Path(log.name).read_text(encoding="utf-8"))
            said.append(pathlib.Path(log.name).read_text(encoding="utf-8"))
        self.assertRegex("".join(said), r"going on after step \d+ of 60")
        self.assertIn(60, self.checkpoints("killed"))
        self.assertIn("killed/model.safetensors", self.bucket.keys())

    def test_a_job_of_two_hosts_is_interrupted_goes_on_and_predict_takes_its_archive(self):
        settings = "\n".join(f"{key} = {value}" for key, value in (one.split("=", 1) for one in SMALL))
        (self.folder / "job.toml").write_text(f"""
name = "spot"
[instances]
count = 2
[channels.train]
uri = "{self.uri}/coco"
mode = "InPlace"
[hyperparameters]
preset = "tiny"
train.steps = 300
train.checkpoint_every = 5
{settings}
[output]
uri = "{self.uri}/jobs"
[checkpoints]
uri = "{self.uri}/checkpoints"
""", encoding="utf-8")
        done = self.atoll("job", "run", "job.toml", "--spot-interrupt-after", "8s")
        self.assertRegex(done.stdout + done.stderr, "(?s)Training.*Interrupted.*Training.*Uploading.*Completed")
        logs = "".join(file.read_text(encoding="utf-8") for file in (self.folder / "runs/jobs/spot/logs").iterdir())
        self.assertRegex(logs, r"going on after step \d+ of 300")
        archive = f"{self.uri}/jobs/spot/output/model.tar.gz"
        self.assertIn("jobs/spot/output/model.tar.gz", self.bucket.keys())
        self.atoll("predict", "--weights", archive, "--out", f"{self.uri}/drawn", f"{self.uri}/coco/val2017/")
        self.assertEqual(len([key for key in self.bucket.keys() if key.startswith("drawn/pictures/")]), 4)


def children(pid):
    return [int(one) for one in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]


def kill_all_of(group):
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        pass


if __name__ == "__main__":
    on_a_bucket.main()
