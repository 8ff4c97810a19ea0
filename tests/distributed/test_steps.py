"""Several processes compute what one does: the searches and trainings, in float64 over gloo."""

import pytest
import torch
from launching import launch

pytestmark = pytest.mark.slow

CASES = ["search", "released", "one-stage", "training", "darts", "unrolled", "partial", "random_ws", "random", "conas"]
CASES += ["sampled_recovery", "chain", "chain_onestage", "text_conas", "text_random_ws", "text_training"]


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    """What 1, 2 or 4 processes come to."""
    known = {}

    def get(mode, processes):
        if (mode, processes) not in known:
            folder = tmp_path_factory.mktemp(f"{mode}-{processes}")
            codes, outputs = launch("tests/distributed/steps.py", [mode, folder / "out.pt"], processes, folder)
            assert not any(codes), outputs
            known[mode, processes] = torch.load(folder / "out.pt", weights_only=True)
        return known[mode, processes]

    return get


@pytest.mark.parametrize(("mode", "processes"), [("eval", 2), ("eval", 4), ("sync_bn", 2)])
@pytest.mark.parametrize("case", CASES)
def test_several_processes_compute_what_one_does(outcome, mode, processes, case):
    one, several = outcome(mode, 1)[case], outcome(mode, processes)[case]
    assert several["genotypes"] == one["genotypes"]
    assert (
        case in ("training", "text_training") or len(set(one["genotypes"])) > 1
    )  # a support that stays would show little
    for part in ("network", "architecture", "measured"):
        for key, value in one.get(part, {}).items():
            torch.testing.assert_close(several[part][key], value, rtol=1e-10, atol=1e-12, msg=key)


def test_what_does_not_run_is_not_exchanged(outcome):
    """One-stage: a step exchanges the gradients of W that runs and of b, once; two-stage exchanges them one by one."""
    for case in ("search", "one-stage"):
        found = outcome("eval", 2)[case]
        per_step = found["bytes"] / 5
        assert 0.5 * (found["running"] + found["b"]) < per_step < 1.5 * (found["running"] + found["b"])
        assert per_step < 0.5 * found["all"]
