"""A trained network or language model in Python's hands: what it says of images or words, its test, its export."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import torch

from isnas.api.images import Image, names_of, one_image, written
from isnas.api.process import unchanged_process
from isnas.api.results import TrainResult, readable
from isnas.apps.export import ExportOptions
from isnas.apps.exporting import exported
from isnas.apps.predicting import probabilities_of
from isnas.apps.tester import TestOptions
from isnas.apps.testing import tested_network
from isnas.base.errors import UserError
from isnas.base.files import output_folder
from isnas.base.options import build
from isnas.base.text import shown
from isnas.data.image_files import load_files
from isnas.data.small.folders import read_headers
from isnas.engine.language.trained import TrainedModel, load_any
from isnas.engine.language.using import continued, own_text, perplexity_of, read_file, score_test, words_of
from isnas.engine.run import find_device
from isnas.engine.trained import Trained
from isnas.space.recurrent.genotype import RecurrentGenotype

if TYPE_CHECKING:
    from isnas.space.recurrent.network import RecurrentNetwork
    from isnas.space.space import Network


@dataclass(frozen=True, repr=False)
class Prediction:
    """What a network says of an image: the class it takes it for, and the probability of every class.

    ``name`` is the file's, or what the image is called where it came from elsewhere; ``probabilities`` are in the order
    of ``classes`` and sum up to 1.
    """

    name: str
    label: str
    probability: float
    classes: tuple[str, ...] = field(repr=False)
    probabilities: tuple[float, ...] = field(repr=False)

    def top(self, count: int) -> list[tuple[str, float]]:
        """The most probable classes with their probabilities, so many at most."""
        ranked = sorted(range(len(self.classes)), key=lambda k: -self.probabilities[k])
        return [(self.classes[k], self.probabilities[k]) for k in ranked[:count]]

    def __repr__(self) -> str:
        return f"Prediction({self.name}: {self.label} {100.0 * self.probability:.2f} %)"


@dataclass(frozen=True, repr=False)
class TestResult:
    """Scores on test images: accuracies in percent, the mean loss in nats, and the accuracy of each class with images.

    ``balanced_acc`` is the mean of these, ``left_out`` says what is wrong with images that were left out.
    """

    __test__ = False  # no test of pytest's

    test_acc: float
    test_acc_top5: float
    balanced_acc: float
    loss: float
    num_images: int
    class_acc: dict[str, float] = field(repr=False)
    left_out: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return readable(self)


@dataclass(frozen=True, repr=False)
class ExportedFile:
    """A network in a file: where it is, the file beside it that describes it, and what the check has found.

    ``largest_difference`` is that of its class scores from the network's, ``milliseconds`` what one image takes on the
    CPU, and ``description`` the content of the other file.
    """

    path: Path
    description_path: Path
    largest_difference: float
    milliseconds: float
    description: dict[str, Any] = field(repr=False)

    def __repr__(self) -> str:
        return readable(self)


@dataclass(frozen=True, repr=False)
class TrainedNetwork:
    """A network that was trained on images, from its run folder or its weights file.

    ``network`` is a ``torch.nn.Module`` in eval mode on the CPU, which takes images (B, ``channels``, ``image_size``,
    ``image_size``) that are normalised by ``mean`` and ``std`` of pixels in [0, 1], and gives ``logits`` (B, classes).
    ``genotype`` is a :class:`Genotype`, or of a chain a ``ChainGenotype``.
    """

    source: Path
    network: Network = field(repr=False)
    genotype: Any
    classes: tuple[str, ...]
    channels: int
    image_size: int
    mean: tuple[float, ...] = field(repr=False)
    std: tuple[float, ...] = field(repr=False)
    _trained: Trained = field(repr=False)

    def __repr__(self) -> str:
        return readable(self)

    def predict(self, images: Image | Iterable[Image], *, device: str = "auto", batch_size: int = 256) -> Any:
        """What the network says of images, cut, scaled and normalised as the test images of its training were.

        Args:
            images: An image or several. An image is the path of a file, a PIL image, or an array of bytes (uint8),
                (H, W) of grey levels or (H, W, 1), (H, W, 3) RGB, (H, W, 4) RGBA; one of four dimensions is several.
            device: cpu, cuda, cuda:N, or auto.
            batch_size: Images at a time.

        Returns:
            A :class:`Prediction` of an image, a list of them of several.

        Raises:
            UserError: for a file that is no whole image, an array of another kind, or scores that are not finite.
        """
        single = one_image(images)
        several: Sequence[Image] = [images] if single else list(images)  # type: ignore[list-item, arg-type]
        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
            raise UserError(f"batch_size must be an integer from 1 up, not {shown(batch_size)}")
        found: list[Prediction] = []
        with unchanged_process():
            place = find_device(device, 0)
            try:
                network = self.network.to(place)
                for start in range(0, len(several), batch_size):
                    found += self._of_batch(network, several[start : start + batch_size], start, place)
            finally:
                self.network.to("cpu")
        return found[0] if single else found

    def _of_batch(self, network: Network, images: Sequence[Image], first: int, place: torch.device) -> list[Prediction]:
        trained, names = self._trained, names_of(images, first)
        with TemporaryDirectory() as folder:
            paths = written(images, names, Path(folder))
            read_headers(paths)
            x = load_files(paths, trained.geometry, trained.info, trained.data.grey, place)
        rows = probabilities_of(network, x, str(self.source), names).tolist()
        found = []
        for name, row in zip(names, rows):
            best = max(range(len(row)), key=row.__getitem__)
            found.append(Prediction(name, self.classes[best], row[best], self.classes, tuple(row)))
        return found

    def test(self, **options: Any) -> TestResult:
        """Test it on the test images of its dataset, as it was tested in its training.

        Args:
            options: Of ``isnas test``: ``data`` says where the images are now, ``device``, ``threads``, ``batch_size``,
                ``max_bad_images``, ``max_image_megapixels``; with ``output``, a folder, the confusion matrix and the
                wrong images are written there.

        Raises:
            UserError: when the images are not there, or of other classes.
        """
        with unchanged_process():
            made = build(TestOptions, _of(self.source, options))
            try:
                tested = tested_network(self._trained, made, find_device(made.device, made.threads))
            finally:
                self.network.to("cpu")
        outcomes, scores = tested.outcomes, tested.scores
        if made.output:
            outcomes.write(output_folder(made.output), tested.names())
        return TestResult(
            test_acc=scores.top1,
            test_acc_top5=scores.top5,
            balanced_acc=outcomes.balanced_accuracy(),
            loss=scores.loss,
            num_images=len(outcomes.labels),
            class_acc={self.classes[k]: 100.0 * share for k, share in outcomes.class_accuracies().items()},
            left_out=tuple(tested.left_out),
        )

    def export(self, output: str | os.PathLike[str] = "", **options: Any) -> ExportedFile:
        """Write it as a file that runs without this package, and check the file against the network.

        Args:
            output: The file, network.pt2 or network.onnx beside the weights when there is none; it is replaced.
            options: Of ``isnas export``: ``format`` (torch or onnx), ``fold``, ``normalise``, ``threads``.

        Raises:
            UserError: when a library is missing, the file cannot be written, or it computes something else.
        """
        with unchanged_process():
            done = exported(build(ExportOptions, _of(self.source, {"output": output, **options})))
        beside = done.path.with_name(f"{done.path.name}.json")
        return ExportedFile(done.path, beside, done.difference, done.milliseconds["file"], done.about)


@dataclass(frozen=True, repr=False)
class LanguageModel:
    """A network that was trained on a text, from its run folder or its weights file, in eval mode on the CPU."""

    source: Path
    network: RecurrentNetwork = field(repr=False)
    genotype: RecurrentGenotype
    words: tuple[str, ...] = field(repr=False)
    _trained: TrainedModel = field(repr=False)

    def __repr__(self) -> str:
        return readable(self)

    def go_on(self, prompt: str, length: int = 50, *, temperature: float = 1.0, seed: int = 0) -> str:
        """The words of a prompt, and ``length`` more, drawn with ``seed``; at temperature 0 the likeliest.

        Raises:
            UserError: for a word that the vocabulary has nothing for.
        """
        with unchanged_process():
            prompted = words_of(self._trained, prompt).ids
            return continued(self._trained, prompted, length, temperature, seed, torch.device("cpu"))

    def perplexity(self, file: str | os.PathLike[str]) -> float:
        """The perplexity of a text, a sentence per line.

        Raises:
            UserError: when the file cannot be read or is no such text.
        """
        with unchanged_process():
            words = read_file(self._trained, Path(file))
            return perplexity_of(self._trained, words.ids, 1, str(file), torch.device("cpu")).perplexity

    def test(self, data: str | os.PathLike[str] = "") -> float:
        """The perplexity on the test part of its text, in the folder ``data`` or where it was in the training.

        Raises:
            UserError: when it is not there, or of other words.
        """
        with unchanged_process():
            text = own_text(self._trained, os.fspath(data))
            return score_test(self._trained, text, None, torch.device("cpu")).perplexity


def load(run: str | os.PathLike[str] | TrainResult) -> TrainedNetwork | Any:
    """The trained network in a run folder, in a weights file, or of a result; nothing in it is executed.

    It is a :class:`TrainedNetwork`, or of a text a :class:`LanguageModel`.

    Raises:
        UserError: when there is none, or its file is damaged or of another kind.
    """
    source = run.folder if isinstance(run, TrainResult) else Path(os.path.expanduser(run))
    with unchanged_process():
        trained = load_any(source)
    if isinstance(trained, TrainedModel):
        return LanguageModel(source, trained.network, trained.genotype, trained.vocabulary.words, trained)
    info = trained.info
    about = (trained.genotype, info.classes, info.channels, info.image_size, info.mean, info.std)
    return TrainedNetwork(source, trained.network, *about, trained)


def _of(source: Path, options: dict[str, Any]) -> dict[str, Any]:
    """The options of a command on the network that was loaded from ``source``: paths as text, without what is None.

    Raises:
        UserError: when they name a run, which may be another one.
    """
    if "run" in options:
        raise UserError(f"this is the network of {source}; leave run out, or load the other one")
    plain = {name: os.fspath(value) if isinstance(value, os.PathLike) else value for name, value in options.items()}
    return {"run": str(source)} | {name: value for name, value in plain.items() if value is not None}
