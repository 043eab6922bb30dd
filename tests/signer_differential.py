"""Our signer against botocore's, on generated requests with hard keys, queries and headers.

  python signer_differential.py PROGRAM [--requests N] [--seed N]

PROGRAM is sign_requests. Signatures in headers and in URLs, for S3 and for services whose paths are normalised, with and
without session token, signed and unsigned bodies. Compared are the path, the query, every header and with them the
signature, which depends on every byte of the canonical request. Exits 1 at the first difference, 77 without botocore.

One known difference is left out: botocore takes Unicode's white space in a header's value for white space, AWS's
description means ASCII's.
"""

import argparse
import collections
import datetime
import hashlib
import json
import os
import pathlib
import random
import subprocess
import sys
import types
import urllib.parse

try:
    import botocore.auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials
except ImportError:
    root = pathlib.Path(__file__).resolve().parent.parent
    for python in (root / ".venv-moto/bin/python", root / ".venv-peers/bin/python"):
        if python.exists() and str(python) != sys.executable:
            os.execv(python, [str(python), *sys.argv])
    print("skipped: there is no botocore (./run peers installs it)")
    sys.exit(77)

HARD = [
    *(chr(code) for code in range(0x20, 0x7F)),
    "%20", "%2F", "%", "+", "//", "/./", "/../", "..", "~", "=", "&", "?", "#", ";", ":", "@", "'", '"', "\\",
    "ü", "ß", "日本", "🙂", "e\u0301", "\u00a0", "\u2028", "\x01", "\t", "\n", "\r", "\x7f",
]
HEADER_CHARACTERS = [*(chr(code) for code in range(0x21, 0x7F)), " ", "  ", "\t", " \t ", "ü", "日"]
HOSTS = ["bucket.s3.eu-central-1.amazonaws.com", "localhost:9000", "127.0.0.1:8080", "[::1]:9000", "s3.example.com"]
QUERY_NAMES = ["uploads", "uploadId", "partNumber", "list-type", "prefix", "delimiter", "start-after", "versionId",
               "continuation-token", "max-keys", "response-content-type", "X-Amz", "x-id", "acl"]
HEADER_NAMES = ["Range", "If-Match", "If-None-Match", "Content-Type", "Content-MD5", "x-amz-meta-file-mtime",
                "X-Amz-Meta-Name", "x-amz-copy-source", "x-amz-checksum-crc32c", "User-Agent", "Expect", "Connection",
                "Accept-Encoding", "TE", "x-amz-storage-class", "Cache-Control", "X-Amzn-Trace-Id"]


def text(rng, most, alphabet=None):
    return "".join(rng.choice(alphabet or HARD) for _ in range(rng.randint(0, most)))


def generated(rng):
    """One request, as the program takes it; bytes that are no UTF-8 only in the path, where S3 has them."""
    service = rng.choice(["s3", "s3", "s3", "sts", "sqs"])
    presigned_s = rng.choice([0, 0, 0, rng.randint(1, 604800)])
    path = "/" + text(rng, 40)
    raw_path = path.encode()
    if rng.random() < 0.2:
        raw_path += bytes(rng.randrange(256) for _ in range(rng.randint(1, 20)))
    names = [rng.choice(QUERY_NAMES) if rng.random() < 0.7 else text(rng, 10) or "q" for _ in range(rng.randint(0, 6))]
    if presigned_s:
        names = list(dict.fromkeys(names))  # botocore keeps one value of a name there
    headers = [[rng.choice(HEADER_NAMES), text(rng, 30, HEADER_CHARACTERS)] for _ in range(rng.randint(0, 5))]
    unsigned_body = service == "s3" and not presigned_s and rng.random() < 0.3
    body = rng.randbytes(rng.choice([0, 1, 100]))
    payload = hashlib.sha256(body).hexdigest()
    if unsigned_body:
        payload = "UNSIGNED-PAYLOAD"
    if presigned_s:
        payload, body = "", b""
    return body, {
        "method": rng.choice(["GET", "PUT", "POST", "HEAD", "DELETE"]),
        "scheme": "https" if unsigned_body else rng.choice(["http", "https"]),
        "host": rng.choice(HOSTS),
        "path_hex": raw_path.hex(),
        "query_hex": [[name.encode().hex(), text(rng, 20).encode().hex()] for name in names],
        "headers": headers,
        "payload_sha256": payload,
        "access_key": "AKIA" + text(rng, 16, "ABCDEFGHIJKLMNOP0123456789"),
        "secret_key": text(rng, 40, [chr(code) for code in range(0x21, 0x7F)]) or "s",
        "token": rng.choice(["", text(rng, 300, "abcXYZ019+/=") or "t"]),
        "region": rng.choice(["us-east-1", "eu-central-1", "cn-north-1", "auto"]),
        "service": service,
        "time_s": rng.randint(0, 4102444800),
        "presigned_s": presigned_s,
    }


