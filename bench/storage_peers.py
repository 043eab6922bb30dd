"""The file systems that bench/storage.py compares Atoll's mount with."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests/s3_server"))
from s3_world import Mount  # noqa: E402


def rclone_config(world):
    path = world.folder / "rclone.conf"
    path.write_text(
        f"[s3]\ntype = s3\nprovider = Ceph\nendpoint = {world.proxy.url}\nregion = us-east-1\n"
        f"access_key_id = {world.keys[0]}\nsecret_access_key = {world.keys[1]}\n"
    )
    return path


class Rclone(Mount):
    """`rclone mount` as it is, without a cache mode."""

    name = "rclone"

    def command(self):
        remote = f"s3:{self.bucket}/{self.prefix}".rstrip("/")
        return ["rclone", "--config", rclone_config(self.world), "mount", remote, self.path, "--cache-dir", self.cache]


class S3fs(Mount):
    name = "s3fs"

    def command(self):
        password = self.world.folder / "s3fs-password"
        password.write_text(":".join(self.world.keys))
        password.chmod(0o600)
        bucket = self.bucket + (f":/{self.prefix}" if self.prefix else "")
        options = f"passwd_file={password},url={self.world.proxy.url},use_path_request_style"
        return ["s3fs", bucket, self.path, "-f", "-o", options]
