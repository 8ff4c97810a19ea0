"""A user's mistake ends with exit code 2 and one line that says what to do, and no file is made or changed."""

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from networks import save_network, with_one_bit_changed
from PIL import Image
from refusals import Case, beside, check, run_tool, started

TOOLS = Path(__file__).resolve().parents[2] / "tools"
SMALL = ["--dataset", "digits", "--image_size", "8", "--init_channels", "2", "--layers", "3"]
SMALL += ["--epochs", "1", "--batch_size", "64", "--no_tensorboard", "--device", "cpu"]
CHAIN = ["--space", "chain", "--widths", "digits", "--dataset", "digits"]


IDX_NAMES = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
FASHION_FILES = [f"{name}-ubyte.gz" for name in IDX_NAMES]
CIFAR_FILES = ["test_batch", *(f"data_batch_{number}" for number in range(1, 6))]


def small(*argv: str) -> list[str]:
    return [*SMALL, *argv]


def truncated_idx(folder: Path) -> None:
    (folder / "data").mkdir()
    for name in IDX_NAMES:
        axes = int(name[-1])
        header = struct.pack(f">i{axes}i", 0x800 + axes, *(20, 28, 28)[:axes])
        (folder / "data" / f"{name}-ubyte").write_bytes(header + bytes(20))


def garbage(folder: Path, names: list[str]) -> None:
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).write_bytes(b"no such format")


def own_images(folder: Path) -> None:
    """Two classes of six images, the last of which is cut off."""
    for name in ("boots", "shoes"):
        (folder / "images" / name).mkdir(parents=True)
        for number in range(6):
            Image.new("L", (16, 16), 40 * number).save(folder / "images" / name / f"{number}.png")
    path = folder / "images" / "shoes" / "5.png"
    path.write_bytes(path.read_bytes()[:-30])


def config(text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / "c.yaml").write_text(text)


def genotype(name: str, text: str, *words: str) -> Case:
    """A genotype that cannot be one, pasted, after the name of a file that holds it if ``text`` is JSON."""
    if text.startswith("Genotype"):
        return Case(name, ["--arch", text], list(words), tool="count.py")
    return Case(name, ["--arch", "g.json"], ["g.json", *words], lambda f: (f / "g.json").write_text(text), "count.py")


def cell_pair(normal: str) -> str:
    pairs = "[('skip_connect', 0), ('skip_connect', 1)]"
    return f"Genotype(normal={normal}, normal_concat=range(2, 3), reduce={pairs}, reduce_concat=range(2, 3))"


GENOTYPE_CASES = [
    genotype("unknown operation", cell_pair("[('conv_9x9', 0), ('skip_connect', 1)]"), "unknown operation 'conv_9x9'"),
    genotype("impossible predecessor", cell_pair("[('skip_connect', 2), ('skip_connect', 1)]"), "predecessor 2"),
    genotype("no nodes", cell_pair("[]"), "normal must be a list of nodes"),
    genotype("half a node", cell_pair("[('skip_connect', 0)]"), "1 pairs", "two per node"),
    genotype(
        "too few nodes", cell_pair("[[('skip_connect', 0)]]").replace("(2, 3)", "(2, 6)", 1), "node 3", "nodes 2..2"
    ),
    genotype("expression", cell_pair("__import__('os').system('touch made')"), "no expressions"),
    genotype("not json", "normal: sep_conv_3x3", "is not JSON"),
    genotype("json without a cell", '{"normal": []}', "is missing"),
    Case(
        "no such architecture", ["--arch", "ISTA_onestge"], ["unknown architecture", "ISTA_onestage"], tool="count.py"
    ),
]


class Code:
    """What a pickle turns into a call when it is loaded without care."""

    def __reduce__(self) -> tuple:
        return os.system, ("touch made",)


def with_weights(change: Callable[[dict], object] | None = None, flip: bool = False) -> Callable[[Path], object]:
    """A run folder whose weights are changed, or have one bit wrong, beside an image that is none."""

    def prepare(folder: Path) -> None:
        file = folder / "run" / "weights.pt"
        save_network(file)
        (folder / "notes.png").write_text("no image")
        Image.new("L", (16, 16)).save(folder / "black.png")
        if change:
            content = torch.load(file, weights_only=True)
            change(content)
            torch.save(content, file)
        if flip:
            file.write_bytes(with_one_bit_changed(file.read_bytes()))

    return prepare


