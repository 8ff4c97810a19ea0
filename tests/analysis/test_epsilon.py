"""Courses and replays of run folders made by hand, against what stands in their rows."""

import pytest
from run_folders import write_rows, write_run

from isnas.analysis.epsilon import EpsilonOptions, Moment, analyse, describe, replay
from isnas.analysis.one_stage_runs import read_one_stage, read_runs
from isnas.base.errors import UserError

# Per recovery the distances of the 4 nodes. Node 0 falls below 1e-3 at step 10, rises at 15; node 1 is calm from 15 on;
# node 2 never; node 3 alternates.
DISTANCES = [
    None,
    [5e-3, 4e-2, 1e-1, 9e-4],
    [9e-4, 2e-3, 8e-2, 2e-3],
    [3e-3, 1e-3, 9e-2, 9e-4],
    [8e-4, 5e-4, 7e-2, 2e-3],
    [7e-4, 4e-4, 6e-2, 9e-4],
]
OPERATIONS = ["skip_connect", "avg_pool_3x3", "skip_connect"]


@pytest.fixture
def open_run(tmp_path):
    return write_run(tmp_path / "open", DISTANCES, operations=OPERATIONS, epsilon=1e-12)


def test_a_run_that_terminated(tmp_path):
    terminated = [[], [], [1], [1], [0, 1, 2], [0, 1, 2, 3]]
    folder = write_run(tmp_path / "run", DISTANCES, terminated=terminated, training=2, ended=True)
    run = read_one_stage(folder)
    course = describe(run, run.genotype)
    assert course.terminations == (Moment(20, 2), Moment(10, 1), Moment(20, 2), Moment(25, 2))
    assert (course.search_epochs, course.open, course.hit_bound) == (3, False, False)
    assert (course.search_acc, course.end_acc) == (52.0, 54.0)
    assert (course.num_architectures, course.last_change) == (1, None)


def test_what_architectures_share(open_run, tmp_path):
    other = read_one_stage(write_run(tmp_path / "other", DISTANCES, operations=["dil_conv_3x3"] * 3))
    course = describe(read_one_stage(open_run), other.genotype)
    assert (course.same_connections, course.same_edges, course.num_connections) == (7, 8, 8)
    assert (course.num_architectures, course.last_change) == (2, Moment(20, 2))
    assert course.terminations == (None,) * 4 and course.open and course.end_acc is None


def test_the_bound(tmp_path):
    run = read_one_stage(write_run(tmp_path / "run", DISTANCES, training=1, ended=False))
    assert describe(run, run.genotype).hit_bound
    assert "3 epochs, the bound" in analyse(EpsilonOptions(runs=(str(tmp_path / "run"),))).text


def test_replay(open_run):
    result = replay(read_one_stage(open_run), 1e-3)
    assert result.terminations == (Moment(10, 1), Moment(15, 1), None, Moment(5, 0))
    assert result.num_above_again == 2 and result.largest_later == 3e-3  # nodes 0 and 3; node 1 stays below
    assert (result.kept_connections, result.num_connections) == (5, 6)  # node 0 has a pool then, and a skip in the end
    assert replay(read_one_stage(open_run), 7e-4).largest_later == 4e-4  # node 1's; node 0 ends with 7e-4
    assert replay(read_one_stage(open_run), 1e-6).largest_later is None


def test_replay_with_patience_and_the_other_distance(tmp_path):
    run = read_one_stage(write_run(tmp_path / "patient", DISTANCES, patience=2))
    assert replay(run, 1e-3).terminations == (Moment(25, 2), Moment(20, 2), None, None)
    full = read_one_stage(write_run(tmp_path / "full", DISTANCES, distance="full"))
    assert replay(full, 9.5e-3).terminations == (Moment(10, 1), Moment(20, 2), None, Moment(5, 0))


def test_only_runs_without_terminations_are_replayed(open_run, tmp_path):
    done = write_run(tmp_path / "done", DISTANCES, terminated=[[]] * 5 + [[1]], learning_rate=0.05)
    report = analyse(EpsilonOptions(runs=(str(open_run), str(done)), epsilons=(1e-4, 1e-3)))
    assert [(part["name"], part["epsilon"]) for part in report.values["replays"]] == [("open", 1e-3), ("open", 1e-4)]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in report.text.splitlines() if "|" in line]
    assert rows[0][:3] == ["run", "epsilon", "learning_rate"]  # what differs has a column, the device has none
    assert rows[2][:3] == ["open", "1e-12", "0.1"] and rows[3][:3] == ["done", "0.001", "0.05"]
    assert rows[3][3:6] == ["epoch 2 (step 25)", "epoch 2 (step 25)", "1 of 4"]
    assert "termination_interval 5" in report.text and "device" not in report.text