def signed_by_botocore(body, request):
    """(URL, headers) as botocore would send them."""
    path = urllib.parse.quote(bytes.fromhex(request["path_hex"]), safe="/~")
    aws = AWSRequest(
        method=request["method"], url=f"{request['scheme']}://{request['host']}{path}", data=body, headers={})
    query = [(bytes.fromhex(name).decode(), bytes.fromhex(value).decode()) for name, value in request["query_hex"]]
    encoded = "&".join(
        f"{urllib.parse.quote(name, safe='-_.~')}={urllib.parse.quote(value, safe='-_.~')}" for name, value in query)
    if encoded:
        aws.url += "?" + encoded
    for name, value in request["headers"]:
        aws.headers[name] = value  # adds; it is an email.message
    signed_body = request["payload_sha256"] != "UNSIGNED-PAYLOAD"
    aws.context["client_config"] = types.SimpleNamespace(s3={"payload_signing_enabled": signed_body})
    keys = Credentials(request["access_key"], request["secret_key"], request["token"] or None)
    where = (keys, request["service"], request["region"])
    now = datetime.datetime.fromtimestamp(request["time_s"], datetime.timezone.utc)
    botocore.auth.get_current_datetime = lambda: now
    if request["presigned_s"]:
        kind = botocore.auth.S3SigV4QueryAuth if request["service"] == "s3" else botocore.auth.SigV4QueryAuth
        kind(*where, expires=request["presigned_s"]).add_auth(aws)
    else:
        kind = botocore.auth.S3SigV4Auth if request["service"] == "s3" else botocore.auth.SigV4Auth
        kind(*where).add_auth(aws)
    return aws.url, aws.headers.items()


def comparable(url, headers):
    """The order of a query's pairs and of the headers does not count; names of headers have no case."""
    address, _, query = url.partition("?")
    return (
        address,
        collections.Counter(query.split("&")) if query else collections.Counter(),
        collections.Counter((name.lower(), value) for name, value in headers),
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--requests", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    requests = [generated(rng) for _ in range(arguments.requests)]
    lines = "".join(json.dumps(request) + "\n" for _, request in requests)
    done = subprocess.run([arguments.program], input=lines, capture_output=True, text=True, check=True)
    answers = done.stdout.splitlines()
    if len(answers) != len(requests):
        sys.exit(f"differs: {len(answers)} answers to {len(requests)} requests")
    kinds = collections.Counter()
    for (body, request), line in zip(requests, answers):
        ours = json.loads(line)
        theirs = comparable(*signed_by_botocore(body, request))
        if comparable(ours["url"], ours.get("headers", request["headers"])) != theirs:
            sys.exit(f"differs: {json.dumps(request)}\nours   {ours}\ntheirs {theirs}")
        kinds[f"{'url' if request['presigned_s'] else 'headers'} {request['service']}"] += 1
    print(json.dumps({"requests": len(requests), "botocore": botocore.__version__, "same": dict(kinds)}))


if __name__ == "__main__":
    main()
