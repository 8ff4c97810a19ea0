"""Language models on a real GPU: their numbers against a CPU's in float64, their waits, checkpoints that come back."""

import contextlib
import io

import pytest
import torch
from small_texts import CPU, drawn_words, make_language
from waiting import no_waiting

from isnas.methods.language_model import LanguageModel
from isnas.methods.language_search import RecurrentConas, RecurrentRandomWS
from isnas.space.connections import Connections
from isnas.train.language import mean_loss

pytestmark = pytest.mark.slow

CASES = {
    "conas": (RecurrentConas, {"measurements": 20, "monomials": 5}),
    "random_ws": (RecurrentRandomWS, {}),
    "evaluation": (LanguageModel, {"arch": "DARTS_V2", "alpha": 0.5, "beta": 0.5, "nonmono": 0}),
}


def at_start(case, device, dtype=torch.float64):
    """A search or a training as the tools build it; the training averages its weights."""
    kind, values = CASES[case]
    made = make_language(kind, dtype, device, learning_rate=0.5, **values)
    if case == "evaluation":
        made.validated(1.0, 0)
        made.validated(2.0, 1)
        assert made.average is not None
    made.network.train()
    return made


def words_of(number, device):
    """Inputs and targets of a window."""
    return drawn_words(4, 6, f"inputs {number}").to(device), drawn_words(4, 6, f"targets {number}").to(device)


def take_step(case, made, number, words):
    """One update; its loss."""
    if case != "evaluation":
        made.before_step(number)
    return made.step(words, 1.0, 0, number)


def numbers(made, device, steps=range(3)):
    """The losses of some steps, that of a text afterwards, and the weights, in float64 on the CPU."""
    case = next(name for name, (kind, _) in CASES.items() if isinstance(made, kind))
    losses = torch.stack([take_step(case, made, step, words_of(step, device)) for step in steps])
    network = made.result if case == "evaluation" else made.network
    judged = mean_loss(
        network.eval(), [words_of(9, device)], None if case == "evaluation" else Connections(made.support)
    )
    values = torch.cat([value.flatten() for value in network.state_dict().values()])
    return torch.cat([losses.double().cpu(), torch.tensor([judged]).double(), values.double().cpu()])


@pytest.mark.parametrize("case", CASES)
def test_a_language_model_has_the_numbers_of_the_cpu(case, device):
    expected = numbers(at_start(case, CPU), CPU)
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-4)):
        found = numbers(at_start(case, device, dtype), device)
        assert ((found - expected).norm() / expected.norm()).item() < tolerance


@pytest.mark.parametrize("case", CASES)
def test_a_step_of_a_language_model_waits_for_nothing(case, device):
    made = at_start(case, device, torch.float32)
    for step in range(3):
        words = words_of(step, device)
        with no_waiting(device) if step else contextlib.nullcontext():  # libraries are loaded in the first
            loss = take_step(case, made, step, words)
    assert torch.isfinite(loss)


@pytest.mark.parametrize("case", CASES)
def test_the_checkpoint_of_a_language_model_comes_back(case, device):
    made, resumed = at_start(case, device), at_start(case, device)
    numbers(made, device, range(2))
    file = io.BytesIO()
    torch.save(made.state_dict(), file)
    file.seek(0)
    resumed.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
    ends = [numbers(each, device, range(2, 4)) for each in (made, resumed)]
    assert ((ends[1] - ends[0]).norm() / ends[0].norm()).item() < 1e-12
