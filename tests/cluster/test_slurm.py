"""The shipped scripts on a SLURM: accepted as they are; preempted, cancelled, requeued and gone on with."""

import re
import shutil
import subprocess

import pytest
import torch
from killing import run_tool
from loopback import ROOT, wait_for

pytestmark = pytest.mark.slow

SCRIPTS = ROOT / "scripts/slurm"

#: One task on each of two nodes, whatever a script asks for: this machine has not the cores for more.
TWO_TASKS = ["--nodes=2", "--ntasks-per-node=1", "--cpus-per-task=1"]


def test_shellcheck():
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck not found")
    files = sorted(path for path in (ROOT / "scripts").rglob("*") if path.suffix in (".sh", ".sbatch"))
    done = subprocess.run(["shellcheck", "-x", *files], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("script", sorted(SCRIPTS.glob("*.sbatch")), ids=lambda path: path.stem)
def test_accepted_as_it_is(script, slurm):
    gpus = (16 if "2x8" in script.name else 8) if "imagenet" in script.name else 1
    done = slurm.run("sbatch", "--test-only", script)
    assert done.returncode == 0 and f"using {8 * gpus} processors" in done.stderr, done.stderr
    done = slurm.run("sbatch", "--test-only", "--gpus-per-node=9", script)
    assert done.returncode != 0, "the cluster does not count GPUs"


def test_one_stage_preempted(slurm, one_stage_config):
    preempted_and_straight("onestage_imagenet_2x8.sbatch", slurm, one_stage_config)


def test_evaluation_preempted(slurm, evaluation_config):
    preempted_and_straight("evaluate_imagenet.sbatch", slurm, evaluation_config, "--arch", "ISTA_onestage")


def test_array(slurm, search_config):
    """One seed is warned and requeued, and only that one; the other is cancelled, and then submitted again."""
    folder = search_config.parent

    def submit(seeds):
        env = {"ISNAS_CONFIG": search_config, "ISNAS_RUN_DIR": folder}
        return slurm.submit(
            f"--array={seeds}", f"--output={slurm.base}/%A_%a.out", SCRIPTS / "seeds_array.sbatch", **env
        )

    array = submit("0-1")
    jobs = [f"{array}_{seed}" for seed in (0, 1)]
    for seed, job in enumerate(jobs):
        wait_for_epoch_1(slurm, job, folder / f"seed-{seed}")
    numbers = [slurm.run("squeue", "--noheader", f"--jobs={job}", "--format=%A").stdout.strip() for job in jobs]
    warned = numbers.index(array)  # the job whose own number means the whole array
    other = 1 - warned
    slurm.run("scancel", "--signal=USR1", "--batch", jobs[warned])
    assert wait_for(lambda: "is requeued" in slurm.output(jobs[warned]), 60), slurm.output(jobs[warned])
    assert slurm.state(jobs[other]) == "RUNNING"
    slurm.run("scancel", jobs[other])
    wait_for(lambda: slurm.state(jobs[other]) not in ("RUNNING", "COMPLETING"), 60)
    assert slurm.state(jobs[other]) == "CANCELLED" and "and saved" in slurm.output(jobs[other])

    weights = []
    for _ in range(2):  # it goes on; and once more, which changes nothing
        job = f"{submit(other)}_{other}"
        slurm.finish(job, 120)
        assert restarts(slurm, job) == [("0", "resume")]
        weights.append(torch.load(folder / f"seed-{other}/weights.pt"))
    assert_equal(*(parts["network"] for parts in weights))
    slurm.finish(jobs[warned], 120)
    assert restarts(slurm, jobs[warned]) == [("0", "run_dir"), ("1", "resume")]
    assert restarts(slurm, jobs[other]) == [("0", "run_dir")]
    done = run_tool("summarize.py", folder / "seed-0", folder / "seed-1", folder=folder)
    assert all(f"{folder}/seed-{seed} |" in done.stdout for seed in (0, 1)), done.stdout + done.stderr


def preempted_and_straight(script, slurm, config, *flags):
    """Two runs of a script, one of them preempted on its way, come out the same to the bit."""
    folder = config.parent
    images = folder / "images" if (folder / "images").exists() else ""

    def submit(name):
        env = {"ISNAS_CONFIG": config, "ISNAS_DATA": images, "ISNAS_RUN_DIR": folder / name}
        return slurm.submit(*TWO_TASKS, SCRIPTS / script, *flags, **env)

    slurm.finish(submit("straight"), 120)
    job = submit("preempted")
    wait_for_epoch_1(slurm, job, folder / "preempted")
    slurm.finish(slurm.submit("--partition=high", "--nodes=2", "--exclusive", "--wrap=true"), 60)
    slurm.finish(job, 120)

    assert restarts(slurm, job) == [("0", "run_dir"), ("1", "resume")], slurm.output(job)
    stop = re.search(r"stopped by .* at epoch (\d+), step (\d+) and saved", slurm.output(job))
    assert stop and int(stop[1]) >= 1, slurm.output(job)
    assert "resuming" in (folder / "preempted/log.txt").read_text()
    assert_equal(*(torch.load(folder / name / "weights.pt")["weights"] for name in ("preempted", "straight")))


def assert_equal(first, second):
    """Compare weights to the bit."""
    assert first.keys() == second.keys() and all(torch.equal(value, second[key]) for key, value in first.items())


def wait_for_epoch_1(slurm, job, folder):
    """Wait until a job is in the second epoch."""
    log = folder / "log.txt"
    assert wait_for(lambda: log.exists() and " epoch 1 lr" in log.read_text(), 120), slurm.output(job)


def restarts(slurm, job):
    """SLURM_RESTART_COUNT at each start of a job, and what its tool was told to do."""
    return re.findall(r"restart (\d+): \S+ --(\w+)", slurm.output(job))
