"""The ranks of one contender on this machine, each a process that is asked in lines (see bench/allreduce_bench.cpp)."""

import json
import os
import socket
import subprocess
import sys


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Ranks:
    """`command` of every rank, with --rank, --size and --port after it."""

    def __init__(self, command, size):
        port = str(free_port())
        # Data goes over the loopback on both sides; Atoll finds that by itself.
        environment = {**os.environ, "GLOO_SOCKET_IFNAME": "lo"}
        self.processes = [
            subprocess.Popen(
                [*command, "--rank", str(rank), "--size", str(size), "--port", port],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=environment,
            )
            for rank in range(size)
        ]

    def ask(self, line):
        """The answers of all, which begin at once and wait for each other."""
        for process in self.processes:
            print(line, file=process.stdin, flush=True)
        answers = []
        for process in self.processes:
            answer = process.stdout.readline()
            if not answer:
                self.kill()
                sys.exit(f"a rank of {process.args[0]} ended with {process.wait()}")
            answers.append(json.loads(answer))
        return answers

    def end(self):
        for process in self.processes:
            process.stdin.close()
        for process in self.processes:
            process.wait()

    def kill(self):
        for process in self.processes:
            process.kill()
