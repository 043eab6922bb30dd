"""Credentials that really expire: the mount gets them by a profile's credential_process, and the server forgets the old
ones when their time is over."""

import json
import os
import subprocess
import sys
import time
from datetime import datetime, timedelta, timezone

LIFETIME_s = 90
RENEWED_s = 60  # before they expire


class RotatingKeys:
    def __init__(self, world):
        self.world = world
        self.folder = world.fresh("credentials")
        self.answer = self.folder / "answer.json"
        self.config = self.folder / "config"
        self.config.write_text(f"[default]\nregion = us-east-1\ncredential_process = /bin/cat {self.answer}\n")
        self.serial, self.current, self.forgotten = 0, None, []
        self.rotate()

    def rotate(self):
        """New keys; the old ones are good until they expire, and not longer."""
        now = time.time()
        for key, until in self.forgotten:
            if until <= now:
                self.admin("key", "rm", "--uid=test", f"--access-key={key}")
        self.forgotten = [(key, until) for key, until in self.forgotten if until > now]
        if self.current:
            self.forgotten.append(self.current)
        self.serial += 1
        key, secret = f"soakkey{self.serial}", f"soaksecret{self.serial}"
        self.admin("key", "create", "--uid=test", "--key-type=s3", f"--access-key={key}", f"--secret-key={secret}")
        expires = datetime.now(timezone.utc) + timedelta(seconds=LIFETIME_s)
        self.current = key, expires.timestamp()
        new = self.folder / "new.json"
        new.write_text(
            json.dumps(
                {
                    "Version": 1,
                    "AccessKeyId": key,
                    "SecretAccessKey": secret,
                    "Expiration": expires.strftime("%Y-%m-%dT%H:%M:%SZ"),
                }
            )
        )
        os.replace(new, self.answer)

    def renew(self):
        """As whoever gives temporary credentials does: in time."""
        if self.current[1] - time.time() < RENEWED_s:
            self.rotate()

    def admin(self, *words):
        self.world.server_admin(*words)

    def environment(self, environment):
        """The same without keys, but with the profile."""
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            environment.pop(name, None)
        environment["AWS_CONFIG_FILE"] = str(self.config)
        return environment
