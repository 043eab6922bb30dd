"""A job of three hosts that goes on when ranks, launchers, hosts or the network between them fail.

Usage: elastic_test.py ATOLL kills [COUNT [SEED]] | death | cut | apart | slow | newcomer | stop
  kills     kill -9 of a random rank or launcher at random moments, a killed launcher replaced: in the end the model and
            the losses are those of an uninterrupted run, bit for bit, because there are always three ranks
  death     kill -9 of the leader's launcher, without a replacement: the two that are left go on
  cut       the leader is cut off from the network, and comes back
  apart     a host that neither leads nor has rank 0 is cut off, and stays so: the others go on, and it gives up
  slow      a host is stopped (SIGSTOP) for longer than it may say nothing, and goes on
  newcomer  two hosts train, and a third comes
  stop      SIGTERM to one launcher stops the whole job with a checkpoint; the same command goes on
Where the number of ranks changes the learning rate is 0 and norms are frozen: then a step's losses depend on nothing but
its images and their keyed choices, and must be those of the uninterrupted run, whoever computed them.
Times are waited for, not relied upon: a busy machine that loses a host more than it should has more rounds, and the same end.
"""
import json
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from hosts import Hosts

LOSSES = ["loss", "loss_objectness", "loss_rpn_box_reg", "loss_classifier", "loss_box_reg", "loss_mask"]
PATIENCE_S = 400
SILENCE_S = 4
JOIN_S = 300
GIVE_UP_S = 20  # --join-timeout where a host is to give up


