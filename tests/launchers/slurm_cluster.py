"""A Slurm cluster of several nodes on this machine, in a folder of its own: munged, slurmctld, and a slurmd for each node, as
whoever runs this.

    with SlurmCluster(folder) as cluster:
        cluster.run("srun", "-N", "2", "hostname")

Debian's slurmd is built for several on one machine. No cgroups are asked for, no cores are bound and no accounting is
kept. The first node has this machine's name, so that there is one whose name means something to others.
"""

import contextlib
import getpass
import os
import secrets
import shutil
import socket
import subprocess
import time
from pathlib import Path

DAEMONS = ("munged", "slurmctld", "slurmd")
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
PATIENCE_S = 120


class NotHere(Exception):
    """There is no Slurm to be had; why."""


def free_ports(count):
    with contextlib.ExitStack() as open_ones:  # all at once, so that they differ
        servers = [open_ones.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [server.getsockname()[1] for server in servers]


class SlurmCluster:
    def __init__(self, folder, nodes=5, cpus=8):
        self.folder = Path(folder)
        self.host = socket.gethostname().split(".")[0]
        # Slurm sorts them. The last one comes before this machine, and is taken only where it is asked for by name.
        self.nodes = [self.host, *(f"{self.host}-{number}" for number in range(2, nodes)), f"0{self.host}"]
        self.cpus = cpus
        self.daemons = {}

    def __enter__(self):
        missing = [name for name in (*DAEMONS, "srun") if not shutil.which(name, path=PATH)]
        if missing:
            raise NotHere(f"{', '.join(missing)}: not installed (./run test --full installs slurm-wlm and munge)")
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def environment(self):
        """Without what this process has of another Slurm or MPI."""
        kept = {name: value for name, value in os.environ.items()
                if not name.startswith(("SLURM", "OMPI", "PMI", "PRTE", "SRUN", "SBATCH", "SALLOC"))}
        for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
            kept.pop(name, None)
        return {**kept, "PATH": PATH, "SLURM_CONF": str(self.folder / "slurm.conf"), "CUDA_VISIBLE_DEVICES": ""}

    def configure(self):
        folder, host, user = self.folder, self.host, getpass.getuser()
        key = folder / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(secrets.token_bytes(128))
        ports = free_ports(len(self.nodes) + 1)
        nodes = "\n".join(
            f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={self.cpus} "
            f"Weight={10 if name == self.nodes[-1] else 1}"
            for name, port in zip(self.nodes, ports[1:])
        )
        (folder / "state").mkdir()
        # The older of the two versions knows no "disabled", but does not look for what it does not use.
        version = subprocess.run(["slurmd", "-V"], env=self.environment(), capture_output=True, text=True, check=True).stdout
        plugin = "disabled" if int(version.split()[1].split(".")[0]) > 22 else "cgroup/v1"
        (folder / "cgroup.conf").write_text(f"CgroupPlugin={plugin}\n")
        (folder / "slurm.conf").write_text(f"""
ClusterName=atoll
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmdLogFile={folder}/slurmd-%n.log
SlurmdSpoolDir={folder}/spool-%n
# As many processors as the tests want, whatever the machine has.
SlurmdParameters=config_overrides
ProctrackType=proctrack/pgid
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
# salloc runs the shell in a step, as new installations do; here what it reads is no terminal.
LaunchParameters=use_interactive_step
InteractiveStepOptions="--interactive --preserve-env $SHELL"
MailProg=/bin/true
{nodes}
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
""")

    def start_daemon(self, name, *command):
        with open(self.folder / f"{name}.out", "wb") as output:
            self.daemons[name] = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=self.environment(), cwd=self.folder
            )

    def start(self):
        self.configure()
        folder = self.folder
        self.start_daemon(
            "munged", "munged", "--foreground", "--force", "--key-file", f"{folder}/munge.key", "--socket",
            f"{folder}/munge.socket", "--pid-file", f"{folder}/munge.pid", "--log-file", f"{folder}/munge.log",
            "--seed-file", f"{folder}/munge.seed")
        self.wait_for("munged", (folder / "munge.socket").exists)
        self.start_daemon("slurmctld", "slurmctld", "-D", "-f", f"{folder}/slurm.conf")
        for name in self.nodes:
            (folder / f"spool-{name}").mkdir()
            self.start_daemon(f"slurmd-{name}", "slurmd", "-D", "-N", name, "-f", f"{folder}/slurm.conf")
        self.wait_for("Slurm", self.is_idle)

    def is_idle(self):
        result = subprocess.run(["sinfo", "--noheader", "--Node", "--format", "%N %t"], env=self.environment(),
                                capture_output=True, text=True)
        return sorted(result.stdout.split("\n")[:-1]) == sorted(f"{name} idle" for name in self.nodes)

    def wait_for(self, what, condition):
        until = time.monotonic() + PATIENCE_S
        while not condition():
            dead = [name for name, process in self.daemons.items() if process.poll() is not None]
            if dead or time.monotonic() > until:
                raise NotHere(f"{what} does not come up: {self.last_words(dead or list(self.daemons))}")
            time.sleep(0.1)

    def last_words(self, names):
        found = []
        for name in names:
            for path in (self.folder / f"{name}.out", self.folder / f"{name}.log"):
                lines = path.read_text(errors="replace").splitlines() if path.exists() else []
                found += [f"{name}: {line}" for line in lines if "error" in line.lower() or "fatal" in line.lower()][-2:]
        return "; ".join(found) or "no errors in its logs"

    def stop(self):
        if (self.folder / "slurm.conf").exists() and "slurmctld" in self.daemons:
            subprocess.run(["scancel", "--quiet", "--user", getpass.getuser()], env=self.environment(), capture_output=True,
                           timeout=60)
            self.wait_until_empty()
        # In the order of dependence, each of them by its own number.
        for name in (*(f"slurmd-{node}" for node in self.nodes), "slurmctld", "munged"):
            process = self.daemons.get(name)
            if process is None or process.poll() is not None:
                continue
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def wait_until_empty(self):
        until = time.monotonic() + 60
        while time.monotonic() < until and self.daemons["slurmctld"].poll() is None:
            result = subprocess.run(["squeue", "--noheader"], env=self.environment(), capture_output=True, text=True)
            if result.returncode == 0 and not result.stdout.strip():
                return
            time.sleep(0.1)

    def state(self):
        """What Slurm says of its jobs and nodes, and wrote of late: for the message of a test that failed."""
        shown = [self.run(*command, check=False).stdout for command in
                 (("scontrol", "show", "job"), ("sinfo", "--Node", "--long"), ("sinfo", "--list-reasons"))]
        logs = [f"{name}: {line}" for name in ("slurmctld", *(f"slurmd-{node}" for node in self.nodes))
                if (log := self.folder / f"{name}.log").exists()
                for line in log.read_text(errors="replace").splitlines()[-12:]]
        return "\n".join([*shown, *logs])

    def run(self, *command, check=True, variables=None, **options):
        """Output and exit code of a command of Slurm's, or of one that finds Slurm."""
        result = subprocess.run([str(word) for word in command], env={**self.environment(), **(variables or {})},
                                capture_output=True, text=True, timeout=300, cwd=self.folder, **options)
        if check and result.returncode != 0:
            raise AssertionError(f"{command} ended with {result.returncode}:\n{result.stdout}{result.stderr}")
        return result
