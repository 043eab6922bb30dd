"""How the contenders of bench/storage.py take turns, and what is said about them."""

import contextlib
import statistics

BUCKET = "bench"
MB = 1_000_000


class Turns:
    """Rounds of contenders: seconds, bytes and requests that the server saw, and one check that all share."""

    def __init__(self, world, options):
        self.world, self.without = world, options.without
        self.seconds, self.served, self.requests, self.checks = {}, {}, {}, {}

    @contextlib.contextmanager
    def turn(self, name):
        """What happens inside is one turn; it says its time by `turn.took(seconds, check)`."""
        self.world.proxy.reset()
        self.now = name
        yield self
        counts = self.world.proxy.counts()
        self.served.setdefault(name, []).append(sum(counts["response_bytes"].values()))
        self.requests.setdefault(name, []).append(sum(counts["requests"].values()))

    def took(self, seconds, check=None):
        self.seconds.setdefault(self.now, []).append(seconds)
        if check is not None:
            self.checks[self.now] = check
            if len(set(self.checks.values())) > 1:
                raise SystemExit(f"the contenders did not read the same: {self.checks}")

    def wants(self, name):
        return name not in self.without

    def ratio(self, name, base):
        """How many times as fast as the other: the median of the rounds' ratios."""
        pairs = zip(self.seconds.get(name, []), self.seconds.get(base, []))
        ratios = [theirs / ours for ours, theirs in pairs]
        return statistics.median(ratios) if ratios else None

    def result(self, **ratios):
        return {
            "rounds": max(map(len, self.seconds.values())),
            "seconds": {name: statistics.median(values) for name, values in self.seconds.items()},
            "served_mb": {name: statistics.median(values) / MB for name, values in self.served.items()},
            "requests": {name: statistics.median(values) for name, values in self.requests.items()},
            **{name: self.ratio(*pair) for name, pair in ratios.items() if self.ratio(*pair) is not None},
        }
