"""A disk that can be filled: a tmpfs of its own where we may mount one, else only a folder that never fills up."""

import contextlib
import os
import subprocess


class SmallDisk:
    def __init__(self, path, size_mb):
        self.path = path
        path.mkdir(parents=True)
        command = ["mount", "-t", "tmpfs", "-o", f"size={size_mb}m,mode=700", "atoll-soak", str(path)]
        self.mounted = os.geteuid() == 0 and subprocess.run(command, capture_output=True).returncode == 0
        if not self.mounted:
            print("no small disk here, it cannot be mounted: the disk does not fill up in this soak")

    @contextlib.contextmanager
    def full(self):
        """While this lasts not a byte is free, whatever is freed meanwhile."""
        ballast = self.path / "ballast"
        if self.mounted:
            with open(ballast, "wb", buffering=0) as file:
                with contextlib.suppress(OSError):
                    while file.write(bytes(1 << 16)):
                        pass
        try:
            yield
        finally:
            ballast.unlink(missing_ok=True)

    def close(self):
        if self.mounted:
            subprocess.run(["umount", "-l", str(self.path)], check=True)
