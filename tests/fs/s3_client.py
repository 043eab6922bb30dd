"""The few requests to the tests' S3 server that the tests of the mount make past Atoll, signed by hand
("Signature Version 4 signing process" of AWS's documentation)."""

import datetime
import hashlib
import hmac
import http.client
import json
import os
import re
import urllib.parse


class Bucket:
    def __init__(self, server, name):
        self.server, self.name = server, name

    def request(self, method, key="", body=b"", headers=None, query=""):
        """The answer's status, headers and body."""
        now = datetime.datetime.now(datetime.timezone.utc)
        time, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
        path = "/" + urllib.parse.quote(f"{self.name}/{key}" if key else self.name, safe="/-_.~")
        digest = hashlib.sha256(body).hexdigest()
        signed = {"host": f"{self.server['host']}:{self.server['port']}", "x-amz-content-sha256": digest,
                  "x-amz-date": time, **(headers or {})}
        names = ";".join(sorted(signed))
        lines = "".join(f"{name}:{signed[name]}\n" for name in sorted(signed))
        canonical = f"{method}\n{path}\n{query}\n{lines}\n{names}\n{digest}"
        scope = f"{day}/{self.server['region']}/s3/aws4_request"
        text = f"AWS4-HMAC-SHA256\n{time}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        secret = ("AWS4" + self.server["secret_access_key"]).encode()
        for part in (day, self.server["region"], "s3", "aws4_request"):
            secret = hmac.new(secret, part.encode(), "sha256").digest()
        signature = hmac.new(secret, text.encode(), "sha256").hexdigest()
        signed["authorization"] = (f"AWS4-HMAC-SHA256 Credential={self.server['access_key_id']}/{scope}, "
                                   f"SignedHeaders={names}, Signature={signature}")
        connection = http.client.HTTPConnection(self.server["host"], self.server["port"], timeout=60)
        connection.request(method, path + (f"?{query}" if query else ""), body, signed)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, content

    def make(self):
        status, _, body = self.request("PUT")
        assert status == 200, body

    def put(self, key, body, metadata=None):
        headers = {f"x-amz-meta-{name}": value for name, value in (metadata or {}).items()}
        status, _, answer = self.request("PUT", key, body, headers)
        assert status == 200, answer

    def get(self, key):
        """The content, or None."""
        status, _, body = self.request("GET", key)
        return body if status == 200 else None

    def metadata(self, key):
        _, headers, _ = self.request("HEAD", key)
        return {name[len("x-amz-meta-"):]: value for name, value in headers.items()
                if name.startswith("x-amz-meta-")}

    def remove(self, key):
        self.request("DELETE", key)

    def keys(self):
        _, _, body = self.request("GET", query="list-type=2")
        return re.findall(r"<Key>([^<]*)</Key>", body.decode())


def environment(server, home):
    """Of a program that finds the server as AWS's programs find S3, and keeps what it reads below `home`."""
    return {
        "PATH": os.environ["PATH"], "HOME": str(home), "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ACCESS_KEY_ID": server["access_key_id"], "AWS_SECRET_ACCESS_KEY": server["secret_access_key"],
        "AWS_REGION": server["region"], "AWS_ENDPOINT_URL": server["endpoint_url"],
        "ATOLL_CACHE_DIR": str(home / "cache"),
    }


def server():
    """What start.sh says of the tests' server; None where there is none."""
    name = os.environ.get("ATOLL_S3_SERVER", "")
    if not os.path.exists(name):
        return None
    with open(name) as file:
        return json.load(file)