def as_a_search_writes(content: dict) -> None:
    content["architecture"] = content.pop("format")


NETWORK_CASES = [
    Case("no network", [], ["give a run folder of evaluate.py, or its weights.pt"], tool="test.py"),
    Case("no such run", ["old"], ["there is no old; give a run folder"], tool="export.py"),
    Case("corrupted weights", ["run"], ["run/weights.pt is damaged"], with_weights(flip=True), "test.py"),
    Case(
        "weights of another architecture",
        ["run/weights.pt"],
        ["weights in run/weights.pt are not of the network that it describes", "has the shape"],
        with_weights(lambda content: content["sizes"].update(init_channels=8)),
        "test.py",
    ),
    Case(
        "weights with code",
        ["run", "black.png"],
        ["run/weights.pt holds more than weights and plain values: 'posix.system'; it was not loaded"],
        with_weights(lambda content: content.update(weights=Code())),
        "predict.py",
    ),
    Case(
        "weights of a search",
        ["run", "--format", "onnx"],
        ["run/weights.pt does not hold a trained network", "evaluate.py --arch run"],
        with_weights(as_a_search_writes),
        "export.py",
    ),
    Case("no image", ["run"], ["give one image file or more after run"], tool="predict.py"),
    Case(
        "an image that is none",
        ["run", "black.png", "notes.png", "black.png"],
        ["notes.png is not an image"],
        with_weights(),
        "predict.py",
    ),
    Case("no such format", ["run", "--format", "tflite"], ["unknown format 'tflite'", "torch, onnx"], tool="export.py"),
]

OLD_NAME = "--steps is now called num_nodes"
CIFAR_REMEDY = ["cifar-10-python.tar.gz", "data_batch_1", "--data"]

