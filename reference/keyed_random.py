"""base/keyed_random.h in numpy, and the choices of model/sampling.h as a sampler for torchvision.

Everything that Atoll draws is a function of a key, so a golden made here can follow its choices.
"""

import numpy as np
import torch

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_M1 = np.uint64(0xBF58476D1CE4E5B9)
_M2 = np.uint64(0x94D049BB133111EB)

ANCHORS, BOXES = 1, 2  # SamplingPurpose


def mix64(x):
    with np.errstate(over="ignore"):
        x = np.asarray(x, np.uint64) + _GOLDEN
        x = (x ^ (x >> np.uint64(30))) * _M1
        x = (x ^ (x >> np.uint64(27))) * _M2
        return x ^ (x >> np.uint64(31))


def hash_key(*parts):
    value = np.uint64(0)
    for part in parts:
        value = mix64(value ^ np.uint64(part & 0xFFFFFFFFFFFFFFFF))
    return value


def hash_name(name):
    """FNV-1a, 64 bits: model/parameters.h."""
    value = 0xCBF29CE484222325
    for byte in name.encode():
        value = ((value ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return value


def uniform(key, count, low=0.0, high=1.0):
    """The first `count` values of KeyedRandom(key).uniform(low, high), as float64."""
    counter = np.arange(count, dtype=np.uint64)
    bits = mix64(hash_key(*key) ^ mix64(counter))
    return low + (high - low) * ((bits >> np.uint64(11)).astype(np.float64) * 2.0**-53)


class KeyedSampler:
    """Takes the place of torchvision's BalancedPositiveNegativeSampler.

    `moment` is shared with the caller, who sets seed, step and image_ids before each pass.
    """

    def __init__(self, replaced, purpose, moment):
        self.count = replaced.batch_size_per_image
        self.fraction = replaced.positive_fraction
        self.purpose = purpose
        self.moment = moment

    def __call__(self, labels):
        positive, negative = [], []
        for image_id, given in zip(self.moment["image_ids"], labels):
            prefix = hash_key(self.moment["seed"], self.moment["step"], image_id, self.purpose)
            values = given.numpy()
            hashes = mix64(prefix ^ np.arange(len(values), dtype=np.uint64))
            drawn = []
            room = int(self.count * self.fraction)
            for wanted in (values >= 1, values == 0):
                candidates = np.flatnonzero(wanted)
                candidates = candidates[np.argsort(hashes[candidates])][:room]
                mask = torch.zeros_like(given, dtype=torch.uint8)
                mask[torch.from_numpy(candidates)] = 1
                drawn.append(mask)
                room = self.count - len(candidates)
            positive.append(drawn[0])
            negative.append(drawn[1])
        return positive, negative


def install_samplers(model, moment):
    model.rpn.fg_bg_sampler = KeyedSampler(model.rpn.fg_bg_sampler, ANCHORS, moment)
    model.roi_heads.fg_bg_sampler = KeyedSampler(model.roi_heads.fg_bg_sampler, BOXES, moment)
