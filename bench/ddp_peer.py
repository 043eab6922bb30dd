"""The other side of `./run bench ddp`: torchvision's Mask R-CNN in DistributedDataParallel. Same protocol as ddp_bench.cpp.

Buckets as Atoll's: 25 MB, gradients as views into them. Buffers are not sent, because frozen norms do not change.
"""

import argparse
import json
import sys
import time

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from torchvision_peer import Bench


class RankBench(Bench):
    def __init__(self, options):
        super().__init__(options)
        share = len(self.pictures) // options.size
        mine = slice(share * options.rank, share * (options.rank + 1))
        self.pictures, self.targets = self.pictures[mine], self.targets[mine]
        for group in self.optimizer.param_groups:
            group["lr"] = 0.0  # every step does the same work
        self.model = DistributedDataParallel(
            self.model, bucket_cap_mb=25, gradient_as_bucket_view=True, broadcast_buffers=False
        )


def main():
    parser = argparse.ArgumentParser()
    for name in ("rank", "size", "port", "threads"):
        parser.add_argument(f"--{name}", type=int, required=True)
    for name in ("inputs", "weights", "config"):
        parser.add_argument(f"--{name}", required=True)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    dist.init_process_group(
        "gloo", init_method=f"tcp://127.0.0.1:{options.port}", rank=options.rank, world_size=options.size
    )
    bench = RankBench(options)
    for line in sys.stdin:
        if line.strip() != "run":
            print("{}", flush=True)
            continue
        begin = time.perf_counter()
        check = bench.step()
        print(json.dumps({"seconds": time.perf_counter() - begin, "check": check}), flush=True)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