CASES = [
    Case("no such dataset", ["--dataset", "cifar"], ["unknown dataset 'cifar'", "digits, fashion_mnist, cifar10"]),
    Case("no such solver", ["--solver", "cvx"], ["unknown solver 'cvx'", "homotopy, ista, fista, clarabel, mosek"]),
    Case("no such flag", ["--leyers", "2"], ["unknown flag --leyers", "did you mean --layers?"]),
    Case(
        "no such method",
        small("--method", "no_such"),
        ["unknown method 'no_such'", "choose from two_stage, darts, "],
    ),
    Case(
        "nodes of a found architecture",
        ["--arch", "ISTA_twostage", "--num_nodes", "3", *SMALL],
        ["--num_nodes, --operations and --shared_cell have no effect on --arch ISTA_twostage", "leave them out"],
        tool="evaluate.py",
    ),
    Case(
        "one cell for a found architecture",
        ["--arch", "ISTA_twostage", "--shared_cell", *SMALL],
        ["--shared_cell have no effect on --arch ISTA_twostage", "leave them out"],
        tool="evaluate.py",
    ),
    Case(
        "one cell that is both of one",
        small("--layers", "1", "--shared_cell"),
        ["--shared_cell has no effect on --layers 1", "leave it out"],
    ),
    Case(
        "parts of a chain's channels",
        [*CHAIN, "--method", "pc_darts"],
        ["--partial_channels 4 cannot be had in the space chain", "give 1"],
    ),
    Case("a method of cells", [*CHAIN, "--method", "conas"], ["--method conas searches in --space cells alone"]),
    Case("sizes of cells for a chain", [*CHAIN, "--layers", "3"], ["unknown flag --layers"]),
    Case("multiply-adds out of reach", [*CHAIN, "--target_macs", "900"], ["--target_macs 900 is out of reach"]),
    Case(
        "a chain in other widths",
        ["--arch", "ProxylessNAS_CPU", "--widths", "gpu", "--dataset", "digits"],
        ["ProxylessNAS_CPU has other widths than --widths gpu; give cpu"],
        tool="evaluate.py",
    ),
    Case(
        "a chain as cells",
        ["--space", "cells", "--arch", "ProxylessNAS_CPU", "--dataset", "digits"],
        ["unknown architecture 'ProxylessNAS_CPU'"],
        tool="evaluate.py",
    ),
    Case(
        "a head in a chain",
        ["--arch", "all:skip", "--auxiliary", "--widths", "digits", "--dataset", "digits"],
        ["--auxiliary cannot be had in the space chain; leave it out"],
        tool="evaluate.py",
    ),
    Case("no such preset", small("--preset", "relesed"), ["unknown preset 'relesed'; choose from paper, released"]),
    Case("no such space", small("--space", "chains"), ["unknown space 'chains'", "choose from cells"]),
    Case("method of another tool", small("--method", "one_stage"), ["unknown method 'one_stage'"]),
    Case(
        "config of another tool",
        ["--config", str(TOOLS.parent / "configs/cifar10_onestage.yaml")],
        ["configs/cifar10_onestage.yaml is a config of train_onestage.py; start that with it"],
    ),
    Case(
        "config of a search for a training",
        ["--config", str(TOOLS.parent / "configs/cifar10_twostage.yaml")],
        ["configs/cifar10_twostage.yaml is a config of train_search.py; start that with it"],
        tool="evaluate.py",
    ),
    Case(
        "channels that cannot be divided",
        small("--method", "pc_darts", "--partial_channels", "4"),
        ["--partial_channels 4 does not divide --init_channels 2"],
    ),
    Case(
        "second order with scaled gradients",
        small("--method", "darts", "--unrolled", "--amp", "fp16"),
        ["--unrolled needs gradients that are not scaled", "leave out --amp fp16"],
    ),
    Case(
        "second order with nesterov",
        small("--method", "darts", "--unrolled", "--nesterov"),
        ["--unrolled takes a step with plain momentum ahead", "leave out --nesterov"],
    ),
    Case(
        "more edges than predecessors",
        small("--method", "darts", "--sparseness", "3"),
        ["sparseness 3 is more than the 2 predecessors"],
    ),
    Case(
        "flag of another method",
        small("--method", "random_ws", "--proj_dims", "7"),
        ["unknown flag --proj_dims; it is an option of --method two_stage"],
    ),
    Case(
        "no such operation",
        small("--operations", "skip_connect", "sep_conv_9x9"),
        ["unknown operations 'sep_conv_9x9'", "choose from max_pool_3x3"],
    ),
    Case(
        "an operation twice",
        small("--operations", "skip_connect", "sep_conv_3x3", "skip_connect"),
        ["--operations must name different operations, one at least"],
    ),
    Case(
        "no operations",
        small("--config", "c.yaml"),
        ["--operations must name different operations, one at least"],
        config("operations: []\n"),
    ),
    Case(
        "too dense for its operations",
        small("--operations", "skip_connect", "--sparseness", "3"),
        ["sparseness 3 is more than the 2 candidate connections"],
    ),
    Case(
        "both names of an option",
        small("--config", "c.yaml"),
        ["c.yaml gives num_nodes twice"],
        config("num_nodes: 4\nsteps: 4\n"),
        notes=["steps in c.yaml is now called num_nodes"],
    ),
    Case("old name", small("--steps", "0"), ["num_nodes must be at least 1, not 0"], notes=[OLD_NAME]),
    Case(
        "average of a one-stage run",
        small("--ema_decay", "0.9"),
        ["--ema_decay has no effect on a one-stage run", "leave it out"],
        tool="train_onestage.py",
    ),
    Case(
        "no such key",
        small("--config", "c.yaml"),
        ["unknown option 'leyers' in c.yaml", "did you mean layers?"],
        config("leyers: 2"),
    ),
    Case(
        "broken config",
        small("--config", "c.yaml"),
        ["c.yaml, line 1: 'layers' holds a mapping"],
        config("layers: {\n"),
    ),
    Case("resume in the config", small("--config", "c.yaml"), ["resume"], config("resume: old\n")),
    Case(
        "no cifar10",
        ["--dataset", "cifar10", "--data", "data"],
        ["data folder data does not exist", "download failed", *CIFAR_REMEDY],
        notes=["downloading cifar10 into data: 170 MB"],
    ),
    Case(
        "empty cifar10",
        ["--dataset", "cifar10", "--data", "data"],
        ["data folder data is empty", "download failed", *CIFAR_REMEDY],
        lambda folder: (folder / "data").mkdir(),
        notes=["downloading cifar10 into data: 170 MB"],
    ),
    Case(
        "no fashion mnist",
        ["--dataset", "fashion_mnist", "--data", "data"],
        ["data folder data does not exist", "download failed", "dataset-fashion-mnist", "train-images-idx3-ubyte"],
        notes=["downloading fashion_mnist into data: 31 MB"],
    ),
    Case(
        "empty fashion mnist",
        ["--dataset", "fashion_mnist", "--data", "data"],
        ["data folder data is empty", "download failed", "dataset-fashion-mnist", "train-images-idx3-ubyte"],
        lambda folder: (folder / "data").mkdir(),
        notes=["downloading fashion_mnist into data: 31 MB"],
    ),
    Case(
        "truncated idx",
        ["--dataset", "fashion_mnist", "--data", "data"],
        ["data/train-images-idx3-ubyte holds 20 values", "promises 15,680", "fetch it again"],
        truncated_idx,
    ),
    Case(
        "not gzip",
        ["--dataset", "fashion_mnist", "--data", "data"],
        ["data/train-images-idx3-ubyte.gz"],
        lambda folder: garbage(folder / "data", FASHION_FILES),
    ),
    Case(
        "garbage for cifar10",
        ["--dataset", "cifar10", "--data", "data"],
        ["cifar-10-batches-py/data_batch_1"],
        lambda folder: garbage(folder / "data" / "cifar-10-batches-py", CIFAR_FILES),
    ),
    Case(
        "no svhn",
        ["--dataset", "svhn", "--data", "data"],
        ["data folder data does not exist", "download failed", "extra_32x32.mat", "housenumbers", "--no_svhn_extra"],
        notes=["downloading svhn into data: 1,575 MB"],
    ),
    Case(
        "damaged own image",
        ["--dataset", "imagefolder", "--data", "images"],
        ["images/shoes/5.png cannot be decoded", "replace it with a whole image, or remove it"],
        own_images,
    ),
    Case(
        "own images without their dataset",
        ["--data", "images"],
        ["the data folder images holds class folders of images (boots, shoes), and not cifar10", "dataset imagefolder"],
        own_images,
    ),
    Case(
        "cifar10 into a folder of other things",
        ["--data", "here"],
        ["the data folder here holds thesis, and not cifar10", "not downloaded into a folder of other things"],
        lambda folder: (folder / "here" / "thesis").mkdir(parents=True),
    ),
    Case(
        "own images in one folder",
        ["--dataset", "imagefolder", "--data", "images/boots"],
        ["the data folder images/boots holds no folders; put the images into train/CLASS"],
        own_images,
    ),
    Case("grey twice", small("--grey"), ["--grey has no effect: the images of digits are grey already"]),
    Case("name without effect", small("--run_dir", "new", "--save", "mine"), ["--save has no effect with --run_dir"]),
    Case("batch larger than split", small("--batch_size", "719"), ["batch of 719", "718"]),  # 1437 training images
    Case("too dense", small("--sparseness", "15"), ["sparseness 15 is more than the 14 candidate connections"]),
    Case("no dimensions", small("--proj_dims", "0"), ["proj_dims must be at least 1, not 0"]),
    Case("negative lambda", small("--lasso_lambda", "-1e-5"), ["lasso_lambda must be greater than 0", "-1e-05"]),
    Case("no end", small("--timeout_minutes", "1e300"), ["timeout_minutes must be at most 525600.0, not 1e+300"]),
    Case("learning rate nan", small("--learning_rate", "nan"), ["learning_rate must be a finite number, not nan"]),
    Case("portion 0", small("--train_portion", "0"), ["train_portion must be greater than 0"]),
    Case("portion 1", small("--train_portion", "1"), ["train_portion must be less than 1"]),
    Case("no layers", small("--layers", "0"), ["layers must be at least 1, not 0"]),
    Case("two layers", small("--layers", "2"), ["--layers 2 would be two reduction cells", "give 1, or 3 or more"]),
    Case("no epochs", small("--epochs", "0"), ["epochs must be at least 1, not 0"]),
    Case(
        "no licence",
        small("--solver", "mosek"),
        ["home/mosek/mosek.lic", "MOSEKLM_LICENSE_FILE", "homotopy", "clarabel"],
    ),
    Case("no such card", small("--device", "cuda:77"), ["device cuda:77 cannot be used"]),
    Case("device without values", small("--device", "meta"), ["device meta cannot be used"]),
    Case("resume nothing", ["--resume", "old"], ["cannot resume old"]),
    Case("resume empty", ["--resume", "old"], ["cannot resume old"], lambda folder: (folder / "old").mkdir()),
    Case("overlong run folder", small("--run_dir", "x" * 300), ["cannot write the run folder xxx"]),
    *GENOTYPE_CASES,
    *NETWORK_CASES,
]


