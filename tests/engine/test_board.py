"""What TensorBoard and tracking services are given: what the run's files hold, and nothing that stops a run."""

import json
from itertools import pairwise
from typing import ClassVar

import numpy as np
import pytest
from page_runs import write_search
from PIL import Image
from settings import CPU
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from isnas.base.errors import UserError
from isnas.engine import tracking
from isnas.engine.board import Board, genotype_text
from isnas.engine.harness_options import LOG_TO
from isnas.engine.run import start_run
from isnas.methods.registry import make_options
from isnas.space.cells.genotype import genotype_from_json, genotype_from_text
from isnas.space.recurrent import genotype as recurrent
from isnas.space.recurrent.published import PUBLISHED


def rows_of(path):
    return [json.loads(line) for line in path.open()]


def test_the_board_has_architectures_cells_and_settings(tmp_path):
    folder = write_search(tmp_path / "run")
    board = Board(folder)
    board.finish({"epochs": 5, "tf32": False, "operations": ("a", "b"), "learning_rate": 0.1})
    board.close()
    found = EventAccumulator(str(folder / "tb"), size_guidance={"tensors": 0, "images": 0, "scalars": 0})
    found.Reload()
    metrics, genotypes = rows_of(folder / "metrics.jsonl"), rows_of(folder / "genotypes.jsonl")
    told = [(event.step, event.value) for event in found.Scalars("valid/acc")]
    assert told == [(row["step"], pytest.approx(row["valid/acc"])) for row in metrics]

    changed = [genotypes[0], *(now for before, now in pairwise(genotypes) if now["hash"] != before["hash"])]
    texts = [
        (event.step, event.tensor_proto.string_val[0].decode()) for event in found.Tensors("genotype/text_summary")
    ]
    assert [step for step, _ in texts] == [row["epoch"] for row in changed] and len(changed) == 4
    for (_, text), row in zip(texts, changed, strict=True):
        assert genotype_from_text(text) == genotype_from_json(row["genotype"])

    for cell in ("cell_normal", "cell_reduce"):
        (image,) = found.Images(cell)
        with Image.open(folder / f"{cell}.png") as picture:
            assert (image.width, image.height) == picture.size
            assert len(np.unique(np.asarray(picture.convert("L")))) > 2 and len(image.encoded_image_string) > 1000

    def plugin(name):
        return HParamsPluginData.FromString(found.SummaryMetadata(f"_hparams_/{name}").plugin_data.content)

    values = plugin("session_start_info").session_start_info.hparams
    assert (values["epochs"].number_value, values["tf32"].bool_value) == (5.0, False)
    assert values["learning_rate"].number_value == 0.1 and "'a', 'b'" in values["operations"].string_value
    compared = {info.name.tag for info in plugin("experiment").experiment.metric_infos}
    assert compared == {"valid/acc", "train/loss", "derived/params_millions"}


def test_the_text_of_a_recurrent_cell_is_one():
    for known in PUBLISHED.values():
        text = genotype_text(known.genotype.to_json())
        assert recurrent.genotype_from_text(text) == known.genotype


class Kept(tracking.Service):
    """A service within the test, which breaks down at a step."""

    package = "json"
    runs: ClassVar[dict] = {}
    breaks_at = None

    def __init__(self, name, known, settings):
        self.known = known or f"{name}-{len(self.runs)}"
        self.runs.setdefault(self.known, {"settings": settings, "rows": [], "closed": 0})

    @property
    def id(self):
        return self.known

    def row(self, step, values):
        if step == self.breaks_at:
            raise ConnectionError("nobody\nanswers")
        self.runs[self.known]["rows"].append((step, values))

    def close(self):
        self.runs[self.known]["closed"] += 1


def logged_run(folder, **more):
    """A run that writes four rows of metrics; its options."""
    options = make_options(
        "two_stage", dataset="digits", run_dir=str(folder), log_to="wandb", tensorboard=False, **more
    )
    run = start_run(options, "search", CPU)
    run.begin()
    for step in range(4):
        run.records.metrics(step, step, {"valid/acc": 10.0 * step, "arch/distance": None, "final": step == 3})
    run.records.finish({})
    return options


def test_a_service_gets_every_row_and_a_run_goes_on_without_it(tmp_path, monkeypatch):
    monkeypatch.setitem(tracking.SERVICES, "wandb", Kept)
    monkeypatch.setattr(Kept, "runs", {})
    logged_run(tmp_path / "run", epochs=7)
    ((name, kept),) = Kept.runs.items()
    assert [step for step, _ in kept["rows"]] == [0, 1, 2, 3] and kept["closed"] == 1
    assert kept["rows"][3][1] == {"valid/acc": 30.0, "final": 1.0} and kept["settings"]["epochs"] == 7
    assert json.loads((tmp_path / "run" / tracking.TRACKED).read_text()) == {"wandb": name}
    again = tracking.Tracker("wandb", tmp_path / "run", {}, print)
    again.row(4, {"valid/acc": 1.0})
    assert len(Kept.runs) == 1 and kept["rows"][-1] == (4, {"valid/acc": 1.0})  # a resumed run is the same one there

    monkeypatch.setattr(Kept, "breaks_at", 1)
    logged_run(tmp_path / "other")
    log = (tmp_path / "other/log.txt").read_text().splitlines()
    (warning,) = [line for line in log if "WARNING" in line]
    assert warning.endswith("WARNING: wandb gets no more rows of this run: nobody answers")
    assert len(rows_of(tmp_path / "other/metrics.jsonl")) == 4


def test_a_service_that_is_not_installed_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    assert tracking.SERVICES.keys() == set(LOG_TO) - {"none"}
    monkeypatch.setattr(Kept, "package", "a_package_that_is_nowhere")
    monkeypatch.setitem(tracking.SERVICES, "wandb", Kept)
    with pytest.raises(UserError, match="not installed: pip install a_package_that_is_nowhere"):
        logged_run(tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", tracking.SERVICES)
def test_the_real_services(name, tmp_path, monkeypatch):
    pytest.importorskip(name)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    said = []
    (tmp_path / "run").mkdir()
    for steps in (range(2), range(2, 3)):
        tracker = tracking.Tracker(name, tmp_path / "run", {"epochs": 3}, said.append)
        for step in steps:
            tracker.row(step, {"valid/acc": 10.5 * step})
        tracker.close()
    assert said == []
    if name == "mlflow":
        (path,) = (tmp_path / "mlruns").rglob("valid/acc")
        assert [line.split()[1:] for line in path.read_text().splitlines()] == [
            ["0.0", "0"],
            ["10.5", "1"],
            ["21.0", "2"],
        ]
    else:
        assert len(list((tmp_path / "wandb").glob("offline-run-*"))) == 2
