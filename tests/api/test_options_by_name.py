"""Options by name become the words of a command line that means the same."""

from pathlib import Path

import numpy as np
import pytest

import isnas
from isnas.api.process import as_flags
from isnas.base.errors import UserError
from isnas.base.options import to_dict
from isnas.methods.registry import SEARCHES, make_options, parse_run

VALUES = {
    "dataset": "digits",
    "epochs": 3,
    "learning_rate": 0.1 + 0.2,
    "cutout": True,
    "channels_last": False,
    "image_size": None,
    "operations": ["skip_connect", "sep_conv_3x3"],
    "run_dir": Path("a folder"),
    "seeds": range(3),
    "tensorboard": None,
}


def test_they_arrive_as_they_were():
    method, options = parse_run(as_flags({"method": "darts", **VALUES}), SEARCHES, "two_stage", "")
    plain = {name: value for name, value in VALUES.items() if value is not None}
    plain |= {"run_dir": "a folder", "seeds": [0, 1, 2]}
    assert method == "darts" and to_dict(options) == to_dict(make_options("darts", **plain))


def test_numbers_of_numpy_are_numbers():
    words = as_flags({"epochs": np.int64(2), "learning_rate": np.float32(0.5), "seeds": np.arange(2).tolist()})
    _, options = parse_run(words, SEARCHES, "two_stage", "")
    assert (options.epochs, options.learning_rate, options.seeds) == (2, 0.5, (0, 1))


def test_text_may_begin_like_a_flag():
    _, options = parse_run(as_flags({"save": "--epochs"}), SEARCHES, "two_stage", "")
    assert options.save == "--epochs"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochz": 3}, "unknown flag --epochz; did you mean --epochs?"),
        ({"epochs": 0}, "epochs must be at least 1, not 0"),
        ({"epochs": True}, "argument --epochs: expected one argument"),
        ({"cutout": 3}, "argument --cutout"),
        ({"method": "darst"}, "unknown method 'darst'; choose from two_stage, darts"),
        ({"sparseness": 99}, "sparseness 99 is more than the 14 candidate connections"),
        ({"epochs": {3: 4}}, "epochs must be a number, a text, a path or a list of them, not "),
        ({"seeds": [[1]]}, "seeds must be a number, a text, a path or a list of them, not [1]"),
        ({"config": "nowhere.yaml"}, "nowhere.yaml"),
        ({"resume": "nowhere"}, "cannot resume nowhere: there is no such folder"),
        ({"help": True}, "there is no option help"),
        ({"dataset": "digitz"}, "unknown dataset 'digitz'; choose from "),
    ],
    ids=str,
)
def test_a_mistake_has_the_words_of_the_command(options, message):
    with pytest.raises(UserError) as raised:
        isnas.search(**options)
    assert message in str(raised.value)


def test_each_function_has_the_options_of_its_command():
    for call, wrong in ((isnas.train, "sparseness"), (isnas.one_stage, "arch"), (isnas.search, "arch")):
        with pytest.raises(UserError, match=f"unknown flag --{wrong}"):
            call(**{wrong: 3})
    with pytest.raises(UserError, match="give --arch: a published name"):
        isnas.train()


def test_of_several_processes_none_calls(monkeypatch):
    for name, value in {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2", "MASTER_PORT": "9999"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MASTER_ADDR", "localhost")
    with pytest.raises(UserError, match="one of several"):
        isnas.search("digits")
