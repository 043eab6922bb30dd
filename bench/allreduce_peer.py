"""The other side of `./run bench allreduce`: torch.distributed on Gloo. Same protocol as allreduce_bench.cpp."""

import argparse
import json
import sys
import time

import torch
import torch.distributed as dist


def main():
    parser = argparse.ArgumentParser()
    for name in ("rank", "size", "port"):
        parser.add_argument(f"--{name}", type=int, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"tcp://127.0.0.1:{options.port}", rank=options.rank, world_size=options.size
    )
    for line in sys.stdin:
        size, repeats = map(int, line.split())
        numbers = torch.full((size // 4,), options.rank + 1.0)
        dist.all_reduce(numbers)
        check = numbers[-1].item()
        numbers.fill_(1)
        dist.barrier()
        begin = time.perf_counter()
        for _ in range(repeats):
            dist.all_reduce(numbers)
        print(json.dumps({"seconds": (time.perf_counter() - begin) / repeats, "check": check}), flush=True)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
