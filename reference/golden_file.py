"""Safetensors files that come out the same to the last byte: the library writes the entries of the metadata in
another order each time."""
import json
import struct
from pathlib import Path

from safetensors.torch import save


def in_fixed_order(file):
    """The bytes of a safetensors file with its metadata sorted; tensors and their order stay."""
    (length,) = struct.unpack("<Q", file[:8])
    header = json.loads(file[8:8 + length])
    metadata = dict(sorted(header.pop("__metadata__", {}).items()))
    text = json.dumps({"__metadata__": metadata} | header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + file[8 + length:]


def save_golden(tensors, path, metadata):
    Path(path).write_bytes(in_fixed_order(save(tensors, metadata)))
