"""Slurm itself starts ranks of Atoll's, on nodes that are all this machine.

  python slurm_test.py ATOLL PRINT_PLACE

Exits with 77 where there is no Slurm, or it does not come up.
"""

import json
import re
import sys
import tempfile
import time
import unittest
from pathlib import Path

from ranks import ROOT, SKIPPED, fixture, make_data, places, steps_of, train_words
from slurm_cluster import NotHere, SlurmCluster

SCRIPT = ROOT / "deploy/slurm/atoll.sbatch"

# Variables whose values are a site's or a job's; that they are set is all that a test of src/job can say of them.
OWN_VALUES = {"SLURM_CLUSTER_NAME", "SLURM_CPUS_ON_NODE", "SLURM_JOBID", "SLURM_JOB_ID", "SLURM_JOB_NODELIST",
              "SLURM_LAUNCH_NODE_IPADDR", "SLURM_NODELIST", "SLURM_SRUN_COMM_HOST", "SLURM_STEP_NODELIST", "SLURMD_NODENAME",
              "SLURM_TASK_PID",
              "SLURM_TASKS_PER_NODE"}  # the job's or the step's, by version
# Set where a distribution was asked for, or always, by version; read by nobody here.
SOMETIMES = {"SLURM_DISTRIBUTION"}


