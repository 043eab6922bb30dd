"""Random operations on a directory of the mount, each checked against a tree in memory.

A worker owns its directory, so what it must find there is known to the byte. An operation that fails, because the
daemon was killed beneath it or the disk was full, may have happened or not: the worker waits until the mount is
there, looks which of the two it was, and goes on. What it had closed before must be there in any case.
"""

import errno
import os
import random
import stat
import time

# What a program sees of a daemon that was killed.
DEAD = {errno.ENOTCONN, errno.ECONNABORTED, errno.ENODEV, errno.ESTALE}
FULL = {errno.ENOSPC, errno.EDQUOT}
MOST_FILES = 40


class WrongAnswer(Exception):
    """The file system did not do what it must."""


def content(seed, size):
    return random.Random(seed).randbytes(size)


class Tree:
    """Paths relative to the worker's directory; "" is that directory itself."""

    def __init__(self):
        self.directories = {""}
        self.files = {}  # path -> bytearray
        self.links = {}  # path -> target
        self.modes = {}  # path -> permissions, where set

    def names(self, directory):
        prefix = directory + "/" if directory else ""
        everything = (*self.directories, *self.files, *self.links)
        return sorted(
            path[len(prefix) :]
            for path in everything
            if path and path.startswith(prefix) and "/" not in path[len(prefix) :]
        )

    def below(self, directory):
        return [
            path
            for path in (*self.directories, *self.files, *self.links)
            if path == directory or path.startswith(directory + "/")
        ]

    def forget(self, path):
        for entry in self.below(path):
            self.directories.discard(entry)
            for entries in (self.files, self.links, self.modes):
                entries.pop(entry, None)

    def rename(self, old, new):
        self.forget(new)
        for entry in self.below(old):
            moved = new + entry[len(old) :]
            if entry in self.directories:
                self.directories.remove(entry)
                self.directories.add(moved)
            for entries in (self.files, self.links, self.modes):
                if entry in entries:
                    entries[moved] = entries.pop(entry)


def write_all(file, piece, offset=None):
    """At the offset, or where the file is. A write that fills the disk is short; the next one says why."""
    while piece:
        written = os.write(file, piece) if offset is None else os.pwrite(file, piece, offset)
        if written == 0:
            raise WrongAnswer("a write of no byte")
        piece = piece[written:]
        offset = None if offset is None else offset + written


