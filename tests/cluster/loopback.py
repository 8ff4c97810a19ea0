"""A SLURM of two made-up nodes on this machine, on loopback, gone again when it is stopped."""

import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ("setpriv", "munged", "slurmctld", "slurmd", "sbatch", "srun")
ENDED = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "BOOT_FAIL", "PREEMPTED")

# Partition gpu is the one the shipped scripts name; a job in partition high takes its nodes: USR1 to the batch script,
# and 30 seconds later the end. The GPUs are empty files, so no task is told of one, and the CPU is used. cred_expire is
# how long a requeued job is held back, 120 seconds if it is not set.
CONF = """\
ClusterName=test
SlurmctldHost=localhost
SlurmctldPort={port}
SlurmUser={user}
SlurmdUser={user}
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
AuthType=auth/munge
AuthInfo=socket={base}/munge/munge.socket,cred_expire=5
StateSaveLocation={base}/state
SlurmdSpoolDir={base}/spool.%n
SlurmctldPidFile={base}/slurmctld.pid
SlurmdPidFile={base}/slurmd.%n.pid
SlurmctldLogFile={base}/slurmctld.log
SlurmdLogFile={base}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
MailProg=/bin/true
SlurmdParameters=config_overrides
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmctldParameters=preempt_send_user_signal
JobRequeue=1
KillWait=5
ReturnToService=2
GresTypes=gpu
NodeName=n[1-2] NodeHostname=localhost NodeAddr=127.0.0.1 Port=[{first}-{last}] CPUs=128 RealMemory=1000 Gres=gpu:8
PartitionName=gpu  Nodes=ALL Default=YES State=UP MaxTime=INFINITE PriorityTier=1  PreemptMode=REQUEUE GraceTime=30
PartitionName=high Nodes=ALL             State=UP MaxTime=INFINITE PriorityTier=10 PreemptMode=OFF
"""


class Slurm:
    """The running cluster; ``base`` is a folder for files of the tests, too.

    A job is told by ``env`` what a user writes at the top of a script.
    """

    def __init__(self) -> None:
        missing = [name for name in PROGRAMS if shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") is None]
        if missing:
            pytest.skip(f"{', '.join(missing)} not found: install slurm-wlm and munge")
        self.base = Path(tempfile.mkdtemp(prefix="slurm"))  # short: the path of a socket has at most 107 characters
        self.env = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "SBATCH"))}
        self.env |= {"SLURM_CONF": str(self.base / "slurm.conf"), "PATH": f"{os.environ['PATH']}:/usr/sbin"}
        self.env |= {"ISNAS_PYTHON": sys.executable, "MASTER_ADDR": "127.0.0.1", "GLOO_SOCKET_IFNAME": "lo"}
        self.env |= {"OMP_NUM_THREADS": "1"}
        self.daemons: list[subprocess.Popen] = []

    def start(self) -> None:
        """Start the daemons and wait until both nodes are idle."""
        base, port = self.base, free_ports(3)
        for name in ("munge", "state"):
            (base / name).mkdir(mode=0o700)
        for number in range(8):
            (base / f"gpu{number}").touch()
        files = {"conf": CONF.format(base=base, port=port, first=port + 1, last=port + 2, user=getpass.getuser())}
        (base / "slurm.conf").write_text(files["conf"])
        (base / "gres.conf").write_text(f"NodeName=n[1-2] Name=gpu File={base}/gpu[0-7]\n")
        key = base / "munge/key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o600)
        paths = {"key-file": "key", "socket": "munge.socket", "pid-file": "pid", "seed-file": "seed"}
        self._daemon("munged", "--foreground", "--force", *(f"--{k}={base}/munge/{v}" for k, v in paths.items()))
        if not wait_for(lambda: (base / "munge/munge.socket").exists(), 10):
            reason = (base / "munged.out").read_text().strip().splitlines()[-1:]
            self.stop()
            pytest.skip(f"munged cannot start: {reason}")
        self._daemon("slurmctld", "-D", "-i")
        for node in ("n1", "n2"):
            self._daemon("slurmd", "-D", "-N", node)
        idle = ["idle", "idle"]
        assert wait_for(lambda: self.run("sinfo", "-h", "-N", "-p", "high", "-o", "%T").stdout.split() == idle, 30), [
            (log.name, log.read_text()[-2000:]) for log in base.glob("slurm*.log")
        ]

    def stop(self) -> None:
        """End the jobs and the daemons, and what a job has left behind."""
        if len(self.daemons) > 1:
            self.run("scancel", "--user", getpass.getuser())
            wait_for(lambda: not self.run("squeue", "-h").stdout, 15)
        for daemon in reversed(self.daemons):
            daemon.terminate()
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        for folder in Path("/proc").iterdir():
            try:
                if folder.name.isdecimal() and f"SLURM_CONF={self.base}/".encode() in (folder / "environ").read_bytes():
                    os.kill(int(folder.name), signal.SIGKILL)
            except OSError:  # it has ended, or is another user's
                pass
        shutil.rmtree(self.base, ignore_errors=True)

    def run(self, *command: object, **env: object) -> subprocess.CompletedProcess:
        """Run one of SLURM's commands, with these variables beside ``self.env``."""
        added = {name: str(value) for name, value in env.items()}
        words = list(map(str, command))
        return subprocess.run(words, env=self.env | added, cwd=ROOT, capture_output=True, text=True, check=False)

    def submit(self, *arguments: object, **env: object) -> str:
        """The number of a new job; its output goes to ``NUMBER.out`` in ``base``."""
        done = self.run("sbatch", "--parsable", f"--output={self.base}/%j.out", *arguments, **env)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def output(self, job: str) -> str:
        """What a job has printed so far."""
        path = self.base / f"{job}.out"
        return path.read_text() if path.exists() else ""

    def state(self, job: str) -> str:
        """``RUNNING``, ``PENDING``, ``COMPLETED``, ..."""
        lines = self.run("scontrol", "-o", "show", "job", job).stdout.split()
        return next((word.partition("=")[2] for word in lines if word.startswith("JobState=")), "gone")

    def finish(self, job: str, seconds: float) -> None:
        """Wait until a job is done, and see that it is done well."""
        wait_for(lambda: self.state(job) in ENDED, seconds)
        state = self.state(job)
        assert state == "COMPLETED", f"job {job} is {state} after {seconds} s:\n{self.output(job)[-4000:]}"

    def _daemon(self, name: str, *arguments: str) -> None:
        with open(self.base / f"{name}.out", "a") as output:
            command = ["setpriv", "--pdeathsig", "TERM", name, *arguments]  # they end when the tests are killed
            streams = {"stdout": output, "stderr": output}
            self.daemons.append(
                subprocess.Popen(command, env=self.env, cwd=self.base, start_new_session=True, **streams)
            )


def wait_for(condition, seconds: float) -> bool:
    """Whether a condition comes true in so many seconds."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.2)
    return True


def free_ports(count: int) -> int:
    """The first of ``count`` free ports in a row, below those that the system gives away by itself."""
    for first in range(20000 + os.getpid() % 9000, 30000, count):
        sockets = [socket.socket() for _ in range(count)]
        try:
            for number, one in enumerate(sockets):
                one.bind(("127.0.0.1", first + number))
            return first
        except OSError:
            continue
        finally:
            for one in sockets:
                one.close()
    pytest.skip("no free ports between 20000 and 30000")