class Slurm(unittest.TestCase):
    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(dir=CLUSTER.folder))
        self.nodes = CLUSTER.nodes

    def assert_as_assumed(self, file, name, real):
        """That src/job's idea of this launcher's variables is what they are."""
        assumed = fixture(file, name)
        self.assertGreater(len(assumed), 5)
        for variable, value in assumed.items():
            if variable in SOMETIMES:
                continue
            self.assertIn(variable, real, name)
            if variable not in OWN_VALUES:
                self.assertEqual(real[variable], value, f"{name}: {variable}")

    def place_of(self, output):
        return json.loads(output.strip().splitlines()[-1])

    def test_tasks_of_a_step_on_some_nodes_of_the_job(self):
        step = [self.nodes[0], self.nodes[2]]
        CLUSTER.run("salloc", "-N", "3", "--ntasks-per-node=2", "-w", ",".join(self.nodes[:3]), "srun", "-N", "2", "-n", "3",
                    "-w", ",".join(step), PRINT_PLACE, self.folder)
        found = places(self.folder)
        self.assertEqual(found.keys(), {0, 1, 2})
        for rank, (place, variables) in found.items():
            self.assertEqual((place["size"], place["nodes"]), (3, 2))
            self.assertEqual(place["node"], step.index(variables["SLURMD_NODENAME"]))
            self.assertEqual((place["local_rank"], place["local_size"]), [(0, 2), (1, 2), (0, 1)][rank])
            self.assertEqual(place["master_host"], step[0])
            self.assertEqual(place["master_port"], found[0][0]["master_port"])
            self.assertEqual(place["note"], "")
        self.assertEqual(found[0][1]["SLURMD_NODENAME"], step[0])  # rank 0 is where the others look for it
        self.assert_as_assumed("place_slurm_test.cpp", "kStep", found[2][1])

    def test_a_task_for_each_node_starts_the_ranks_of_its_node(self):
        output = CLUSTER.run("srun", "-N", "4", "--ntasks-per-node=1", ATOLL, "launch", "-n", "2", "--exec", "--", "sh", "-c",
                             "echo is $RANK $LOCAL_RANK $WORLD_SIZE $LOCAL_WORLD_SIZE $GROUP_RANK $MASTER_ADDR").stdout
        ranks = sorted(re.findall(r"is (\d+) (\d+) (\d+) (\d+) (\d+) (\S+)", output), key=lambda rank: int(rank[0]))
        self.assertEqual(ranks, [(str(rank), str(rank % 2), "8", "2", str(rank // 2), self.nodes[0]) for rank in range(8)])

        several = CLUSTER.run("srun", "-n", "2", ATOLL, "launch", "-n", "2", "--exec", "--", "true", check=False)
        self.assertEqual(several.returncode, 2, several.stderr)
        self.assertIn("has started 2 processes on this host already", several.stderr)

    def test_the_script_of_sbatch_is_one_process_and_is_told_so(self):
        script = self.folder / "script"
        script.write_text(f"#!/bin/sh\nexec {PRINT_PLACE} {self.folder}\n")
        CLUSTER.run("sbatch", "--wait", "-N", "4", "--ntasks-per-node=4", "--output", self.folder / "log", script)
        ((place, variables),) = places(self.folder).values()
        self.assertEqual((place["size"], place["local_rank"]), (1, 0))
        self.assertIn("start it with srun", place["note"])
        self.assert_as_assumed("place_slurm_test.cpp", "kBatchScript", variables)

    def test_the_shell_of_salloc_is_one_process(self):
        # Both kinds: the step in which salloc runs a shell, and a command of its own on the submitting machine.
        CLUSTER.run("salloc", "-N", "2", "--ntasks-per-node=2", input=f"{PRINT_PLACE} {self.folder}\n",
                    variables={"SHELL": "/bin/sh"})
        ((place, variables),) = places(self.folder).values()
        self.assertEqual((place["size"], place["local_rank"]), (1, 0))
        self.assertEqual(int(variables["SLURM_STEP_ID"]), 0xFFFFFFFA)
        place = self.place_of(CLUSTER.run("salloc", "-N", "2", "--ntasks-per-node=2", PRINT_PLACE).stdout)
        self.assertEqual((place["size"], place["local_rank"]), (1, 0))
        self.assertIn("start it with srun", place["note"])

    def test_steps_and_jobs_meet_at_ports_of_their_own(self):
        def port(job_output):
            return [json.loads(line)["master_port"] for line in job_output.splitlines() if line.startswith("{")]

        command = f"srun -n 1 {PRINT_PLACE}; srun -n 1 {PRINT_PLACE}"
        first = port(CLUSTER.run("salloc", "-n", "1", "sh", "-c", command).stdout)
        second = port(CLUSTER.run("salloc", "-n", "1", "sh", "-c", command).stdout)
        self.assertEqual(len({*first, *second}), 4)

    def test_training_on_two_nodes_is_that_of_atoll_launch_to_the_last_bit(self):
        make_data(ATOLL, self.folder / "data")
        CLUSTER.run(ATOLL, "launch", "-n", "2", "--", *train_words(self.folder / "data", self.folder / "launch", 3))
        output = CLUSTER.run("srun", "-N", "2", "-n", "2", ATOLL, *train_words(self.folder / "data", self.folder / "srun", 3))
        self.assertRegex(output.stderr, r"(?m)^2 ranks on 2 hosts, by Slurm job \d+, step 0$")
        self.assertEqual(steps_of(self.folder / "srun"), [1, 2, 3])
        self.assertEqual((self.folder / "srun/model.safetensors").read_bytes(),
                         (self.folder / "launch/model.safetensors").read_bytes())

    def submit(self, *words):
        job = CLUSTER.run("sbatch", "--parsable", "--output", self.folder / "log", *words,
                          variables={"ATOLL": ATOLL}).stdout.strip()
        self.addCleanup(CLUSTER.run, "scancel", job, check=False)
        return job

    def state(self, job, field="JobState"):
        shown = CLUSTER.run("scontrol", "show", "job", job).stdout
        return re.search(rf"\b{field}=(\S+)", shown)[1]

    def wait_until(self, what, condition, seconds=200):
        until = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > until:
                log = self.folder / "log"
                self.fail(f"{what}: {log.read_text() if log.exists() else 'no log'}\n{CLUSTER.state()}")
            time.sleep(0.1)

    def test_the_script_of_deploy_trains(self):
        make_data(ATOLL, self.folder / "data")
        job = self.submit("--wait", "--nodes", "2", SCRIPT, *train_words(self.folder / "data", self.folder / "out", 3)[1:])
        log = (self.folder / "log").read_text()
        self.assertIn("2 ranks on 2 hosts", log)
        self.assertIn("done: 3 steps", log)
        self.assertEqual(self.state(job), "COMPLETED")
        self.assertEqual(self.state(job, "ExitCode"), "0:0")

    def test_the_script_of_deploy_queues_itself_again_when_its_time_is_up_and_goes_on(self):
        make_data(ATOLL, self.folder / "data")
        out = self.folder / "out"
        words = train_words(self.folder / "data", out, 1000000)[1:]
        job = self.submit("--nodes", "2", SCRIPT, *words, "--set=train.checkpoint_every=1000000")
        self.wait_until("steps", lambda: len(steps_of(out)) > 2)
        # What --signal does when the time is nearly up: a signal to the steps.
        CLUSTER.run("scancel", "--signal=TERM", job)
        self.wait_until("queued again", lambda: self.state(job, "Restarts") == "1")
        self.assertIn("queueing the job again", (self.folder / "log").read_text())
        self.wait_until("pending", lambda: self.state(job) in ("PENDING", "RUNNING"))
        before = steps_of(out)[-1]
        # It would rest for two minutes first. Sooner, what is left of its first run may be in the way of a node, and
        # Slurm would hold it for good.
        self.wait_until("the end of its first run", lambda: not any(CLUSTER.folder.glob("spool-*/job*")))
        self.wait_until("its start", lambda: CLUSTER.run("scontrol", "update", f"JobId={job}", "StartTime=now", check=False)
                        and self.state(job) == "RUNNING")
        self.wait_until("more steps", lambda: steps_of(out)[-1] > before + 1)
        self.assertEqual(steps_of(out), list(range(1, steps_of(out)[-1] + 1)))  # nothing twice, nothing left out

        CLUSTER.run("scancel", job)
        self.wait_until("its end", lambda: self.state(job) == "CANCELLED")
        self.assertEqual(self.state(job, "Restarts"), "1")


if __name__ == "__main__":
    PRINT_PLACE, ATOLL = (str(Path(sys.argv.pop()).resolve()) for _ in range(2))
    with tempfile.TemporaryDirectory(prefix="atoll-slurm-") as folder:
        try:
            with SlurmCluster(folder) as CLUSTER:
                passed = unittest.main(exit=False, verbosity=2).result.wasSuccessful()
        except NotHere as reason:
            print(f"skipped: {reason}")
            sys.exit(SKIPPED)
    sys.exit(0 if passed else 1)
