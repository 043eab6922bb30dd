"""docs/scaling.md shows what bench/scaling_model.py says, and the model says what its formulas must."""

import math
import sys
import unittest
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "bench"))
import scaling_model as model  # noqa: E402

P5 = model.NETWORKS["p5"]


class Document(unittest.TestCase):
    def test_has_every_table_as_the_program_prints_it(self):
        text = (ROOT / "docs/scaling.md").read_text()
        for name, make in model.TABLES.items():
            self.assertIn(f"\n\n{make()}\n", text, f"the table '{name}' is another one now: python3 bench/scaling_model.py")

    def test_says_what_half_of_the_gradient_brings(self):
        rates = [model.efficiency(model.A100, model.NETWORKS["p4d"], 256, 1, factor=factor) for factor in (1.0, 0.5)]
        words = " ".join((ROOT / "docs/scaling.md").read_text().split())
        self.assertIn(f"{rates[0]:.2f} with 1 image on 256 GPUs {rates[1]:.2f}", words)


class Formulas(unittest.TestCase):
    def test_a_ring_of_two_sends_everything_once_in_two_messages(self):
        self.assertAlmostEqual(model.ring(2, 100, 3, 1), 2 * 3 + 100)

    def test_every_sum_takes_what_bandwidth_must_and_the_tree_less_latency(self):
        for ranks in (8, 64, 4096):
            least = 2 * (ranks - 1) / ranks * 1e9 * 1e-9
            for cost in (model.ring, model.halving_doubling, model.tree):
                self.assertGreaterEqual(cost(ranks, 1e9, 1e-6, 1e-9), least)
            self.assertLess(model.tree(ranks, 64, 1e-6, 1e-9), model.ring(ranks, 64, 1e-6, 1e-9))

    def test_one_node_costs_the_same_by_every_way(self):
        costs = [cost(1, model.GRADIENT_BYTES, P5) for cost in (model.flat_ring, model.hierarchical)]
        self.assertEqual(*costs)

    def test_the_buckets_hold_the_gradient_and_come_in_order(self):
        buckets = model.bucket_ends()
        self.assertAlmostEqual(sum(size for size, _ in buckets), model.GRADIENT_BYTES, delta=1)
        self.assertAlmostEqual(model.GRADIENT_BYTES / 1e6, 178, delta=1)
        shares = [share for _, share in buckets]
        self.assertEqual(shares, sorted(shares))
        self.assertEqual(shares[-1], 1)
        self.assertEqual(buckets[0][0], model.FIRST_BUCKET_BYTES)
        # One parameter is larger than a bucket.
        self.assertLessEqual(max(size for size, _ in buckets), model.BUCKET_BYTES + 51.4e6)

    def test_nothing_is_hidden_of_the_last_bucket_and_all_of_what_is_in_time(self):
        buckets = [(10, 0.5), (10, 1.0)]
        self.assertAlmostEqual(model.exposed(100, lambda size: size, buckets), 10)
        self.assertAlmostEqual(model.exposed(10, lambda size: size, buckets), 15)

    def test_the_slowest_of_many_is_slower_and_of_one_is_itself(self):
        self.assertEqual(model.slowest(1, 0.1), 1)
        # The expected maximum of two normal variables is 1/sqrt(pi) deviations above the mean.
        self.assertAlmostEqual(model.slowest(2, 1), 1 + 1 / math.sqrt(math.pi), delta=0.03)
        self.assertGreater(model.slowest(4096, 0.1), model.slowest(64, 0.1))

    def test_the_calibration_gives_the_published_rate_of_one_node_back(self):
        for gpu, key, rate in ((model.A100, "dgx-a100", 691), (model.H100, "dgx-h100", 1448)):
            step = model.step_of(gpu, model.NETWORKS[key], 8, model.BATCH_OF_ONE_NODE, with_small_sums=False)
            self.assertAlmostEqual(step.images / step.seconds / rate, 1, delta=0.01)

    def test_rings_of_few_numbers_are_those_of_the_program(self):
        self.assertEqual([model.ring_sizes(ranks) for ranks in (8, 12, 13, 26, 4096)], [[8], [6, 2], [13], [2, 13], [8] * 4])

    def test_more_gpus_are_never_more_efficient(self):
        for images in (1, 4):
            curve = [model.efficiency(model.A100, model.NETWORKS["p4d"], gpus, images) for gpus in model.SIZES_GPUS]
            self.assertEqual(curve, sorted(curve, reverse=True))


if __name__ == "__main__":
    unittest.main()