def edited_config(folder: Path) -> None:
    path = folder / "run" / "config.yaml"
    text = path.read_text()
    assert "arch_learning_rate: 0.0006\n" in text
    path.write_text(text.replace("arch_learning_rate: 0.0006\n", "arch_learning_rate: 0.006\n"))


def damaged_checkpoints(folder: Path) -> None:
    last, previous = folder / "run" / "checkpoint.pt", folder / "run" / "checkpoint_previous.pt"
    last.write_bytes(last.read_bytes()[:1000])
    previous.write_bytes(with_one_bit_changed(previous.read_bytes()))


RESUME_CASES = [
    Case("folder is taken", small("--run_dir", "run"), ["run already holds a run", "--resume run"]),
    Case(
        "other flag",
        ["--resume", "run", "--learning_rate", "0.2"],
        ["--learning_rate 0.2 differs from the run's 0.1", "start a new run"],
    ),
    Case(
        "other config",
        ["--resume", "run"],
        ["checkpoint in run was made with arch_learning_rate 0.0006", "config.yaml says 0.006"],
        edited_config,
    ),
    Case(
        "no whole checkpoint",
        ["--resume", "run"],
        ["cannot resume run", "checkpoint.pt is damaged", "checkpoint_previous.pt is damaged", "start a new run"],
        damaged_checkpoints,
    ),
    Case(
        "run of another tool",
        ["--resume", "run"],
        ["cannot resume run: it is a run of train_search.py; go on with `train_search.py --resume run`"],
        tool="train_onestage.py",
    ),
    Case(
        "run of another method",
        ["--resume", "run", "--method", "random_ws"],
        ["--method random_ws differs from the run's two_stage", "start a new run"],
    ),
    Case(
        "old name of another number",
        ["--resume", "run", "--steps", "3"],
        ["--num_nodes 3 differs from the run's 4"],
        notes=[OLD_NAME],
    ),
    Case("two run folders", ["--resume", "run", "--run_dir", "new"], ["--run_dir has no effect with --resume"]),
]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    with started(CASES, tmp_path_factory.mktemp("bad")) as futures:
        yield futures


