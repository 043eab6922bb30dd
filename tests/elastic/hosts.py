"""Three hosts on one machine: each a network and a name of its own (namespaces), with a switch between them that is in a
namespace, too, so the machine's own network stays as it is. They share the file system.
"""
import os
import pathlib
import re
import signal
import subprocess
import sys

SKIP = 77


def skip(why):
    print(f"skipped: {why}")
    sys.exit(SKIP)


def run(*arguments):
    done = subprocess.run([str(a) for a in arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        raise OSError(f"{' '.join(map(str, arguments))}: {done.stdout.strip()}")


def children(pid):
    try:
        text = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    return [int(child) for child in text.split()]


class Namespace:
    def __init__(self):
        self.holder = subprocess.Popen(["unshare", "--net", "--uts", "sh", "-c", "echo; exec sleep infinity"],
                                       stdout=subprocess.PIPE)
        if self.holder.stdout.readline() != b"\n":
            raise OSError("unshare: no namespace can be made")

    def enter(self, *arguments):
        return ["nsenter", "-t", str(self.holder.pid), "--net", "--uts", "--", *map(str, arguments)]

    def run(self, *arguments):
        run(*self.enter(*arguments))

    def end(self):
        self.holder.kill()
        self.holder.wait()
        self.holder.stdout.close()


class Host:
    def __init__(self, number, switch, folder):
        self.name = f"h{number}"
        self.port = f"to-{self.name}"
        self.switch = switch
        self.space = Namespace()
        self.log = folder / f"{self.name}.log"
        self.process = None
        self.started_at = 0  # in the log
        try:
            self.connect_anew(number)
        except OSError:
            self.space.end()
            raise

    def connect_anew(self, number):
        switch = self.switch
        self.space.run("hostname", self.name)
        switch.run("ip", "link", "add", self.port, "type", "veth", "peer", "name", "eth0", "netns",
                   self.space.holder.pid)
        switch.run("ip", "link", "set", self.port, "master", "switch", "up")
        self.space.run("ip", "address", "add", f"10.77.0.{number}/24", "dev", "eth0")
        self.space.run("ip", "link", "set", "eth0", "up")
        self.space.run("ip", "link", "set", "lo", "up")

    def start(self, arguments):
        self.reap()
        with open(self.log, "a") as log:
            self.started_at = log.tell()
            self.process = subprocess.Popen(self.space.enter(*arguments), stdout=log, stderr=log)

    def running(self):
        return self.process is not None and self.process.poll() is None

    def reap(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def pids(self):
        """The launcher, then its ranks."""
        return [self.process.pid, *children(self.process.pid)]

    def send(self, number, pids=None):
        for pid in self.pids() if pids is None else pids:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass

    def cut_off(self):
        """What it sends goes nowhere, and nothing tells it so."""
        self.switch.run("ip", "link", "set", self.port, "nomaster")

    def connect(self):
        self.switch.run("ip", "link", "set", self.port, "master", "switch")

    def said(self, pattern, since=0):
        return re.search(pattern, self.log.read_text(errors="replace")[since:]) if self.log.exists() else None

    def end(self):
        if self.process is not None:
            self.send(signal.SIGCONT)
        self.reap()
        self.space.end()


class Hosts:
    def __init__(self, count, folder):
        self.all = []
        self.switch = None
        if os.geteuid() != 0:
            skip("only root makes network namespaces")
        try:
            self.switch = Namespace()
            self.switch.run("ip", "link", "add", "switch", "type", "bridge")
            self.switch.run("ip", "link", "set", "switch", "up")
            for number in range(1, count + 1):
                self.all.append(Host(number, self.switch, folder))
        except OSError as error:
            self.end()
            skip(f"no network namespaces here: {error}")

    def named(self, name):
        return next(host for host in self.all if host.name == name)

    def end(self):
        for host in self.all:
            host.end()
        if self.switch is not None:
            self.switch.end()