class TreeWorker:
    """`gate` is what stops and explains: gate.wait() returns when the mount is there, gate.expects(errno) says whether
    this error may happen now."""

    def __init__(self, root, seed, gate):
        self.root, self.gate = root, gate
        self.random = random.Random(seed)
        self.tree = Tree()
        self.counts = {}
        self.touched = ()
        self.history = []  # "time operation paths outcome", for whoever must find out why
        self.serial = 0
        self.operations = [
            (self.write_new, 20),
            (self.overwrite, 15),
            (self.append, 8),
            (self.truncate, 8),
            (self.read_part, 25),
            (self.rename_file, 8),
            (self.rename_directory, 3),
            (self.make_directory, 5),
            (self.remove_directory, 2),
            (self.unlink, 8),
            (self.make_link, 3),
            (self.change_mode, 4),
            (self.look, 10),
            (self.list_names, 8),
        ]

    def path(self, relative):
        return os.path.join(self.root, relative)

    def begin(self):
        os.makedirs(self.root, exist_ok=True)

    def step(self):
        """One operation, whatever becomes of it."""
        names, weights = zip(*self.operations)
        operation = self.random.choices(names, weights)[0]
        self.touched = ()
        outcome = "done"
        try:
            if operation() is not False:
                self.counts[operation.__name__] = self.counts.get(operation.__name__, 0) + 1
        except OSError as error:
            outcome = str(error)
            self.after_failure(operation.__name__, error)
        finally:
            if self.touched:
                when = time.strftime("%H:%M:%S", time.gmtime())
                self.history.append(f"{when} {operation.__name__} {' -> '.join(self.touched)}: {outcome}")

    def after_failure(self, what, error):
        if not self.gate.expects(error):
            raise WrongAnswer(f"{what} {self.touched} in {self.root}: {error}") from error
        self.counts["failed"] = self.counts.get("failed", 0) + 1
        while True:
            self.gate.wait()
            try:
                self.settle(what)
                return
            except OSError as again:
                if not self.gate.expects(again):
                    raise WrongAnswer(f"settling {what} {self.touched} in {self.root}: {again}") from again

    def settle(self, what):
        """An operation was cut off: finds out what has happened, and makes the tree the same again."""
        if what == "rename_directory" or what == "rename_file":
            old, new = self.touched
            is_old, is_new = os.path.lexists(self.path(old)), os.path.lexists(self.path(new))
            known_new = bool(self.tree.below(new))
            if not is_old and not is_new:
                raise WrongAnswer(f"a rename that was cut off has lost {old} in {self.root}")
            if is_old and is_new and not known_new:
                raise WrongAnswer(f"a rename that was cut off has left {old} and {new} in {self.root}")
            if not is_old:
                self.tree.rename(old, new)
            return
        for path in self.touched:
            self.remove(path)
            self.tree.forget(path)

    def remove(self, path):
        full = self.path(path)
        try:
            if stat.S_ISDIR(os.lstat(full).st_mode):
                os.rmdir(full)
            else:
                os.unlink(full)
        except FileNotFoundError:
            pass

    # ---- what they choose -----------------------------------------------------------------------

    def any_file(self):
        return self.random.choice(sorted(self.tree.files)) if self.tree.files else None

    def any_directory(self):
        return self.random.choice(sorted(self.tree.directories))

    def new_path(self):
        self.serial += 1
        directory = self.any_directory()
        # Names that no key should stumble over.
        name = self.random.choice(["plain", "with space", "plus+and&", "ümläut", "per%20cent", "#hash?"])
        return os.path.join(directory, f"{name}-{self.serial}")

    def size(self):
        return self.random.choice([0, 1, 100, 4096, 70_000, 300_000, 1 << 20, 2_500_000])

    # ---- operations -----------------------------------------------------------------------------

    def write_new(self):
        if len(self.tree.files) >= MOST_FILES:
            return self.unlink()
        path = self.new_path()
        if self.tree.files and self.random.random() < 0.3:
            path = self.any_file()  # replaced
        self.touched = (path,)
        data = content(self.random.random(), self.size())
        with open(self.path(path), "wb") as file:
            file.write(data)
            if self.random.random() < 0.2:
                file.flush()
                os.fsync(file.fileno())
        self.tree.files[path] = bytearray(data)

    def overwrite(self):
        path = self.any_file()
        if path is None or not self.tree.files[path]:
            return False
        self.touched = (path,)
        data = self.tree.files[path]
        offset = self.random.randrange(len(data))
        piece = content(self.random.random(), self.random.choice([1, 5000, 200_000]))
        file = os.open(self.path(path), os.O_RDWR)
        try:
            write_all(file, piece, offset)
            # What has been written is there before it is closed.
            self.expect(os.pread(file, len(piece), offset), piece, f"{path} at {offset}, open for writing")
        finally:
            os.close(file)
        data[offset : offset + len(piece)] = piece

    def append(self):
        path = self.any_file()
        if path is None or len(self.tree.files[path]) > 4_000_000:
            return False
        self.touched = (path,)
        piece = content(self.random.random(), self.random.choice([1, 3000, 100_000]))
        file = os.open(self.path(path), os.O_WRONLY | os.O_APPEND)
        try:
            write_all(file, piece)
        finally:
            os.close(file)
        self.tree.files[path] += piece

    def truncate(self):
        path = self.any_file()
        if path is None:
            return False
        self.touched = (path,)
        data = self.tree.files[path]
        size = self.random.randrange(len(data) + 10_000)
        os.truncate(self.path(path), size)
        del data[size:]
        data.extend(bytes(size - len(data)))

    def read_part(self):
        path = self.any_file()
        if path is None:
            return False
        data = self.tree.files[path]
        offset = self.random.randrange(len(data) + 1)
        size = self.random.choice([1, 4096, 200_000, 10_000_000])
        with open(self.path(path), "rb", buffering=0) as file:
            file.seek(offset)
            found = b""
            while len(found) < size and (piece := file.read(size - len(found))):
                found += piece
        self.expect(found, bytes(data[offset : offset + size]), f"{path} at {offset}")

    def expect(self, found, wanted, what):
        if found == wanted:
            return
        same = next((i for i, (a, b) in enumerate(zip(found, wanted)) if a != b), min(len(found), len(wanted)))
        raise WrongAnswer(
            f"WRONG BYTES in {self.root}: {what}: {len(found)} bytes for {len(wanted)}, the first difference at {same}"
        )

    def rename_file(self):
        old = self.any_file()
        if old is None:
            return False
        new = self.any_file() if self.random.random() < 0.3 else self.new_path()
        if new == old:
            return False
        self.touched = (old, new)
        os.rename(self.path(old), self.path(new))
        self.tree.rename(old, new)

    def rename_directory(self):
        movable = sorted(self.tree.directories - {""})
        if not movable:
            return False
        old, into = self.random.choice(movable), self.any_directory()
        if into == old or into.startswith(old + "/"):
            return False
        self.serial += 1
        new = os.path.join(into, f"moved-{self.serial}")
        self.touched = (old, new)
        os.rename(self.path(old), self.path(new))
        self.tree.rename(old, new)

    def make_directory(self):
        if len(self.tree.directories) > 12:
            return self.remove_directory()
        path = self.new_path()
        self.touched = (path,)
        os.mkdir(self.path(path))
        self.tree.directories.add(path)

    def remove_directory(self):
        path = self.any_directory()
        if not path:
            return False
        if self.tree.names(path):
            try:
                os.rmdir(self.path(path))
            except OSError as error:
                if error.errno == errno.ENOTEMPTY:
                    return None
                raise
            raise WrongAnswer(f"rmdir removed {path} in {self.root}, which was not empty")
        self.touched = (path,)
        os.rmdir(self.path(path))
        self.tree.forget(path)

    def unlink(self):
        path = self.any_file()
        if path is None:
            return False
        self.touched = (path,)
        os.unlink(self.path(path))
        self.tree.forget(path)

    def make_link(self):
        if len(self.tree.links) > 5:
            path = self.random.choice(sorted(self.tree.links))
            self.touched = (path,)
            os.unlink(self.path(path))
            self.tree.forget(path)
            return
        path = self.new_path()
        self.touched = (path,)
        target = f"somewhere/{self.serial}"
        os.symlink(target, self.path(path))
        self.tree.links[path] = target

    def change_mode(self):
        path = self.any_file()
        if path is None:
            return False
        self.touched = (path,)
        mode = self.random.choice([0o600, 0o640, 0o755, 0o664])
        os.chmod(self.path(path), mode)
        self.tree.modes[path] = mode

    def look(self):
        path = self.any_file()
        if path is not None:
            self.check_file_attributes(path)

    def list_names(self):
        self.check_names(self.any_directory())

    # ---- checks ---------------------------------------------------------------------------------

    def check_file_attributes(self, path):
        found = os.lstat(self.path(path))
        if not stat.S_ISREG(found.st_mode) or found.st_size != len(self.tree.files[path]):
            raise WrongAnswer(f"{path} in {self.root} has {found.st_size} bytes, not {len(self.tree.files[path])}")
        mode = self.tree.modes.get(path)
        if mode is not None and stat.S_IMODE(found.st_mode) != mode:
            raise WrongAnswer(f"{path} in {self.root} has mode {stat.S_IMODE(found.st_mode):o}, not {mode:o}")

    def check_names(self, directory):
        found = sorted(os.listdir(self.path(directory)))
        wanted = self.tree.names(directory)
        if found != wanted:
            lost, more = sorted(set(wanted) - set(found)), sorted(set(found) - set(wanted))
            raise WrongAnswer(f"'{directory}' in {self.root} lacks {lost} and has {more} besides")

    def check_everything(self):
        """Every name, attribute and byte; OSErrors are the caller's."""
        for directory in sorted(self.tree.directories):
            self.check_names(directory)
        for path, target in sorted(self.tree.links.items()):
            if os.readlink(self.path(path)) != target:
                raise WrongAnswer(f"the link {path} in {self.root} is another one")
        for path, data in sorted(self.tree.files.items()):
            self.check_file_attributes(path)
            with open(self.path(path), "rb") as file:
                self.expect(file.read(), bytes(data), path)
