"""`atoll fs` as a person uses it, on a real S3 server: mount, daemon, its death, umount, status, preload,
release, import, export, ls, cat. Usage: mount_test.py ATOLL [unittest's options]"""

import errno
import json
import os
import pathlib
import signal
import sqlite3
import subprocess
import sys
import unittest

import mounting
from mounting import ATOLL

DEPLOY = pathlib.Path(__file__).parents[2] / "deploy"
sys.path.insert(0, str(DEPLOY.parent / "tests/deploy"))

from unit import Unit  # noqa: E402

NOBODY = 65534


class Mount(mounting.Mounting):
    def test_a_bucket_is_read_and_written_and_unmounting_waits_for_the_export(self):
        self.bucket.put("a/b.txt", b"from the bucket")
        self.mount()
        self.assertEqual((self.point / "a/b.txt").read_bytes(), b"from the bucket")
        (self.point / "new").mkdir()
        (self.point / "new/file").write_bytes(b"x" * 3_000_000)
        os.symlink("file", self.point / "new/link")
        self.atoll("umount", self.point)
        self.assertEqual(self.bucket.get("new/file"), b"x" * 3_000_000)
        self.assertEqual(self.bucket.get("new/link"), b"file")
        self.assertEqual(self.bucket.metadata("new/file")["file-permissions"], "0100644")
        self.assertEqual(self.daemons(), [])
        self.assertFalse(os.path.ismount(self.point))

    def test_a_killed_daemon_loses_no_closed_file_and_the_next_mount_heals(self):
        self.mount("--export", "demand")
        (self.point / "kept").write_bytes(b"closed")
        os.kill(self.pid(), signal.SIGKILL)
        with self.assertRaises(OSError):
            os.listdir(self.point)
        self.assertIn("dead", self.atoll("status").stdout)
        self.assertIn("dead", self.atoll("status", self.point, code=1).stderr)
        self.mount("--export", "demand")
        self.assertEqual((self.point / "kept").read_bytes(), b"closed")
        self.assertIsNone(self.bucket.get("kept"))
        self.atoll("export", self.point)
        self.assertEqual(self.bucket.get("kept"), b"closed")

    def test_umount_cleans_up_after_a_killed_daemon(self):
        self.mount()
        os.kill(self.pid(), signal.SIGKILL)
        self.assertIn("had died", self.atoll("umount", self.point).stderr)
        self.assertEqual(os.listdir(self.point), [])
        self.atoll("umount", self.point, code=2)

    def test_sigterm_unmounts_and_exports(self):
        self.mount()
        (self.point / "file").write_bytes(b"content")
        pid = self.pid()
        os.kill(pid, signal.SIGTERM)
        self.wait_for_end(pid)
        self.assertFalse(os.path.ismount(self.point))
        self.assertEqual(self.bucket.get("file"), b"content")

    def test_what_is_wrong_is_said_by_the_command_and_not_by_a_log(self):
        for arguments, words in (
            (("mount", "s3://no-such-bucket-there", self.point), "no-such-bucket-there"),
            (("mount", self.uri, self.folder / "none"), "none"),
            (("mount", "/tmp", self.point), "no bucket"),
            (("mount", self.uri, self.point, "-o", "uid=root"), "uid=root"),
            (("preload", self.folder), "no mount"),
            (("release", self.uri, "--unused", "soon"), "--unused"),
        ):
            result = subprocess.run([ATOLL, "fs", *map(str, arguments)], env=self.environment,
                                    capture_output=True, text=True, timeout=120)
            self.assertIn(result.returncode, (1, 2), arguments)
            self.assertIn(words, result.stderr)
            self.assertTrue(result.stderr.startswith("atoll: "), result.stderr)
        self.assertFalse(os.path.ismount(self.point))
        self.assertEqual(self.daemons(), [])

    def test_a_wrong_secret_is_refused_at_the_start(self):
        self.environment["AWS_SECRET_ACCESS_KEY"] = "wrong"
        result = self.atoll("mount", self.uri, self.point, code=1)
        self.assertIn(self.bucket.name, result.stderr)
        self.assertNotIn("wrong", result.stderr.replace("is wrong", ""))

    def test_a_second_mount_of_the_same_bucket_or_place_is_refused(self):
        self.mount()
        self.assertIn("mounted already", self.atoll("mount", self.uri, self.point, code=2).stderr)
        other = self.folder / "other"
        other.mkdir()
        self.assertIn(f"opening the state of {self.uri}", self.atoll("mount", self.uri, other, code=2).stderr)

    def test_the_life_of_a_file_is_shown_as_hsm_state_does(self):
        self.bucket.put("d/a.bin", b"a" * 2_000_000)
        self.bucket.put("d/b.txt", b"b")
        self.mount("--export", "demand")
        total = lambda: json.loads(self.atoll("status", self.point, "--total", "--json").stdout)["total"]
        self.assertEqual(total()["released"], 2)
        self.atoll("preload", self.point / "d", "--glob", "*.bin")
        self.assertEqual(total()["cached_bytes"], 2_000_000)
        self.assertIn("d/a.bin: exists archived", self.atoll("status", self.point / "d/a.bin").stdout)
        (self.point / "d/b.txt").write_bytes(b"changed")
        self.assertIn("dirty", self.atoll("status", self.point / "d/b.txt").stdout)
        self.atoll("export", self.point)
        self.assertEqual(total()["dirty"], 0)
        self.atoll("release", self.point)
        self.assertEqual(total()["cached_bytes"], 0)
        self.assertEqual((self.point / "d/a.bin").read_bytes(), b"a" * 2_000_000)

    def make_older(self, days):
        """The files that were opened look as if that had been so many days ago, by name."""
        (journal,) = (self.folder / "state/atoll/fs").glob("*/journal.db")
        with sqlite3.connect(journal) as database:
            for path, age in days.items():
                changed = database.execute("UPDATE accesses SET when_s = when_s - ? WHERE path = ?", (age * 86_400, path.encode()))
                self.assertEqual(changed.rowcount, 1, path)
        database.close()

    def test_release_by_age_gives_up_what_nobody_has_read_for_so_long(self):
        names = ("d/month", "d/week", "today")
        for name in names:
            self.bucket.put(name, name.encode() * 10_000)
        self.mount()
        for name in names:
            self.assertEqual((self.point / name).read_bytes(), name.encode() * 10_000)
        self.atoll("umount", self.point)
        self.make_older({"d/month": 30, "d/week": 6})

        def held():
            states = map(json.loads, self.atoll("status", self.uri, "--json").stdout.splitlines())
            return [state["path"] for state in states if state.get("path") in names and not state["released"]]

        self.assertIn("0 files", self.atoll("release", self.uri, "--unused", "31d").stdout)
        self.assertEqual(held(), list(names))
        self.assertIn("1 file", self.atoll("release", self.uri, "--unused", "7d").stdout)
        self.assertEqual(held(), ["d/week", "today"])
        # By the daemon; what is read again is not old any more.
        self.mount()
        for name in names[:2]:
            self.assertEqual((self.point / name).read_bytes(), name.encode() * 10_000)
        self.atoll("release", self.point, "--unused", "5d")
        self.assertEqual(held(), list(names))
        self.atoll("umount", self.point)
        self.make_older({"d/month": 30, "d/week": 6, "today": 1})
        self.mount()
        self.atoll("release", self.point / "d", "--unused", "36h")
        self.assertEqual(held(), ["today"])
        self.atoll("release", self.point, "--unused", "23h")
        self.assertEqual(held(), [])

    def as_nobody(self, *command):
        result = subprocess.run(list(map(str, command)), user=NOBODY, group=NOBODY, extra_groups=[],
                                env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, timeout=60)
        return result.stdout if result.returncode == 0 else result.stderr

    @unittest.skipUnless(os.geteuid() == 0, "only root can be somebody else")
    def test_other_users_are_held_to_modes_and_owners_by_the_kernel(self):
        self.folder.chmod(0o755)
        self.mount("--allow-other")
        self.point.chmod(0o777)
        for name, mode, owner in (("secret", 0o600, 0), ("open", 0o644, 0), ("own", 0o600, NOBODY)):
            (self.point / name).write_text(f"{name}\n")
            (self.point / name).chmod(mode)
            os.chown(self.point / name, owner, owner)
        (self.point / "closed").mkdir(0o700)
        (self.point / "closed/file").write_text("file\n")
        self.assertEqual((self.point / "secret").read_text(), "secret\n")
        self.assertEqual(self.as_nobody("cat", self.point / "open"), "open\n")
        self.assertEqual(self.as_nobody("cat", self.point / "own"), "own\n")
        for command in (("cat", self.point / "secret"), ("cat", self.point / "closed/file"), ("ls", self.point / "closed"),
                        ("sh", "-c", f"echo 1 >>{self.point}/open"), ("touch", self.point / "closed/new")):
            self.assertIn("Permission denied", self.as_nobody(*command), command)
        self.assertIn("not permitted", self.as_nobody("chmod", "666", self.point / "secret"))
        self.assertEqual((self.point / "open").read_text(), "open\n")
        # What somebody makes is his own.
        self.assertEqual(self.as_nobody("sh", "-c", f"umask 077; echo 2 >{self.point}/new; cat {self.point}/new"), "2\n")
        status = (self.point / "new").stat()
        self.assertEqual((status.st_uid, status.st_mode & 0o777), (NOBODY, 0o600))

    @unittest.skipUnless(os.geteuid() == 0, "only root can be somebody else")
    def test_without_allow_other_nobody_else_comes_in(self):
        self.bucket.put("file", b"1\n")
        self.folder.chmod(0o755)
        self.mount("--umask", "000")
        self.assertIn("Permission denied", self.as_nobody("cat", self.point / "file"))

    def test_an_import_shows_what_is_new_changed_and_gone(self):
        self.bucket.put("same", b"1")
        self.bucket.put("changing", b"old")
        self.bucket.put("going", b"1")
        self.mount("--import-interval", "3600", "--max-age", "3600")
        self.assertEqual(sorted(os.listdir(self.point)), ["changing", "going", "same"])
        self.assertEqual((self.point / "changing").read_bytes(), b"old")
        self.assertFalse((self.point / "coming").exists())
        self.bucket.put("changing", b"new content")
        self.bucket.put("coming", b"1")
        self.bucket.remove("going")
        self.assertIn("1 new, 1 changed, 1 deleted", self.atoll("import", self.point).stdout)
        self.assertEqual((self.point / "changing").read_bytes(), b"new content")
        self.assertEqual(sorted(os.listdir(self.point)), ["changing", "coming", "same"])

    def test_a_file_that_is_open_in_two_versions_is_never_mixed(self):
        size, piece = 24_000_000, 4096
        self.bucket.put("file", b"a" * size)
        self.mount()
        path = self.point / "file"
        with open(path, "rb", buffering=0) as before:
            self.assertEqual(os.pread(before.fileno(), piece, 0), b"a" * piece)
            self.bucket.put("file", b"b" * size)
            self.atoll("import", self.point)
            with open(path, "rb", buffering=0) as after:
                for offset in range(0, size - piece, 1 << 20):
                    try:
                        self.assertEqual(os.pread(before.fileno(), piece, offset), b"a" * piece)
                    except OSError as error:
                        self.assertEqual(error.errno, errno.ESTALE)
                    self.assertEqual(os.pread(after.fileno(), piece, offset), b"b" * piece)
        self.assertEqual(path.read_bytes(), b"b" * size)

    def test_a_truncation_through_an_old_handle_spares_the_new_version(self):
        self.bucket.put("file", b"old")
        self.mount()
        path = self.point / "file"
        before = os.open(path, os.O_RDWR)
        self.bucket.put("file", b"new and longer")
        self.atoll("import", self.point)
        path.chmod(0o600)
        with self.assertRaises(OSError) as refused:
            os.ftruncate(before, 0)
        self.assertEqual(refused.exception.errno, errno.ESTALE)
        os.close(before)
        self.atoll("umount", self.point)
        self.assertEqual(self.bucket.get("file"), b"new and longer")

    def test_without_a_daemon_the_commands_open_the_bucket_themselves(self):
        self.bucket.put("a", b"12345")
        self.assertIn("1 file in the cache", self.atoll("preload", self.uri).stdout)
        self.assertIn("a: exists archived", self.atoll("status", self.uri).stdout)
        self.mount()
        # Now by the daemon that has the state.
        self.assertIn("a: exists archived", self.atoll("status", self.uri).stdout)

    def test_ls_and_cat_need_no_mount(self):
        for number in range(3):
            self.bucket.put(f"d/x/{number}", b"1")
        self.bucket.put("d/big", bytes(range(256)) * 100_000)
        self.bucket.put("d/z", b"1")
        self.assertEqual(self.atoll("ls", self.uri).stdout, "d/\n")
        self.assertEqual(self.atoll("ls", f"{self.uri}/d").stdout, "big\nx/\nz\n")
        self.assertEqual(self.atoll("ls", f"{self.uri}/d/x", "--recursive").stdout, "0\n1\n2\n")
        listed = [json.loads(line) for line in self.atoll("ls", f"{self.uri}/d/big", "--json").stdout.splitlines()]
        self.assertEqual(listed[0]["size_bytes"], 25_600_000)
        self.assertEqual(self.atoll("cat", f"{self.uri}/d/big", text=False).stdout, bytes(range(256)) * 100_000)
        self.assertIn("nothing", self.atoll("ls", f"{self.uri}/none", code=2).stderr)
        self.atoll("cat", f"{self.uri}/none", code=2)

    def test_mount_of_fstab_mounts(self):
        sbin = self.folder / "sbin"
        sbin.mkdir()
        script = (DEPLOY / "mount.atoll").read_text()
        (sbin / "mount.atoll").write_text(script.replace("PATH=/usr", f"PATH={sbin}:/usr"))
        (sbin / "mount.atoll").chmod(0o755)
        (sbin / "atoll").symlink_to(ATOLL)
        self.bucket.put("a", b"1")
        # As mount(8) calls it for a line of /etc/fstab.
        subprocess.run([sbin / "mount.atoll", self.uri, self.point, "-n", "-o", "ro,_netdev,umask=077,uid=1234,gid=2345,noatime"],
                       env=self.environment, check=True, timeout=60)
        status = (self.point / "a").stat()
        self.assertEqual((status.st_mode & 0o777, status.st_uid, status.st_gid), (0o700, 1234, 2345))
        with self.assertRaises(OSError):
            (self.point / "b").write_bytes(b"")
        subprocess.run(["umount", self.point], check=True, timeout=60)

    def start_service(self, options):
        """As systemd starts deploy/atoll-fs@.service, with this file of variables."""
        unit = Unit(DEPLOY / "atoll-fs@.service")
        variables = unit.environment(
            f"ATOLL_FS_SOURCE={self.uri}\nATOLL_FS_DIRECTORY={self.point}\n{options}" +
            "".join(f"{name}={value}\n" for name, value in self.environment.items() if name != "HOME"))
        _, *words = unit.command("ExecStart", variables)
        with open(self.folder / "service.log", "ab") as log:
            service = subprocess.Popen([ATOLL, *words], env=variables, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.addCleanup(service.wait)
        self.addCleanup(service.kill)

        def is_ready():
            self.assertIsNone(service.poll(), (self.folder / "service.log").read_text())
            try:
                return os.path.ismount(self.point) and os.statvfs(self.point) is not None
            except OSError:  # the mount of the one before
                return False

        self.wait_until("the mount", is_ready)
        return service

    def test_the_service_mounts_heals_after_a_kill_and_exports_when_it_is_stopped(self):
        self.bucket.put("a", b"1")
        service = self.start_service("")
        self.assertEqual((self.point / "a").read_bytes(), b"1")
        service.kill()
        self.assertNotEqual(service.wait(60), 0)  # so it is started again
        service = self.start_service("ATOLL_FS_OPTIONS=allow_other,max_age=5\n")
        self.assertEqual((self.point / "a").read_bytes(), b"1")
        (self.point / "b").write_bytes(b"2")
        service.terminate()
        self.assertEqual(service.wait(60), 0)  # and stays stopped
        self.assertFalse(os.path.ismount(self.point))
        self.assertEqual(self.bucket.get("b"), b"2")

    def test_a_thousand_open_files_fit_into_300_mb(self):
        for number in range(50):
            self.bucket.put(f"f{number}", os.urandom(1_000_000))
        self.mount()
        pid = self.pid()
        files = [open(self.point / f"f{number % 50}", "rb", buffering=0) for number in range(1000)]
        try:
            for step in range(4):
                for file in files:
                    file.seek(step * 250_000)
                    file.read(100_000)
            status = pathlib.Path(f"/proc/{pid}/status").read_text()
            peak_kb = int(status.split("VmHWM:")[1].split()[0])
            print(f"peak of the daemon with 1,000 open files: {peak_kb / 1024:.0f} MiB", file=sys.stderr)
            self.assertLess(peak_kb * 1024, 300_000_000)
        finally:
            for file in files:
                file.close()


if __name__ == "__main__":
    mounting.main()
