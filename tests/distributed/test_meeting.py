"""What happens before processes train: they wait for one another, and compare what they were told."""

import os
import signal
import socket
import time

import pytest
from launching import finish, start
from PIL import Image
from starting import Script

pytestmark = pytest.mark.slow

TOOL = "tools/train_search.py"
SMALL = ["--dataset", "digits", "--max_train_images", 200, "--image_size", 8, "--init_channels", 2, "--layers", 3]
SMALL += ["--batch_size", 50, "--epochs", 1, "--no_tensorboard", "--device", "cpu", "--run_dir", "run"]


def make_images(folder, colours):
    """A folder of two classes, six images of one colour each."""
    for name, colour in colours.items():
        (folder / name).mkdir(parents=True)
        for number in range(6):
            Image.new("RGB", (8, 8), (colour, colour, 10 * number)).save(folder / name / f"{number}.png")


@pytest.mark.parametrize(
    ("own", "words"),
    [
        (["--seed", 7], "differ in seed: 0 on rank 0, 7 on rank 1"),
        (["--learning_rate", 0.2], "differ in learning_rate: 0.1 on rank 0, 0.2 on rank 1"),
        (["--init_channels", 4], "differ in init_channels: 2 on rank 0, 4 on rank 1"),
        (["--max_train_images", "none"], "differ in max_train_images: 200 on rank 0, None on rank 1"),
        (["--report_freq", 3], "differ in report_freq: 50 on rank 0, 3 on rank 1"),
        (["--batch_size", 25], "differ in batch_size: 50 on rank 0, 25 on rank 1"),
    ],
)
def test_processes_with_other_settings_do_not_train_together(own, words, tmp_path):
    codes, outputs = finish(start(TOOL, SMALL, 2, tmp_path, own={1: own}), tmp_path, limit=60)
    lines = "".join(outputs).splitlines()
    assert codes == [2, 2] and len(lines) == 1 and words in lines[0], (codes, outputs)
    assert not (tmp_path / "run").exists()


def test_processes_with_other_images_do_not_train_together(tmp_path):
    own = {}
    for rank, colours in enumerate([{"cat": 10, "dog": 200}, {"cat": 10, "wolf": 200}]):
        make_images(tmp_path / str(rank) / "train", colours)
        make_images(tmp_path / str(rank) / "test", colours)
        own[rank] = ["--data", tmp_path / str(rank)]
    small = ["--dataset", "imagefolder", "--batch_size", 2, "--train_portion", 0.5, *SMALL[4:8], "--epochs", 1]
    small += ["--no_tensorboard", "--device", "cpu", "--run_dir", "run"]
    codes, outputs = finish(start(TOOL, small, 2, tmp_path, own=own), tmp_path, limit=60)
    lines = "".join(outputs).splitlines()
    assert codes == [2, 2] and len(lines) == 1, (codes, outputs)
    assert "differ in classes: ['cat', 'dog'] on rank 0, ['cat', 'wolf'] on rank 1" in lines[0]
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("rank", "name"), [(0, "SIGTERM"), (1, "SIGUSR1"), (0, "SIGINT")])
def test_a_signal_ends_a_process_that_waits_for_another(rank, name, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    place = {"RANK": rank, "LOCAL_RANK": 0, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    environment = os.environ | {key: str(value) for key, value in place.items()}
    with open(tmp_path / "out", "w") as output:
        words = [*SMALL, "--timeout_minutes", 0.2]
        process = Script(TOOL, *words, folder=tmp_path, environment=environment, stdout=output, stderr=output)
    time.sleep(2.5)
    assert process.poll() is None
    asked_at = time.monotonic()
    process.send_signal(getattr(signal, name))
    code = process.wait(timeout=60)
    said, line = (tmp_path / "out").read_text(), f"stopped by {name} before the first step; start it again"
    assert time.monotonic() - asked_at < 3.0, said
    assert code == (130 if name == "SIGINT" else 85), said
    assert said == ("" if rank else f"train_search.py: {'stopped by the user' if name == 'SIGINT' else line}\n")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"RANK": "1" * 5000}, "RANK must be a number of nine digits at most"),
        ({"WORLD_SIZE": "\u0662"}, "WORLD_SIZE must be a number"),
        ({"MASTER_PORT": "abc"}, "MASTER_PORT must be a number"),
        ({"MASTER_PORT": "99999"}, "MASTER_PORT must be from 1 to 65535, not 99999"),
        ({"MASTER_PORT": "-1"}, "MASTER_PORT must be a number"),
        ({"LOCAL_RANK": "x"}, "LOCAL_RANK must be a number"),
    ],
)
def test_odd_variables_of_a_launcher(changes, words, tmp_path):
    place = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29123"}
    with open(tmp_path / "out", "w") as output:
        options = {"folder": tmp_path, "environment": os.environ | place | changes, "stdout": output, "stderr": output}
        process = Script(TOOL, *SMALL, "--timeout_minutes", 0.05, **options)
    code, said = process.wait(timeout=60), (tmp_path / "out").read_text()
    assert code == 2 and words in said and said.count("\n") == 1 and len(said) < 500, said
