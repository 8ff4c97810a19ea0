"""The weights file: everything comes back, and no other file is taken for one or run."""

import pickle
import shutil
from dataclasses import dataclass

import pytest
import torch
from networks import DIGITS, GENOTYPE, make_network, save_network, sizes_for, with_one_bit_changed

from isnas.base.errors import UserError
from isnas.data.data_options import DataOptions
from isnas.engine.trained import Computation, load_trained, save_trained


@dataclass(frozen=True)
class AllOptions(DataOptions):
    batch_size: int = 17
    amp: str = "bf16"
    epochs: int = 3


def test_everything_comes_back_but_the_auxiliary_head(tmp_path):
    network = make_network(DIGITS, auxiliary=True)
    options = AllOptions(dataset="digits", max_train_images=300)
    save_trained(tmp_path / "weights.pt", network, GENOTYPE, sizes_for(DIGITS), options, DIGITS)
    before = torch.get_rng_state()
    for path in (tmp_path, tmp_path / "weights.pt"):
        trained = load_trained(path)
        assert (trained.genotype, trained.sizes, trained.info) == (GENOTYPE, sizes_for(DIGITS), DIGITS)
        assert trained.data == DataOptions(dataset="digits", max_train_images=300)
        assert trained.computation == Computation(17, "bf16", True)
        wanted = {key: tensor for key, tensor in network.state_dict().items() if not key.startswith("auxiliary")}
        state = trained.network.state_dict()
        assert state.keys() == wanted.keys() and len(wanted) > 50
        assert all(torch.equal(state[key], tensor) for key, tensor in wanted.items())
        assert all(state[key].stride() == tensor.stride() for key, tensor in wanted.items())  # channels_last
        assert not any(module.training for module in trained.network.modules())
        x = torch.randn(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))
        assert torch.equal(trained.network(x).logits, network(x).logits)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    "damaged",
    [
        with_one_bit_changed,
        lambda content: content[:-100],
        lambda content: b"",
        lambda content: b"weights",
        lambda content: pickle.dumps({"format": "isnas network 1"}),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, damaged):
    file = tmp_path / "weights.pt"
    save_network(file)
    load_trained(file)
    file.write_bytes(damaged(file.read_bytes()))
    with pytest.raises(UserError, match=r"weights\.pt is damaged, or not a file of weights alone; it was not loaded"):
        load_trained(tmp_path)


def test_code_in_a_file_is_not_run(tmp_path):
    save_network(tmp_path / "weights.pt")
    content = torch.load(tmp_path / "weights.pt", weights_only=True)

    class Code:
        def __reduce__(self):
            return (open, (str(tmp_path / "made"), "w"))

    torch.save(content | {"weights": Code()}, tmp_path / "weights.pt")
    with pytest.raises(UserError, match="not a file of weights alone"):
        load_trained(tmp_path)
    assert not (tmp_path / "made").exists()
    torch.load(tmp_path / "weights.pt", weights_only=False)
    assert (tmp_path / "made").exists()  # the code would have run


def without_a_node(content):
    content["genotype"]["normal"] = [[["skip_connect", 0]], [["skip_connect", 1]]]


def unknown_operation(content):
    content["genotype"]["normal"][0][0][0] = "conv_9x9"


def one_class_less(content):
    content["info"]["classes"] = content["info"]["classes"][1:]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (without_a_node, r"the weights in .* are not of the architecture that it names: Unexpected key\(s\)"),
        (lambda c: c["sizes"].update(init_channels=8), "are not of the architecture .*: size mismatch"),
        (lambda c: c["weights"].popitem(), r"are not of the architecture .*: Missing key\(s\)"),
        (lambda c: c.update(weights=[]), "are not of the architecture"),
        (unknown_operation, "does not describe a trained network .*unknown operation 'conv_9x9'"),
        (one_class_less, "does not describe a trained network .*other classes"),
        (lambda c: c.pop("sizes"), r"does not describe a trained network \('sizes'\)"),
        (lambda c: c["data"].update(dataset="mnist"), "does not describe .*unknown dataset 'mnist'"),
        (lambda c: c["computation"].update(amp="fp8"), "does not describe .*unknown amp 'fp8'"),
        (lambda c: c.update(format="isnas network 0"), "does not hold a trained network"),
    ],
)
def test_a_file_that_does_not_fit_together_is_refused(tmp_path, change, words):
    save_network(tmp_path / "weights.pt")
    content = torch.load(tmp_path / "weights.pt", weights_only=True)
    change(content)
    torch.save(content, tmp_path / "weights.pt")
    with pytest.raises(UserError, match=words) as error:
        load_trained(tmp_path)
    assert str(tmp_path / "weights.pt") in str(error.value) and len(str(error.value)) < 500


def test_other_places_and_files_say_what_to_give(tmp_path):
    run = tmp_path / "run"

    def refused(words, path=run):
        with pytest.raises(UserError, match=words):
            load_trained(path)

    refused(r"there is no .*run; give a run folder of evaluate.py, or its weights.pt")
    run.mkdir()
    refused("run holds no weights.pt; give a run folder")
    (run / "config.yaml").touch()
    refused("run is not finished, .* go on with --resume .*run")
    (run / "seed-3").mkdir()
    refused("holds several runs, name one of them: .*run/seed-3")
    shutil.rmtree(run / "seed-3")
    torch.save({"network": {}, "architecture": {}}, run / "weights.pt")
    refused("it is a search's; train its cell with evaluate.py --arch .*/run$", run / "weights.pt")
    torch.save(make_network(DIGITS).state_dict(), run / "weights.pt")
    refused("does not hold a trained network: train one")