def test_an_unfinished_epoch_and_line_are_left_out(open_run):
    whole = read_one_stage(open_run)
    path = open_run / "distances.jsonl"
    path.write_text(path.read_text() + path.read_text().splitlines()[-1].replace('"epoch": 2', '"epoch": 3') + "\n{")
    assert read_one_stage(open_run) == whole


def test_the_seeds_of_a_run_stand_in_a_line_each(open_run, tmp_path):
    for seed in (10, 9):
        write_run(tmp_path / f"several/seed-{seed}", DISTANCES, seed=seed)
    runs = read_runs((str(open_run), str(tmp_path / "several")))
    assert [(run.name, run.config["seed"]) for run in runs] == [("open", 0), ("seed-9", 9), ("seed-10", 10)]
    open_run.rename(tmp_path / "seed-9")
    folders = (str(tmp_path / "seed-9"), str(tmp_path / "several"))
    assert [run.name for run in read_runs(folders)] == [folders[0], *(f"{folders[1]}/seed-{n}" for n in (9, 10))]


def test_the_picture(open_run, tmp_path):
    distances = [*DISTANCES[:5], [0.0, 1e-4, 6e-2, 9e-4]]
    done = write_run(tmp_path / "done", distances, terminated=[[]] * 4 + [[0]] * 2, training=1, ended=False)
    report = analyse(EpsilonOptions(runs=(str(open_run), str(done))))
    pictures = report.draw(tmp_path)
    assert [path.name for path in pictures] == ["epsilon.png", "epsilon.svg"]
    svg = pictures[1].read_text()
    assert "open: " in svg and "done: " in svg and svg.count("lies far below") == 1
    before = [path.read_bytes() for path in pictures]
    assert [path.read_bytes() for path in report.draw(tmp_path)] == before


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda f: (f / "config.yaml").unlink(), "holds no config.yaml"),
        (lambda f: (f / "config.yaml").write_text("dataset: digits"), "is not a run of train_onestage.py"),
        (
            lambda f: (
                write_run(f / "chain", DISTANCES, space="chain").joinpath("config.yaml").replace(f / "config.yaml")
            ),
            "is a run of chains",
        ),
        (lambda f: (f / "config.yaml").write_text("3"), "cannot be read"),
        (lambda f: (f / "distances.jsonl").unlink(), "before distances were recorded"),
        (lambda f: (f / "metrics.jsonl").write_text(""), "has no distances yet"),
        (lambda f: (f / "metrics.jsonl").write_text("[\n"), "cannot be read"),
        (lambda f: (f / "genotypes.jsonl").write_text("{}\n"), "cannot be read"),
        (lambda f: (f / "genotypes.jsonl").unlink(), "genotypes.jsonl misses epochs"),
        (lambda f: write_rows(f / "distances.jsonl", [{"step": 0, "epoch": 0}]), "cannot be read"),
        (lambda f: (f / "genotype.json").write_text("{"), "cannot be read"),
    ],
)
def test_folders_that_are_refused(open_run, spoil, words):
    spoil(open_run)
    with pytest.raises(UserError, match=words):
        read_one_stage(open_run)


def test_runs_that_do_not_belong_together(open_run, tmp_path):
    for name, settings, words in [
        ("images", {"max_train_images": 50}, "are on different images: max_train_images None and 50"),
        ("nodes", {"num_nodes": 1}, "have cells of other sizes: num_nodes 2 and 1"),
    ]:
        distances = [None if row is None else row[: 2 * settings.get("num_nodes", 2)] for row in DISTANCES]
        other = write_run(tmp_path / name, distances, **settings)
        with pytest.raises(UserError, match=words):
            read_runs((str(open_run), str(other)))
    with pytest.raises(UserError, match="is given twice"):
        read_runs((str(open_run), f"{open_run}/../open"))
