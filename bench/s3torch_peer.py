"""s3torchconnector's side of bench/storage.py's copy case: every object below a prefix read once, by a DataLoader with
as many worker processes as asked for.

    s3torch_peer.py s3://BUCKET/PREFIX WORKERS

Endpoint and credentials come from the environment. Starting the workers counts, as for Atoll's threads; importing and
listing do not.
"""

import json
import os
import sys
import time

from s3torchconnector import S3ClientConfig, S3MapDataset
from torch.utils.data import DataLoader


def size_of(item):
    return len(item.read())


def main():
    uri, workers = sys.argv[1], int(sys.argv[2])
    dataset = S3MapDataset.from_prefix(
        uri,
        region=os.environ["AWS_REGION"],
        endpoint=os.environ["AWS_ENDPOINT_URL"],
        transform=size_of,
        s3client_config=S3ClientConfig(force_path_style=True),
    )
    count = len(dataset)
    begin = time.perf_counter()
    total = sum(sum(sizes) for sizes in DataLoader(dataset, batch_size=32, num_workers=workers, collate_fn=list))
    print(json.dumps({"seconds": time.perf_counter() - begin, "bytes": total, "objects": count}))


if __name__ == "__main__":
    main()
