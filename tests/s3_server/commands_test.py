"""Every command that reads or writes a dataset, a model or results, on a bucket: once from end to end, and over TLS.
Usage: commands_test.py ATOLL [unittest's options]"""

import json
import unittest

import on_a_bucket
import s3_client
import tls_front
from on_a_bucket import SERVER, OnABucket


class Commands(OnABucket):
    """A dataset and a model in the bucket, made by the commands themselves."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for words in (
            ("synth", "--out", f"{cls.uri}/coco", "--images", 16, "--val-images", 6, "--size", 64, "--seed", 3),
            ("train", "--preset", "tiny", "--data", f"{cls.uri}/coco", "--out", f"{cls.uri}/run", "--steps", 2),
        ):
            result = cls.run_atoll(*words)
            if result.returncode != 0:
                raise AssertionError((words, result.stdout, result.stderr))
        cls.weights = f"{cls.uri}/run/model.safetensors"

    def test_training_leaves_its_results_in_the_bucket(self):
        keys = self.bucket.keys()
        for key in ("run/model.safetensors", "run/config.toml"):
            self.assertIn(key, keys)
        self.assertTrue(any(key.startswith("run/checkpoints/") for key in keys), keys)

    def test_eval_reads_and_writes_the_bucket_and_coco_eval_agrees(self):
        self.atoll("eval", "--weights", self.weights, "--data", f"{self.uri}/coco", "--out", f"{self.uri}/eval")
        numbers = self.json_at("eval/eval.json")
        self.atoll("coco-eval", "--gt", f"{self.uri}/coco/annotations/instances_val2017.json",
                   "--dt", f"{self.uri}/eval/predictions.json", "--json", f"{self.uri}/again/eval.json")
        again = self.json_at("again/eval.json")
        for kind in ("bbox", "segm"):
            self.assertEqual(again[kind]["stats"], numbers[kind]["stats"])

    def test_coco_eval_reads_results_from_a_bucket(self):
        truth = self.json_at("coco/annotations/instances_val2017.json")
        results = [{"image_id": one["image_id"], "category_id": one["category_id"], "bbox": one["bbox"], "score": 1}
                   for one in truth["annotations"]]
        self.bucket.put("perfect.json", json.dumps(results).encode())
        self.atoll("coco-eval", "--gt", f"{self.uri}/coco/annotations/instances_val2017.json", "--iou", "bbox",
                   "--dt", f"{self.uri}/perfect.json", "--json", f"{self.uri}/perfect-eval.json")
        self.assertEqual(self.json_at("perfect-eval.json")["bbox"]["stats"][0], 1)

    def test_predict_takes_one_picture_or_a_folder_of_a_bucket(self):
        first = next(key for key in self.bucket.keys() if key.startswith("coco/val2017/"))
        self.atoll("predict", "--weights", self.weights, "--out", f"{self.uri}/one", f"{self.uri}/{first}")
        drawn = [key for key in self.bucket.keys() if key.startswith("one/pictures/")]
        self.assertEqual(len(drawn), 1, self.bucket.keys())
        self.atoll("predict", "--weights", self.weights, "--out", f"{self.uri}/all", f"{self.uri}/coco/val2017/")
        drawn = [key for key in self.bucket.keys() if key.startswith("all/pictures/")]
        self.assertEqual(len(drawn), 6, self.bucket.keys())
        self.json_at("all/predictions.json")

    def test_a_public_bucket_is_read_without_keys(self):
        public = s3_client.Bucket(SERVER, f"{self.bucket.name}-public")
        status, _, answer = public.request("PUT", headers={"x-amz-acl": "public-read"})
        self.assertEqual(status, 200, answer)
        status, _, answer = public.request("PUT", "a", b"for all", headers={"x-amz-acl": "public-read"})
        self.assertEqual(status, 200, answer)
        nobody = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
        cat = self.atoll("fs", "cat", "--no-sign-request", f"s3://{public.name}/a", **nobody)
        self.assertEqual(cat.stdout, "for all")
        refused = self.run_atoll("fs", "cat", "--no-sign-request", f"{self.uri}/coco/annotations/instances_val2017.json",
                                 **nobody)
        self.assertNotEqual(refused.returncode, 0)
        self.assertIn("403", refused.stderr)

    def test_stats_and_validate_read_a_bucket(self):
        stats = json.loads(self.atoll("data", "stats", "--data", f"{self.uri}/coco", "--json").stdout)
        self.assertEqual(stats["annotations/instances_train2017.json"]["images"]["count"], 16, stats)
        self.atoll("data", "validate", "--data", f"{self.uri}/coco")
        # And what is wrong in it.
        name = "coco/val2017/" + self.json_at("coco/annotations/instances_val2017.json")["images"][0]["file_name"]
        whole = self.bucket.get(name)
        self.bucket.put(name, whole[: len(whole) // 2])
        try:
            result = self.run_atoll("data", "validate", "--data", f"{self.uri}/coco")
            self.assertNotEqual(result.returncode, 0, result.stdout)
            self.assertIn(name.rsplit("/", 1)[1], result.stdout + result.stderr)
        finally:
            self.bucket.put(name, whole)

    def test_an_index_lies_beside_the_annotations(self):
        first = self.atoll("data", "index", "--data", f"{self.uri}/coco").stdout
        beside = [key for key in self.bucket.keys() if key.startswith("coco/annotations/")]
        indexes = [key for key in beside if not key.endswith(".json")]
        self.assertEqual(len(indexes), 2, (first, self.bucket.keys()))
        self.assertIn("up to date", self.atoll("data", "index", "--data", f"{self.uri}/coco").stdout)

    def test_pictures_become_records_in_a_bucket_and_come_back(self):
        records = f"tfrecord:{self.uri}/records"
        self.atoll("data", "convert", "--data", f"{self.uri}/coco", "--out", records, "--shards", 2)
        self.assertEqual(sum(key.endswith(".tfrecord") for key in self.bucket.keys()), 3)
        # Once more: what is finished is kept.
        self.assertIn("all written before", self.atoll("data", "convert", "--data", f"{self.uri}/coco", "--out", records,
                                               "--shards", 2).stdout)
        self.atoll("data", "validate", "--data", records)
        self.atoll("train", "--preset", "tiny", "--data", records, "--out", f"{self.uri}/from-records", "--steps", 1)
        self.atoll("data", "convert", "--data", records, "--out", f"{self.uri}/back")
        for image in self.json_at("coco/annotations/instances_train2017.json")["images"]:
            key = "train2017/" + image["file_name"]
            self.assertEqual(self.bucket.get("back/" + key), self.bucket.get("coco/" + key), key)

    def test_a_preview_is_drawn_from_and_into_a_bucket(self):
        self.atoll("data", "preview", "--data", f"{self.uri}/coco", "--out", f"{self.uri}/preview")
        self.assertTrue(any(key.startswith("preview/") for key in self.bucket.keys()))


@unittest.skipUnless(tls_front.available(), "no openssl to make certificates with")
class OverTls(OnABucket):
    """The same server behind TLS, with a certificate that nobody has signed but itself."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.bucket.put("greeting", b"hello over TLS")

    def front(self, *names, **options):
        certificate = tls_front.make_certificate(self.folder, *names, **options)
        front = tls_front.TlsFront(certificate, (SERVER["host"], SERVER["port"]))
        self.addCleanup(front.close)
        return front.url, str(certificate.file)

    def cat(self, url, code=0, **variables):
        result = self.atoll("fs", "cat", f"{self.uri}/greeting", code=code, AWS_ENDPOINT_URL=url, **variables)
        return result.stdout if code == 0 else result.stderr

    def test_a_server_of_its_own_authority_is_trusted_where_a_bundle_names_it(self):
        url, bundle = self.front("IP:127.0.0.1")
        for variable in ("AWS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
            self.assertEqual(self.cat(url, **{variable: bundle}), "hello over TLS", variable)
        # What is AWS's goes first.
        self.assertIn("nowhere.pem", self.cat(url, code=2, AWS_CA_BUNDLE="nowhere.pem", CURL_CA_BUNDLE=bundle))

    def test_uploads_and_listings_work_over_tls(self):
        url, bundle = self.front("IP:127.0.0.1")
        self.atoll("synth", "--out", f"{self.uri}/tls", "--images", 3, "--val-images", 1, "--size", 32,
                   AWS_ENDPOINT_URL=url, AWS_CA_BUNDLE=bundle)
        listed = self.atoll("fs", "ls", "--recursive", f"{self.uri}/tls", AWS_ENDPOINT_URL=url, AWS_CA_BUNDLE=bundle)
        self.assertIn("annotations/instances_train2017.json", listed.stdout)

    def test_a_server_that_nobody_vouches_for_is_refused_at_once_with_what_to_do(self):
        url, _ = self.front("IP:127.0.0.1")
        said = self.cat(url, code=2)
        self.assertIn("not trusted", said)
        self.assertIn("AWS_CA_BUNDLE", said)
        self.assertNotIn("tried", said)  # a certificate does not get better

    def test_a_certificate_of_another_name_is_refused_and_no_bundle_is_asked_for(self):
        url, bundle = self.front("DNS:storage.example")
        said = self.cat(url, code=2, AWS_CA_BUNDLE=bundle)
        self.assertIn("another name", said)
        self.assertNotIn("set AWS_CA_BUNDLE", said)

    def test_a_certificate_that_has_expired_is_refused_as_that(self):
        url, bundle = self.front("IP:127.0.0.1", dates=("20200101000000Z", "20200102000000Z"))
        said = self.cat(url, code=2, AWS_CA_BUNDLE=bundle)
        self.assertIn("expired", said)
        self.assertIn("clock", said)

    def test_what_is_no_certificate_is_said(self):
        url, _ = self.front("IP:127.0.0.1")
        broken = self.folder / "broken.pem"
        broken.write_text("no certificate\n")
        self.assertIn("broken.pem", self.cat(url, code=2, AWS_CA_BUNDLE=str(broken)))


if __name__ == "__main__":
    on_a_bucket.main()
