"""Workers that read what others have put into the bucket: objects that never change, and one that changes all the time."""

import errno
import os
import random

from tree_worker import WrongAnswer, content

SIZES = (0, 1, 5000, 1 << 20, (1 << 20) + 1, 3_000_000, 9_000_000)
OBJECTS = 42
VERSIONS = 5


class Reader:
    def __init__(self, root, gate):
        self.root, self.gate, self.counts = root, gate, {}

    def begin(self):
        pass

    def count(self, what):
        self.counts[what] = self.counts.get(what, 0) + 1

    def step(self):
        try:
            self.read()
        except OSError as error:
            if not self.gate.expects(error):
                raise WrongAnswer(f"{type(self).__name__}: {error}") from error
            self.count("failed")
            self.gate.wait()


class ColdReader(Reader):
    """Pieces of objects at random places."""

    @staticmethod
    def fill(world, bucket):
        folder = world.fresh("cold")
        contents = [content(i, size) for i, size in enumerate(SIZES)]
        files = []
        for i, data in enumerate(contents):
            files.append(folder / f"{i}.bin")
            files[-1].write_bytes(data)
        world.raw("copy", bucket, "cold", OBJECTS, *files, url=world.server_url)
        return contents

    def __init__(self, root, contents, seed, gate):
        super().__init__(root, gate)
        self.contents, self.random = contents, random.Random(seed)

    def read(self):
        index = self.random.randrange(OBJECTS)
        data = self.contents[index % len(self.contents)]
        offset = self.random.randrange(len(data) + 1)
        size = self.random.choice([100, 4096, 131_072, len(data)])
        file = os.open(f"{self.root}/cold/{index:06}.bin", os.O_RDONLY)
        try:
            if os.fstat(file).st_size != len(data):
                raise WrongAnswer(f"cold/{index:06}.bin has another size")
            found = os.pread(file, size, offset)
        finally:
            os.close(file)
        # A read may give less, but nothing else, and something where there is something.
        if found != data[offset : offset + len(found)] or (not found and size and offset < len(data)):
            raise WrongAnswer(f"WRONG BYTES: cold/{index:06}.bin, {len(found)} bytes at {offset}")
        self.count("read_cold")


class Changing:
    """One object that somebody else replaces; every version is of one letter and of its own length."""

    def __init__(self, world, bucket):
        self.world, self.bucket, self.version = world, bucket, 0
        self.folder = world.fresh("changing")
        self.contents = [bytes([65 + v]) * (700_000 + 1000 * v) for v in range(VERSIONS)]
        for v, data in enumerate(self.contents):
            (self.folder / f"{v}.bin").write_bytes(data)
        self.put()

    def put(self):
        file = self.folder / f"{self.version}.bin"
        self.world.raw("copy", self.bucket, "changing", 1, file, url=self.world.server_url)

    def change(self):
        self.version = (self.version + 1) % VERSIONS
        self.put()


class ChangingReader(Reader):
    """A read gives one version or another, never a mixture."""

    @staticmethod
    def fill(world, bucket):
        return Changing(world, bucket)

    def __init__(self, root, changing, gate):
        super().__init__(root, gate)
        self.contents = set(changing.contents)

    def read(self):
        try:
            with open(f"{self.root}/changing/000000.bin", "rb") as file:
                found = file.read()
        except OSError as error:
            # The version that was opened is no longer to be had.
            if error.errno != errno.ESTALE:
                raise
            self.count("changed_while_reading")
            return
        if found not in self.contents:
            letters = sorted(set(found))
            raise WrongAnswer(f"WRONG BYTES: changing/000000.bin: {len(found)} bytes of {letters}")
        self.count("read_changing")
