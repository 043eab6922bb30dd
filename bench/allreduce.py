"""`./run bench allreduce`: sums over 2 and 4 ranks of this machine, Atoll's group against torch.distributed.all_reduce.

The same torch, Gloo, f32, over the loopback, one thread a rank. Both sides work in turn, A B A B; a time is that of the
slowest rank. One JSON line a size with medians and the median of the pairs' ratios with its range, then for each
number of ranks the latency a and the time b of a byte that fit the medians best, relative errors counting alike:

    T(n) = 2 (N - 1) (a + b n / N)          a ring of N ranks, n bytes (docs/scaling.md)

and last how many requests of ranks that tell how far they are (parallel/watch.h: a set, a check) c10d's store
answers in a second of its own processor time.
"""

import argparse
import json
import multiprocessing
import statistics
import sys
import time
from pathlib import Path

import scaling_model
from ranks import Ranks, free_port

HERE = Path(__file__).parent
MB = 10**6
# bytes -> sums in one measurement
SIZES = {4096: 200, 65536: 100, MB: 20, 25 * MB: 3, 178 * MB: 1}


def fitted(times, ranks):
    a, b = scaling_model.fit(times, ranks)
    errors = [abs(2 * (ranks - 1) * (a + b * n / ranks) / t - 1) for n, t in times.items()]
    return {"a_us": round(a * 1e6, 1), "b_s_per_gb": round(b * 1e9, 3), "worst_error": round(max(errors), 2)}


BEATS = 5000


def beat(port, rank):
    from torch.distributed import TCPStore

    store = TCPStore("127.0.0.1", port, is_master=False)
    for i in range(BEATS):
        store.set(f"progress/{rank}", f"{i} {i} the sum of the losses")
        store.check(["trouble"])


def store_requests_a_second():
    from torch.distributed import TCPStore

    clients = 4
    port = free_port()
    store = TCPStore("127.0.0.1", port, is_master=True, wait_for_workers=False)
    started = multiprocessing.get_context("spawn")
    processes = [started.Process(target=beat, args=(port, rank)) for rank in range(clients)]
    begin = time.process_time()  # of the server: this process only waits
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        if process.exitcode != 0:
            sys.exit(f"a client of the store ended with {process.exitcode}")
    seconds = time.process_time() - begin
    del store
    return round(clients * 2 * BEATS / seconds)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ranks", type=int, action="append", help="(default: 2 and 4)")
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--build", default=str(HERE.parent / "build/release"))
    options = parser.parse_args()
    for ranks in options.ranks or [2, 4]:
        sides = {
            "atoll": Ranks([f"{options.build}/bench/allreduce_bench"], ranks),
            "torch": Ranks([sys.executable, str(HERE / "allreduce_peer.py")], ranks),
        }
        medians = {name: {} for name in sides}
        for size, repeats in SIZES.items():
            seconds = {name: [] for name in sides}
            for pair in range(options.pairs + 1):  # one to warm up
                for name, side in sides.items():
                    answers = side.ask(f"{size} {repeats}")
                    if any(answer["check"] != ranks * (ranks + 1) / 2 for answer in answers):
                        sys.exit(f"{name} adds up to {answers}")
                    if pair > 0:
                        seconds[name].append(max(answer["seconds"] for answer in answers))
            ratios = [a / b for a, b in zip(seconds["atoll"], seconds["torch"])]
            for name in sides:
                medians[name][size] = statistics.median(seconds[name])
            line = {
                "bench": "allreduce",
                "ranks": ranks,
                "bytes": size,
                "pairs": options.pairs,
                "atoll_us": round(medians["atoll"][size] * 1e6, 1),
                "torch_us": round(medians["torch"][size] * 1e6, 1),
                "ratio": round(statistics.median(ratios), 3),
                "ratio_range": [round(min(ratios), 3), round(max(ratios), 3)],
            }
            print(json.dumps(line), flush=True)
        fits = {name: fitted(medians[name], ranks) for name in sides}
        print(json.dumps({"bench": "allreduce", "ranks": ranks, "fit": fits}), flush=True)
        for side in sides.values():
            side.end()
    print(json.dumps({"bench": "allreduce", "store_requests_a_cpu_second": store_requests_a_second()}))


if __name__ == "__main__":
    main()
