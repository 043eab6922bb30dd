"""Makes a bucket on a test server, which no command of Atoll's does: make_bucket.py SERVER_JSON BUCKET.

One signed PUT, by nothing but Python's own library. A bucket that is there already is no error.
"""

import datetime
import hashlib
import hmac
import json
import sys
import urllib.error
import urllib.request
from pathlib import Path

EMPTY = hashlib.sha256(b"").hexdigest()


def signed_headers(server, path, now):
    """Signature Version 4 of a PUT without a body or a query."""
    stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
    headers = {
        "host": f"{server['host']}:{server['port']}",
        "x-amz-content-sha256": EMPTY,
        "x-amz-date": stamp,
    }
    names = ";".join(headers)
    lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
    request = f"PUT\n{path}\n\n{lines}\n{names}\n{EMPTY}"
    scope = f"{day}/{server['region']}/s3/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    key = b"AWS4" + server["secret_access_key"].encode()
    for part in (day, server["region"], "s3", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    credential = f"{server['access_key_id']}/{scope}"
    headers["authorization"] = f"AWS4-HMAC-SHA256 Credential={credential},SignedHeaders={names},Signature={signature}"
    return headers


def main():
    server, bucket = json.loads(Path(sys.argv[1]).read_text()), sys.argv[2]
    path = f"/{bucket}"
    headers = signed_headers(server, path, datetime.datetime.now(datetime.timezone.utc))
    request = urllib.request.Request(server["endpoint_url"] + path, method="PUT", headers=headers)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        opener.open(request, timeout=10).close()
    except urllib.error.HTTPError as error:
        if error.code != 409:
            sys.exit(f"making the bucket {bucket} failed: {error.code} {error.read().decode()}")


if __name__ == "__main__":
    main()