@pytest.fixture(scope="module")
def resume_outcomes(tmp_path_factory):
    """As ``outcomes``, each with a finished run in the folder ``run``."""
    root = tmp_path_factory.mktemp("resume")
    (root / "template").mkdir()
    result = run_tool("train_search.py", small("--run_dir", "run"), root / "template")
    assert result.returncode == 0, result.stderr

    with started([beside(case, root / "template" / "run") for case in RESUME_CASES], root) as futures:
        yield futures


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_mistake_is_one_line(case, outcomes):
    check(case, outcomes[case.name])


@pytest.mark.parametrize("case", RESUME_CASES, ids=lambda case: case.name)
def test_a_mistake_with_a_run_is_one_line(case, resume_outcomes):
    check(case, resume_outcomes[case.name])


def test_an_old_name_still_means_what_it_meant(tmp_path):
    result = run_tool("train_search.py", small("--steps", "3", "--run_dir", "run"), tmp_path)
    assert result.returncode == 0 and result.stderr.splitlines()[0] == OLD_NAME
    settings = (tmp_path / "run" / "config.yaml").read_text()
    assert "num_nodes: 3\n" in settings and "steps:" not in settings
    genotype = json.loads((tmp_path / "run" / "genotype.json").read_text())["genotype"]
    assert len(genotype["normal"]) == len(genotype["reduce"]) == 3
