"""The model behind docs/scaling.md: what a step takes on 8 to 4,096 GPUs, and what limits it. No dependencies.

    python3 bench/scaling_model.py            every table of the document, which a test holds against it

Costs of sums are the alpha-beta model's: a message of n bytes takes alpha + n beta. The document has the formulas' sources,
the assumptions, and how far from published and measured points all this is.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist

MB, GB, US, MS = 1e6, 1e9, 1e-6, 1e-3
GPUS_A_NODE = 8

# ---- the gradient: r50_fpn, 91 classes, three trainable stages ----------------------------------

# In the order of the backward pass: bytes, and multiply-adds (10^9) at 800 x 1333 px with 512 boxes and 128 masks an image. A gradient is there when the pass is through with its layer; what is not trained
# below layer2 takes none.
LAYERS = [
    ("mask head", 10.6 * MB, 66),
    ("box head but fc6", 6.1 * MB, 1),
    ("fc6", 51.4 * MB, 6),  # one parameter, so in one bucket
    ("RPN", 2.4 * MB, 52),
    ("FPN", 13.4 * MB, 58),
    ("layer4", 59.9 * MB, 17),
    ("layer3", 28.4 * MB, 31),
    ("layer2", 4.9 * MB, 22),
]
GRADIENT_BYTES = sum(layer[1] for layer in LAYERS)
FIRST_BUCKET_BYTES, BUCKET_BYTES = 2**20, 25 * 2**20
BACKWARD_SHARE = 0.6  # of a step's computing; assumption

# ---- networks: assumptions ----------------------------------------------------------------------


@dataclass(frozen=True)
class Network:
    """Of one node with eight GPUs; bytes a second in one direction."""

    name: str
    local_alpha: float  # s, between GPUs of a node
    local_bandwidth: float  # of a GPU
    alpha: float  # s, between nodes
    bandwidth: float  # of a node, all its cards together


# What libraries reach is taken as 80 % of the cards' speed.
NETWORKS = {
    "p4d": Network("p4d.24xlarge (A100, 400 Gb/s EFA)", 3 * US, 240 * GB, 20 * US, 40 * GB),
    "p5": Network("p5.48xlarge (H100, 3,200 Gb/s EFA)", 3 * US, 360 * GB, 20 * US, 320 * GB),
    "dgx-a100": Network("DGX A100 (8 x 200 Gb/s InfiniBand)", 3 * US, 240 * GB, 5 * US, 160 * GB),
    "dgx-h100": Network("DGX H100 (8 x 400 Gb/s InfiniBand)", 3 * US, 360 * GB, 5 * US, 320 * GB),
}

# ---- sums ---------------------------------------------------------------------------------------

TREE_CHUNK_BYTES = 512 * 1024  # of a pipelined tree; assumption


def ring(ranks, size, alpha, beta):
    """Patarasuk and Yuan 2009: reduce-scatter and all-gather round a ring."""
    return 2 * (ranks - 1) * alpha + 2 * (ranks - 1) / ranks * size * beta


def halving_doubling(ranks, size, alpha, beta):
    """Rabenseifner's, in Thakur et al. 2005: the ring's bytes in fewer steps."""
    return 2 * math.ceil(math.log2(ranks)) * alpha + 2 * (ranks - 1) / ranks * size * beta


def tree(ranks, size, alpha, beta):
    """NCCL's double binary tree: each of two trees takes half of the bytes up and down, in chunks, so that every rank
    sends each byte twice at most; the first chunk goes all the way before the last one can."""
    depth = math.ceil(math.log2(ranks))
    return 2 * depth * (alpha + min(size, TREE_CHUNK_BYTES) * beta) + 2 * size * beta


def hierarchical(nodes, size, network, between=tree):
    """Reduce-scatter in a node, eight sums side by side between nodes, each of an eighth over an eighth of the node's
    cards, all-gather in the node."""
    steps = GPUS_A_NODE - 1
    local = 2 * (steps * network.local_alpha + steps / GPUS_A_NODE * size / network.local_bandwidth)
    if nodes == 1:
        return local
    return local + between(nodes, size / GPUS_A_NODE, network.alpha, GPUS_A_NODE / network.bandwidth)


def flat_ring(nodes, size, network):
    """One ring through all GPUs, which crosses between nodes once a node and uses all cards."""
    ranks = nodes * GPUS_A_NODE
    latency = 2 * (nodes * network.alpha + (ranks - nodes) * network.local_alpha)
    if nodes == 1:
        return hierarchical(1, size, network)
    return latency + 2 * (ranks - 1) / ranks * size / network.bandwidth


def quickest(nodes, size, network):
    choices = {
        "ring": flat_ring(nodes, size, network),
        "tree": hierarchical(nodes, size, network, tree),
        "hierarchical ring": hierarchical(nodes, size, network, ring),
    }
    return min(choices.items(), key=lambda choice: choice[1])


# ---- a step -------------------------------------------------------------------------------------


def bucket_ends(factor=1.0):
    """(bytes, share of the backward pass after which they can be sent) of every bucket, which is closed when it has its size
    or more. A layer's gradients come evenly over its time, but those of one parameter all at once. `factor`: what is
    sent of every byte."""
    work = sum(cost for _, _, cost in LAYERS)
    buckets, filled, passed, limit = [], 0.0, 0.0, FIRST_BUCKET_BYTES
    for name, size, cost in LAYERS:
        left = size
        while filled + left >= limit:
            sent = left if name == "fc6" else limit - filled
            left -= sent
            buckets.append(((filled + sent) * factor, (passed + cost * (1 - left / size)) / work))
            filled, limit = 0.0, BUCKET_BYTES
        filled += left
        passed += cost
    if filled > 0:
        buckets.append((filled * factor, 1.0))
    return buckets


def exposed(backward_s, cost, buckets):
    """What of the sums is left to wait for after the backward pass: each begins when its bucket is full and the one before
    is through."""
    free = 0.0
    for size, share in buckets:
        free = max(free, share * backward_s) + cost(size)
    return free - backward_s


def slowest(ranks, spread):
    """The slowest of so many, in units of the mean: the expected maximum of a normal distribution (Blom 1958)."""
    if ranks == 1:
        return 1.0
    return 1 + spread * NormalDist().inv_cdf((ranks - 0.375) / (ranks + 0.25))


@dataclass(frozen=True)
class Gpu:
    name: str
    fixed_s: float  # of a step, whatever the batch
    image_s: float

    def step(self, images):
        return self.fixed_s + images * self.image_s


LOOPBACK_ALPHA = 20 * US  # between two processes of a node; assumption, slower where cores are short (see the fits)
FIXED_S = 5 * MS  # assumption
SPREAD = 0.08  # of one image's time over the ranks; assumption
BATCH_OF_ONE_NODE = 12  # images a GPU in MLPerf's runs on one node; assumption


def calibrated(name, key, images_a_second):
    """From the published rate of one node: the only published number that goes into the model."""
    step = GPUS_A_NODE * BATCH_OF_ONE_NODE / images_a_second
    step -= exposed(BACKWARD_SHARE * step, lambda size: hierarchical(1, size, NETWORKS[key]), bucket_ends())
    return Gpu(name, FIXED_S, (step / slowest(8, SPREAD / math.sqrt(BATCH_OF_ONE_NODE)) - FIXED_S) / BATCH_OF_ONE_NODE)


A100 = calibrated("A100", "dgx-a100", 691)
H100 = calibrated("H100", "dgx-h100", 1448)


@dataclass(frozen=True)
class Step:
    compute_s: float
    waiting_s: float  # for the slowest rank
    exposed_s: float  # of the gradients' sums
    numbers_s: float  # sums of a few numbers
    images: int  # of all ranks

    @property
    def seconds(self):
        return self.compute_s + self.waiting_s + self.exposed_s + self.numbers_s


# Sums of a few numbers that the processors do over Gloo: counts of the batch, losses, the question whether to stop.
SMALL_SUMS_A_STEP = 3


def ring_sizes(ranks):
    """parallel/ring_sizes.h."""
    sizes = []
    while ranks > 1:
        size = next((s for s in range(8, 1, -1) if ranks % s == 0), 0) or next(s for s in range(9, ranks + 1) if ranks % s == 0)
        sizes.append(size)
        ranks //= size
    return sizes


def small_sums(ranks, alpha):
    return SMALL_SUMS_A_STEP * sum(ring(size, 64, alpha, 0) for size in ring_sizes(ranks))


def step_of(gpu, network, gpus, images, factor=1.0, with_small_sums=True):
    """`images` of each GPU."""
    nodes = max(1, gpus // GPUS_A_NODE)
    compute = gpu.step(images)
    left = exposed(
        BACKWARD_SHARE * compute, lambda size: quickest(nodes, size, network)[1], bucket_ends(factor=factor)
    )
    waiting = compute * (slowest(gpus, SPREAD / math.sqrt(images)) - 1)
    alpha = network.alpha if nodes > 1 else LOOPBACK_ALPHA
    numbers = small_sums(gpus, alpha) if with_small_sums else 0.0
    return Step(compute, waiting, left, numbers, gpus * images)


def efficiency(gpu, network, gpus, images, **options):
    """Images a second of a GPU, against those of one alone with the same images a step."""
    step = step_of(gpu, network, gpus, images, **options)
    return gpu.step(images) / step.seconds


# ---- what this machine has measured -------------------------------------------------------------

# ./run bench allreduce: ranks -> bytes -> seconds of Atoll's sum over the loopback, medians.
MEASURED_SUMS = {
    2: {4096: 0.0003098, 65536: 0.0002823, 1000000: 0.001024, 25000000: 0.02131, 178000000: 0.152},
    4: {4096: 0.004984, 65536: 0.005093, 1000000: 0.005293, 25000000: 0.06127, 178000000: 0.4227},
}
# ---- data and evaluation ------------------------------------------------------------------------

TRAIN_IMAGES, IMAGE_BYTES, VAL_IMAGES = 118_287, 163_000, 5_000
GETS_A_PREFIX = 5_500  # a second that S3 documents for a prefix
LOADER_IMAGES_A_CORE = 342  # docs/performance.md
EVALUATION_SPEEDUP = 2.5  # images a second without a backward pass against training; assumption
MATCHING_S = 0.48  # docs/performance.md: 5,000 images, 500,000 detections

# ---- tables -------------------------------------------------------------------------------------


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def number(value, digits=2):
    return f"{value:,.{digits}f}" if value < 1000 else f"{value:,.0f}"


SIZES_GPUS = [8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096]


def sums_table():
    rows = []
    for gpus in SIZES_GPUS:
        row = [number(gpus, 0)]
        for key in ("p4d", "p5"):
            nodes = gpus // GPUS_A_NODE
            for cost in (flat_ring, lambda n, s, w: hierarchical(n, s, w, ring), hierarchical):
                row.append(number(cost(nodes, GRADIENT_BYTES, NETWORKS[key]) / MS, 1))
        rows.append(row)
    return table(["GPUs", *(f"{key} {a}" for key in ("p4d", "p5") for a in ("ring", "hier. ring", "hier. tree"))], rows)


def steps_table():
    rows = []
    for gpus in SIZES_GPUS:
        row = [number(gpus, 0)]
        for gpu, key in ((A100, "p4d"), (H100, "p5")):
            for images in (1, 4):
                step = step_of(gpu, NETWORKS[key], gpus, images)
                row.append(
                    f"{number(efficiency(gpu, NETWORKS[key], gpus, images))} "
                    f"({number(step.waiting_s / MS, 1)} + {number(step.exposed_s / MS, 1)} + {number(step.numbers_s / MS, 1)})"
                )
        rows.append([*row, number(gpus, 0), number(4 * gpus, 0)])
    head = ["GPUs", "p4d, 1 image", "p4d, 4 images", "p5, 1 image", "p5, 4 images", "images a step: 1", "4"]
    return table(head, rows)


# name, GPU, network, GPUs that train, images of each (assumption but for the first), images a second
PUBLISHED = [
    ("MLPerf v3.0, 8 H100 (calibration)", H100, "dgx-h100", 8, 12, 1448),
    ("MLPerf v3.0, 64 H100", H100, "dgx-h100", 64, 4, 8254),
    ("MLPerf v3.0, 384 H100, 272 of them training", H100, "dgx-h100", 272, 1, 23_700),
    ("MLPerf v2.1, 8 A100 (calibration)", A100, "dgx-a100", 8, 12, 691),
    ("MLPerf v2.1, 384 A100, 272 of them training", A100, "dgx-a100", 272, 1, 13_100),
]


def published_table():
    rows = []
    for name, gpu, key, gpus, images, rate in PUBLISHED:
        step = step_of(gpu, NETWORKS[key], gpus, images, with_small_sums=False)
        model = step.images / step.seconds
        rows.append([name, str(images), number(rate, 0), number(model, 0), f"{model / rate - 1:+.0%}"])
    return table(["published", "images a GPU", "images/s", "model", "deviation"], rows)


def fit(times, ranks):
    """a and b of T(n) = 2 (N - 1) (a + b n / N), by least squares of relative errors, neither below 0."""
    rows = [(2 * (ranks - 1) / t, 2 * (ranks - 1) * n / ranks / t) for n, t in times.items()]
    xx, xy, yy = (sum(row[i] * row[j] for row in rows) for i, j in ((0, 0), (0, 1), (1, 1)))
    x, y = (sum(row[i] for row in rows) for i in (0, 1))
    determinant = xx * yy - xy * xy
    a, b = (x * yy - y * xy) / determinant, (y * xx - x * xy) / determinant
    if a < 0:
        a, b = 0, y / yy
    if b < 0:
        a, b = x / xx, 0
    return a, b


def measured_table():
    rows = []
    for ranks, times in MEASURED_SUMS.items():
        alpha, beta = fit(times, ranks)
        for size, seconds in times.items():
            model = ring(ranks, size, alpha, beta)
            label = f"{ranks}, alpha {alpha / US:.0f} us, {1 / beta / GB:.2f} GB/s"
            rows.append([label, number(size, 0), number(seconds / MS, 3), number(model / MS, 3), f"{model / seconds - 1:+.0%}"])
    return table(["ranks", "bytes", "measured ms", "model ms", "deviation"], rows)


def data_table():
    rows = []
    for gpus in SIZES_GPUS:
        nodes = gpus // GPUS_A_NODE
        step = step_of(H100, NETWORKS["p5"], gpus, 4)
        rate = step.images / step.seconds
        # A node sees a share of 1 / nodes of the images in an epoch, another one in the next.
        over_12 = nodes * (1 - (1 - 1 / nodes) ** 12)
        rows.append(
            [
                number(gpus, 0),
                number(rate, 0),
                number(rate / GETS_A_PREFIX, 1),
                number(rate / nodes * IMAGE_BYTES * 8 / GB, 1),
                number(rate / nodes / LOADER_IMAGES_A_CORE, 1),
                number(TRAIN_IMAGES / rate, 1),
                number(over_12, 1),
            ]
        )
    head = ["GPUs (p5)", "images/s = GET/s", "of one prefix's 5,500", "Gb/s a node", "cores a node", "s an epoch", "copies fetched in 12 epochs"]
    return table(head, rows)


def evaluation_table():
    rows = []
    for gpus in SIZES_GPUS:
        step = step_of(H100, NETWORKS["p5"], gpus, 4)
        rate = step.images / step.seconds
        epoch = TRAIN_IMAGES / rate
        one = EVALUATION_SPEEDUP * 4 / H100.step(4)
        here = VAL_IMAGES / (gpus * one) + MATCHING_S
        # As many as evaluate within an epoch, which they then do beside the training.
        room = epoch - MATCHING_S
        spare = math.ceil(VAL_IMAGES / (one * room)) if room > 0 else None
        rows.append(
            [
                number(gpus, 0),
                number(epoch, 1),
                f"{number(here, 1)} ({here / (here + epoch):.0%})",
                "cannot" if spare is None else f"{spare} ({spare / (spare + gpus):.0%})",
            ]
        )
    return table(["GPUs (p5)", "s an epoch", "s of an evaluation by all (share of the time)", "spare GPUs that keep up (share)"], rows)


BEATS_A_SECOND = 2  # parallel/watch.cpp: each a set and a check


def control_table():
    network = NETWORKS["p5"]
    rows = []
    for gpus in SIZES_GPUS:
        step = step_of(H100, network, gpus, 4)
        one_ring = SMALL_SUMS_A_STEP * ring(gpus, 64, network.alpha if gpus > GPUS_A_NODE else LOOPBACK_ALPHA, 0)
        rows.append(
            [
                number(gpus, 0),
                number(step.seconds / MS, 1),
                number(one_ring / MS, 1),
                " x ".join(str(size) for size in ring_sizes(gpus)),
                number(step.numbers_s / MS, 1),
                number(gpus * BEATS_A_SECOND * 2, 0),
            ]
        )
    head = ["GPUs (p5)", "step ms", "three small sums in one ring, ms", "short rings", "in them, ms", "store requests/s"]
    return table(head, rows)


TABLES = {
    "sums": sums_table,
    "steps": steps_table,
    "published": published_table,
    "measured": measured_table,
    "data": data_table,
    "evaluation": evaluation_table,
    "control": control_table,
}


def main():
    for name, make in TABLES.items():
        print(f"{name}\n\n{make()}\n")


if __name__ == "__main__":
    main()
