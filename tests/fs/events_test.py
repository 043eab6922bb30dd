"""A mount that hears of changes from an SQS queue, both played by moto. Usage: events_test.py ATOLL [unittest's options]"""

import http.client
import json
import os

os.environ["ATOLL_S3_SERVER"] = os.environ.get("ATOLL_MOTO", "")

import mounting  # noqa: E402
from mounting import SERVER  # noqa: E402


class Events(mounting.Mounting):
    def make_queue(self):
        """Its URL; the bucket tells it of everything."""
        connection = http.client.HTTPConnection(SERVER["host"], SERVER["port"], timeout=60)
        scope = f"{SERVER['access_key_id']}/20260101/{SERVER['region']}/sqs/aws4_request"
        connection.request("POST", "/", json.dumps({"QueueName": self.bucket.name}), {
            "Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": "AmazonSQS.CreateQueue",
            "Authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"})
        url = json.loads(connection.getresponse().read())["QueueUrl"]
        connection.close()
        told = (f"<NotificationConfiguration><QueueConfiguration><Queue>arn:aws:sqs:{SERVER['region']}:123456789012:"
                f"{self.bucket.name}</Queue><Event>s3:ObjectCreated:*</Event><Event>s3:ObjectRemoved:*</Event>"
                "</QueueConfiguration></NotificationConfiguration>")
        status, _, answer = self.bucket.request("PUT", body=told.encode(), query="notification=")
        self.assertEqual(status, 200, answer)
        return url

    def test_what_s3_tells_a_queue_shows_at_once(self):
        self.bucket.put("there", b"1")
        # Neither an import nor the age of what is known would show it.
        self.mount("--events", self.make_queue(), "--import-interval", "0", "--max-age", "3600")
        self.assertEqual((self.point / "there").read_bytes(), b"1")
        self.assertFalse((self.point / "new").exists())
        self.bucket.put("new", b"2")
        self.wait_until("a new object", (self.point / "new").exists)
        self.assertEqual((self.point / "new").read_bytes(), b"2")
        self.bucket.remove("new")
        self.wait_until("that it is gone", lambda: not (self.point / "new").exists())

    def test_what_is_no_queue_is_refused(self):
        refused = self.atoll("mount", self.uri, self.point, "--events", "queue", code=2)
        self.assertIn("is not the URL of a queue", refused.stderr)


if __name__ == "__main__":
    mounting.main()