class Job:
    def __init__(self, atoll, folder, steps, moving):
        self.atoll, self.folder, self.steps = atoll, folder, steps
        self.data, self.whole, self.out = folder / "data", folder / "whole", folder / "out"
        self.place = folder / "hosts"
        self.sets = {"train.steps": steps, "train.global_batch": 6, "train.base_batch": 6, "train.warmup_steps": 0,
                     "train.learning_rate": 1e-3 if moving else 0, "train.checkpoint_every": 4,
                     "train.keep_checkpoints": 2, "threads": 1, "data.threads": 1,
                     "model.norm": "batch" if moving else "frozen", "model.min_size_px": 64,
                     "model.max_size_px": 64, "model.stem_width": 8, "model.fpn_channels": 16,
                     "model.rpn_post_nms_top_n_train": 50, "model.box_head_channels": 32,
                     "model.box_batch_per_image": 16, "model.mask_conv_channels": "[8]",
                     "model.mask_deconv_channels": 8}
        subprocess.run([atoll, "synth", "--out", self.data, "--images", "12", "--val-images", "0", "--size", "64",
                        "--seed", "3"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def train(self, out):
        arguments = ["train", "--preset", "tiny", "--data", self.data, "--out", out, "--device", "cpu"]
        for key, value in self.sets.items():
            arguments += ["--set", f"{key}={value}"]
        return [str(argument) for argument in arguments]

    def launch(self, hosts, join_s=JOIN_S):
        return [str(self.atoll), "launch", "--nnodes", hosts, "--rendezvous-dir", str(self.place), "-n", "1",
                "--max-restarts", "1000", "--silence", str(SILENCE_S), "--join-timeout", str(join_s), "--grace", "10",
                "--bind", "none", "--", *self.train(self.out)]

    def train_uninterrupted(self):
        done = subprocess.run([self.atoll, "launch", "-n", "3", "--bind", "none", "--", *self.train(self.whole)],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert done.returncode == 0, done.stdout

    def losses(self, out=None):
        try:
            text = ((out or self.out) / "metrics.jsonl").read_text()
        except FileNotFoundError:
            return []
        # The last line may be on its way.
        lines = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
        return [(line["step"], [line[name] for name in LOSSES]) for line in lines if "loss" in line]

    def step(self):
        steps = self.losses()
        return steps[-1][0] if steps else 0

    def leader(self):
        """The host that holds the newest lease."""
        for record in sorted(self.place.glob("leader-*"), reverse=True):
            return json.loads(record.read_text())["host"]
        return None

    def check_same_bits(self):
        whole = self.losses(self.whole)
        assert [step for step, _ in whole] == list(range(1, self.steps + 1)), whole
        assert self.losses() == whole, "the losses differ"
        same = (self.out / "model.safetensors").read_bytes() == (self.whole / "model.safetensors").read_bytes()
        assert same, "the model differs"

    def check_same_samples(self):
        whole, got = self.losses(self.whole), self.losses()
        assert [step for step, _ in got] == [step for step, _ in whole], got
        for (step, expected), (_, found) in zip(whole, got):
            for name, a, b in zip(LOSSES, expected, found):
                assert abs(a - b) <= 1e-4 * max(1, abs(a)), f"step {step}, {name}: {b} instead of {a}"
        spread = {round(losses[0], 3) for _, losses in whole}
        assert len(spread) > 3, "the steps must differ, or the order of samples would not show"


def wait_for(what, holds, hosts):
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        if time.monotonic() > deadline:
            for host in hosts.all:
                print(f"--- {host.name}\n{host.log.read_text(errors='replace')[-6000:]}")
            raise AssertionError(f"waited in vain for {what}")
        time.sleep(0.1)


def wait_for_end(hosts, expected=0, names=None):
    running = [host for host in hosts.all if names is None or host.name in names]
    wait_for("the end", lambda: not any(host.running() for host in running), hosts)
    for host in running:
        code = host.process.returncode
        assert code == expected, f"{host.name} ended with {code}:\n{host.log.read_text(errors='replace')[-6000:]}"


def others(hosts, name):
    return [host for host in hosts.all if host.name != name]


def wait_for_end_after_kills(job, hosts):
    """A launcher that was killed when its ranks were done has a successor that finds nobody any more."""

    def only_one_is_left():
        running = [host for host in hosts.all if host.running()]
        return not running or (len(running) == 1 and (job.out / "model.safetensors").exists())

    wait_for("the end", only_one_is_left, hosts)
    deadline = time.monotonic() + 10 * SILENCE_S
    while any(host.running() for host in hosts.all) and time.monotonic() < deadline:
        time.sleep(0.1)
    for host in hosts.all:
        if host.running():
            print(f"{host.name} was replaced after the end and finds nobody")
            assert not host.said(r"joined the hosts|round \d+: ", host.started_at), "it takes part"
            host.send(signal.SIGKILL)
            host.process.wait()
        else:
            assert host.process.returncode == 0, host.log.read_text(errors="replace")[-6000:]


def kills(job, hosts, count, seed):
    print(f"{count} kills, seed {seed}")
    choose = random.Random(seed)
    job.train_uninterrupted()
    command = job.launch("3")
    done = 0
    ranks = launchers = 0
    while True:
        for host in hosts.all:
            host.start(command)
        while done < count and any(host.running() for host in hosts.all):
            time.sleep(choose.uniform(0.2, 9))
            host = choose.choice(hosts.all)
            if not all(other.running() for other in hosts.all):
                break
            pids = host.pids()
            victim = choose.choice([pids[0], *pids[1:], *pids[1:]])
            host.send(signal.SIGKILL, [victim])
            done += 1
            if victim == pids[0]:
                launchers += 1
                host.start(command)
            else:
                ranks += 1
        wait_for_end_after_kills(job, hosts)
        job.check_same_bits()
        if done >= count:
            break
        shutil.rmtree(job.out)  # it was faster than the kills: once more from the beginning
    print(f"killed {ranks} ranks and {launchers} launchers")


def death(job, hosts):
    job.train_uninterrupted()
    for host in hosts.all:
        host.start(job.launch("2:3"))
    wait_for("some steps", lambda: job.step() >= 5, hosts)
    leader = job.leader()
    hosts.named(leader).send(signal.SIGKILL, [hosts.named(leader).process.pid])
    left = [host.name for host in others(hosts, leader)]
    wait_for_end(hosts, names=left)
    job.check_same_samples()
    assert any(hosts.named(name).said(r"round \d+: 2 of 3 hosts, 2 ranks; .*going on") for name in left)


def cut(job, hosts):
    job.train_uninterrupted()
    for host in hosts.all:
        host.start(job.launch("2:3"))
    wait_for("some steps", lambda: job.step() >= 5, hosts)
    leader = job.leader()
    hosts.named(leader).cut_off()
    left = others(hosts, leader)
    wait_for("a round of those that are left",
             lambda: any(host.said(r"round \d+: 2 of 3 hosts, 2 ranks") for host in left), hosts)
    before = job.step()
    wait_for("a step without the host that is cut off", lambda: job.step() > before, hosts)
    assert job.leader() != leader
    hosts.named(leader).connect()
    wait_for_end(hosts)
    job.check_same_samples()


def apart(job, hosts):
    job.train_uninterrupted()
    for host in hosts.all:
        host.start(job.launch("2:3", GIVE_UP_S))
    wait_for("some steps", lambda: job.step() >= 5, hosts)
    lost = next(host for host in hosts.all if host.name != job.leader() and not host.said("round 1: "))
    lost.cut_off()
    left = others(hosts, lost.name)
    wait_for("a round of those that are left",
             lambda: any(host.said(r"round \d+: 2 of 3 hosts, 2 ranks") for host in left), hosts)
    before = job.step()
    wait_for("a step without the host that is cut off", lambda: job.step() > before, hosts)
    # The ranks rest until it has ended: it would lead, alone, if it found the others done.
    ranks = [pid for host in left for pid in host.pids()[1:]]
    hosts.all[0].send(signal.SIGSTOP, ranks)
    wait_for_end(hosts, expected=1, names=[lost.name])
    hosts.all[0].send(signal.SIGCONT, ranks)
    for line in (r"the leader, host h\d, does not answer: this host is cut off, and its ranks are killed",
                 rf"the job ends: no leader of the job's hosts could be reached within {GIVE_UP_S} s: h\d leads, but "):
        assert lost.said(line), lost.log.read_text(errors="replace")[-6000:]
    wait_for_end(hosts, names=[host.name for host in left])
    job.check_same_samples()


def slow(job, hosts):
    job.train_uninterrupted()
    for host in hosts.all:
        host.start(job.launch("2:3"))
    wait_for("some steps", lambda: job.step() >= 5, hosts)
    # The host of rank 0 keeps its claim on the output for as long as it is only slow; the others wait for that.
    tired = next(host for host in hosts.all if host.name != job.leader() and not host.said("round 1: "))
    tired.send(signal.SIGSTOP)
    left = others(hosts, tired.name)
    wait_for("a round without it", lambda: any(host.said(r"round \d+: 2 of 3 hosts") for host in left), hosts)
    tired.send(signal.SIGCONT)
    wait_for_end(hosts)
    job.check_same_samples()


def newcomer(job, hosts):
    job.train_uninterrupted()
    first = hosts.all[:2]
    for host in first:
        host.start(job.launch("2:3"))
    wait_for("some steps", lambda: job.step() >= 5, hosts)
    # The ranks rest until it is taken in: there may be few steps left.
    ranks = first[0].pids()[1:]
    first[0].send(signal.SIGSTOP, ranks)
    hosts.all[2].start(job.launch("2:3"))
    wait_for("its coming", lambda: any(host.said("host h3 has come") for host in first), hosts)
    first[0].send(signal.SIGCONT, ranks)
    wait_for_end(hosts)
    job.check_same_samples()
    assert any(host.said(r"round \d+: 3 hosts, 3 ranks; host h3 has come") for host in hosts.all)


def stop(job, hosts):
    job.train_uninterrupted()
    for host in hosts.all:
        host.start(job.launch("3"))
    wait_for("some steps", lambda: job.step() >= 5, hosts)
    hosts.all[1].send(signal.SIGTERM, [hosts.all[1].process.pid])
    wait_for_end(hosts, expected=143)
    assert any(host.said(r"stopped after step \d+ of") for host in hosts.all)
    for host in hosts.all:
        host.start(job.launch("3"))
    wait_for_end(hosts)
    job.check_same_bits()


def main():
    atoll, scenario = pathlib.Path(sys.argv[1]).resolve(), sys.argv[2]
    count = int(sys.argv[3]) if len(sys.argv) > 3 else 3
    seed = int(sys.argv[4]) if len(sys.argv) > 4 else random.randrange(1 << 30)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        hosts = Hosts(3, folder)
        try:
            if scenario == "kills":
                kills(Job(atoll, folder, 40, moving=True), hosts, count, seed)
            else:
                steps = {"cut": 400, "apart": 300, "newcomer": 200, "slow": 300}.get(scenario, 60)
                body = {"death": death, "cut": cut, "apart": apart, "slow": slow, "newcomer": newcomer,
                        "stop": stop}[scenario]
                body(Job(atoll, folder, steps, moving=scenario == "stop"), hosts)
        finally:
            hosts.end()


if __name__ == "__main__":
    main()
