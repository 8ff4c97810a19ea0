"""Searches of CoNAS read from their folders: what was measured, and the recoveries computed anew."""

import json

import numpy as np
import pytest
from run_folders import cells, write_conas, write_rows

from isnas.analysis.commands import answer
from isnas.analysis.conas_runs import conas_among, replay
from isnas.analysis.search_runs import read_all
from isnas.base.errors import UserError

# Per node and input max_pool, skip_connect, sep_conv; bits 0 to 5 are the normal cell's, 6 to 11 the reduction cell's.
FIRST = {0: 1, 3: -1, 7: 1}  # where the three largest terms of the loss are least, of the ties the first counted
SECOND = FIRST | {1: -1, 5: 1}
FOUND = cells(["max_pool_3x3:0", "sep_conv_3x3:1"], ["skip_connect:0"])


def loss(alpha):
    """The constant, two large terms, and two small ones."""
    large = 2.0 - 0.3 * alpha[:, 0] + 0.2 * alpha[:, 3] * alpha[:, 7]
    return large + 0.05 * alpha[:, 1] - 0.04 * alpha[:, 5]


def sampled(seed, fixed, count=200):
    alpha = np.random.default_rng(seed).choice([-1, 1], size=(count, 12))
    for bit, value in fixed.items():
        alpha[:, bit] = value
    return alpha, loss(alpha).tolist()


def read(*folders):
    return conas_among(read_all(list(map(str, folders))).searches)


def vector(fixed):
    return [fixed.get(bit, 0) for bit in range(12)]


def test_the_stages_and_what_they_fix(tmp_path):
    stages = [sampled(0, {}), sampled(1, FIRST)]
    stages[1][1][7] = None
    (run,) = read(write_conas(tmp_path / "run", stages, FOUND, loss_of_result=1.25))
    assert [stage.number for stage in run.stages] == [1, 2] and run.loss_of_result == 1.25
    for stage, (encoders, losses) in zip(run.stages, stages):
        assert stage.encoders.dtype == np.int8 and (stage.encoders == encoders).all()
        np.testing.assert_array_equal(stage.losses, np.array(losses, dtype=float))
        assert stage.accuracies[:2].tolist() == [40.0, 41.0]
    assert np.isnan(run.stages[1].losses[7]) and len(run.stages[1].finite) == 199
    replayed = replay(run)
    assert [mask.tolist() for mask in replayed.masks] == [vector({}), vector(FIRST), vector(SECOND)]
    assert replayed.warnings == ()


def test_before_the_end_only_what_later_stages_have_used_is_recovered(tmp_path):
    begun = write_conas(tmp_path / "run", [sampled(0, {}), sampled(1, FIRST, 2)])  # fewer than the terms
    (run,) = read(begun)
    assert [mask.tolist() for mask in replay(run).masks] == [vector({}), vector(FIRST)] and run.loss_of_result is None


def test_what_a_recovery_takes(tmp_path):
    encoders, losses = sampled(0, {}, 9)
    losses = [3.0, None, *range(1, 8)]
    (run,) = read(write_conas(tmp_path / "run", [(encoders, losses)], max_loss=5.0, clip_quantile=0.75))
    alpha, y = run.usable(run.stages[0])
    kept = [0, 2, 3, 4, 5, 6]
    assert (alpha == encoders[kept]).all() and y.tolist() == [3.0, 1.0, 2.0, 3.0, 3.75, 3.75]


def test_what_the_run_did_otherwise_is_said(tmp_path):
    other = cells(["skip_connect:0"], ["skip_connect:0"])
    (run,) = read(write_conas(tmp_path / "other", [sampled(0, {})], other))
    (warning,) = replay(run).warnings
    assert warning.endswith(
        "other: the measurements of stage 1 lead to another architecture than the one that it found"
    )
    kept = write_conas(tmp_path / "kept", [sampled(0, {}), sampled(1, FIRST)], FOUND)
    first = cells(["max_pool_3x3:0"], ["skip_connect:0"])  # bits 0 and 7
    for cell, count in ((first, 0), (other, 1)):
        (kept / "stage_1.json").write_text(json.dumps({"genotype": cell}))
        assert len(replay(*read(kept)).warnings) == count
    (run,) = read(write_conas(tmp_path / "elsewhere", [sampled(0, {}), sampled(1, {0: -1, 2: 1})]))
    replayed = replay(run)
    assert replayed.masks[1].tolist() == vector({0: -1, 2: 1}) and "stage 2 did not measure" in replayed.warnings[0]


