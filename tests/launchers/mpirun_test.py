"""Open MPI's mpirun starts ranks of Atoll's: on this machine, and on the nodes of a Slurm allocation, which are this
machine, too (slurm_cluster.py).

  python mpirun_test.py ATOLL PRINT_PLACE

Exits with 77 where there is no mpirun; what needs Slurm is skipped where that is not there.
"""

import re
import shutil
import socket
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from ranks import SKIPPED, fixture, make_data, places, steps_of, train_words
from slurm_cluster import PATH, NotHere, SlurmCluster

# Root, as in a container, and more ranks than cores, as on a small machine.
MPIRUN = ["mpirun", "--allow-run-as-root", "--oversubscribe"]


class Mpirun(unittest.TestCase):
    """Without Slurm: the environment of a cluster that was not started has nothing of it."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="atoll-mpirun-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.environment = SlurmCluster(self.folder).environment()

    def run_here(self, *words, **options):
        result = subprocess.run([str(word) for word in words], env=self.environment, cwd=self.folder, capture_output=True,
                                text=True, timeout=300, **options)
        self.assertEqual(result.returncode, 0, f"{words}:\n{result.stdout}{result.stderr}")
        return result

    def test_every_rank_finds_its_place(self):
        self.run_here(*MPIRUN, "-n", "3", PRINT_PLACE, self.folder)
        found = places(self.folder)
        self.assertEqual(found.keys(), {0, 1, 2})
        for rank, (place, variables) in found.items():
            self.assertEqual(place["source"], "Open MPI's mpirun")
            self.assertEqual((place["size"], place["local_size"], place["local_rank"]), (3, 3, rank))
            self.assertEqual((place["nodes"], place["node"], place["master_host"]), (1, 0, "127.0.0.1"))
            self.assertEqual(place["master_port"], found[0][0]["master_port"])
            # What the tests of src/job take for an environment of mpirun's, but for what a person sets.
            for variable in fixture("place_test.cpp", "kOpenMpi4").keys() - {"MASTER_ADDR"}:
                if not variable.startswith("OMPI_MCA_") or "Open MPI) 4" in self.version():
                    self.assertIn(variable, variables)

    def version(self):
        return self.run_here("mpirun", "--version").stdout

    def test_a_process_for_each_host_starts_the_ranks_of_its_host(self):
        result = self.run_here(*MPIRUN, "--map-by", "ppr:1:node", ATOLL, "launch", "-n", "2", "--exec", "--", "sh", "-c",
                               "echo is $RANK of $WORLD_SIZE")
        self.assertEqual(sorted(re.findall(r"is (\d) of (\d)", result.stdout)), [("0", "2"), ("1", "2")])

    def test_training_is_that_of_atoll_launch_to_the_last_bit(self):
        make_data(ATOLL, self.folder / "data")
        self.run_here(ATOLL, "launch", "-n", "2", "--", *train_words(self.folder / "data", self.folder / "launch", 3))
        result = self.run_here(*MPIRUN, "-n", "2", ATOLL, *train_words(self.folder / "data", self.folder / "mpirun", 3))
        self.assertRegex(result.stderr, r"(?m)^2 ranks.*, by Open MPI's mpirun$")
        self.assertEqual(steps_of(self.folder / "mpirun"), [1, 2, 3])
        self.assertEqual((self.folder / "mpirun/model.safetensors").read_bytes(),
                         (self.folder / "launch/model.safetensors").read_bytes())


class MpirunInSlurm(unittest.TestCase):
    """It starts a daemon on each node of the allocation but its own, by srun, and ranks on its own node first."""

    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="atoll-mpirun-")
        cls.addClassCleanup(folder.cleanup)
        cls.cluster = SlurmCluster(folder.name)
        try:
            cls.enterClassContext(cls.cluster)
        except NotHere as reason:
            raise unittest.SkipTest(str(reason)) from None

    def places_on(self, nodes, *options):
        """What the ranks find, two on each node; with the name of a rank's node."""
        folder = Path(tempfile.mkdtemp(dir=self.cluster.folder))
        self.cluster.run("salloc", "-N", len(nodes), "--ntasks-per-node=2", "-w", ",".join(nodes),
                         "mpirun", "--allow-run-as-root", *options, PRINT_PLACE, folder)
        # Beside mpirun there is no step, and so no name of a node.
        return {rank: (place, variables.get("SLURMD_NODENAME", self.cluster.host))
                for rank, (place, variables) in places(folder).items()}

    def assert_rank_0_is_where_others_look_for_it(self, found, ranks):
        self.assertEqual(found.keys(), set(range(ranks)))
        home = found[0][1]
        for place, node in found.values():
            self.assertEqual(place["size"], ranks)
            self.assertIn(place["master_host"], (home, "127.0.0.1") if node == home else (home,))
        self.assertEqual(len({place["master_port"] for place, _ in found.values()}), 1)
        return home

    def test_from_the_first_node_of_the_allocation(self):
        nodes = self.cluster.nodes[:3]
        home = self.assert_rank_0_is_where_others_look_for_it(self.places_on(nodes), 6)
        self.assertEqual(home, self.cluster.host)

    def test_from_another_node_of_the_allocation(self):
        nodes = [self.cluster.nodes[-1], self.cluster.host]
        found = self.places_on(nodes)
        home = self.assert_rank_0_is_where_others_look_for_it(found, 4)
        self.assertEqual(home, self.cluster.host)
        self.assertEqual({node for _, node in found.values()}, set(nodes))

    def test_and_there_they_train(self):
        try:
            socket.getaddrinfo(self.cluster.host, None)
        except OSError:
            self.skipTest(f"the name of this machine, {self.cluster.host}, means nothing to it")
        folder = Path(tempfile.mkdtemp(dir=self.cluster.folder))
        make_data(ATOLL, folder / "data")
        nodes = f"{self.cluster.nodes[-1]},{self.cluster.host}"
        result = self.cluster.run("salloc", "-N", "2", "-w", nodes, "mpirun", "--allow-run-as-root", "--map-by", "ppr:1:node",
                                  ATOLL, *train_words(folder / "data", folder / "out", 3))
        self.assertIn("2 ranks on 2 hosts, by Open MPI's mpirun", result.stderr)
        self.assertEqual(steps_of(folder / "out"), [1, 2, 3])

    def test_from_outside_of_the_allocation(self):
        nodes = self.cluster.nodes[1:3]
        home = self.assert_rank_0_is_where_others_look_for_it(self.places_on(nodes), 4)
        self.assertEqual(home, nodes[0])

    def test_on_a_part_of_the_allocation(self):
        for nodes in (self.cluster.nodes[:4], self.cluster.nodes[1:4], [self.cluster.nodes[-1], *self.cluster.nodes[:2]]):
            self.assert_rank_0_is_where_others_look_for_it(self.places_on(nodes, "-np", "3"), 3)


if __name__ == "__main__":
    PRINT_PLACE, ATOLL = (str(Path(sys.argv.pop()).resolve()) for _ in range(2))
    if not shutil.which("mpirun", path=PATH):
        print("skipped: mpirun is not installed (./run test --full installs openmpi-bin)")
        sys.exit(SKIPPED)
    unittest.main(verbosity=2)