def rows_with(**changes):
    def damage(folder):
        path = folder / "measurements.jsonl"
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        rows[3] |= changes
        write_rows(path, rows)

    return damage


def without(name):
    def damage(folder):
        lines = (folder / "config.yaml").read_text().splitlines(keepends=True)
        (folder / "config.yaml").write_text("".join(line for line in lines if not line.startswith(f"{name}:")))

    return damage


def set_to(name, value):
    def damage(folder):
        without(name)(folder)
        with (folder / "config.yaml").open("a") as file:
            file.write(f"{name}: {value}\n")

    return damage


DAMAGES = {
    "stage": (rows_with(stage=3), "measurements.jsonl has stage 3 where stage 2 belongs"),
    "stage of a word": (rows_with(stage="one"), "stage is 'one', not a number"),
    "number": (rows_with(number=2), "does not have the measurements of stage 1 from 0 on, one by one"),
    "few bits": (rows_with(bits="01"), "bits is '01', not 12 times 0 or 1"),
    "other bits": (rows_with(bits="0101010101x1"), "bits is '0101010101x1', not 12 times 0 or 1"),
    "bits of a number": (rows_with(bits=101010101010), "bits is 101010101010, not text"),
    "loss": (rows_with(loss="small"), "loss is 'small', not a number"),
    "loss of nan": (rows_with(loss=float("nan")), "loss is nan, not a number"),
    "accuracy": (rows_with(acc=101.0), "acc is 101.0, not a number of 0 to 100"),
    "no row": (lambda f: (f / "measurements.jsonl").write_text("[]\n"), "measurements.jsonl, line 1: it is \\[\\]"),
    "binary": (lambda f: (f / "measurements.jsonl").write_bytes(b"\xff\n"), "it is not UTF-8 text"),
    "form": (set_to("lasso_form", "third"), "unknown lasso_form 'third'; choose from paper, half, mean"),
    "terms": (set_to("monomials", 40), "can connect 41 bits"),
    "weight": (set_to("lasso_lambda", "heavy"), "lasso_lambda"),
    "nodes": (without("num_nodes"), "config.yaml does not say operations and num_nodes"),
    "loss of the result": (
        lambda f: write_rows(f / "metrics.jsonl", [{"time/seconds": 1, "step": 1, "epoch": 0, "choice/loss": "x"}]),
        "choice/loss is 'x', not a number",
    ),
}


@pytest.mark.parametrize("command", ["conas", "conas_table4"])
@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_run_is_one_line(tmp_path, command, name):
    damage, words = DAMAGES[name]
    damage(write_conas(tmp_path / "damaged", [sampled(0, {}, 20)], FOUND))
    whole = write_conas(tmp_path / "whole", [sampled(0, {}, 20)], FOUND, seed=1)
    with pytest.raises(UserError, match=rf"damaged cannot be read \(.*{words}") as error:
        answer(command, [str(tmp_path / "damaged"), str(whole), "--output", str(tmp_path / "out")])
    assert "\n" not in str(error.value) and len(str(error.value)) < 600 and not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["conas", "conas_table4"])
def test_nothing_to_answer_of(tmp_path, command):
    nothing = write_conas(tmp_path / "nothing", [])
    with pytest.raises(UserError, match="none of these folders is a search of CoNAS that has measured architectures"):
        answer(command, [str(nothing)])
    few = write_conas(tmp_path / "few", [sampled(0, {}, 2)], FOUND)
    with pytest.raises(UserError, match=r"few, stage 1: 2 of 2 measured losses are left, fewer than the --monomials 3"):
        answer(command, [str(few)])
