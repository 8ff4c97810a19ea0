"""The options of every run of a language model, and of every search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from isnas.base.options import option
from isnas.data.text.texts import TextOptions
from isnas.engine.harness_options import AnyRunOptions, WeightsOptions
from isnas.space.recurrent.options import RecurrentSizes
from isnas.train.train_options import DescentOptions


@dataclass(frozen=True)
class LanguageOptions(RecurrentSizes, DescentOptions, TextOptions, AnyRunOptions, title="Validation and test"):
    """The sizes of a recurrent network, a descent of its weights, a text, seeds and a folder."""

    entries: ClassVar[str] = "columns"
    valid_batch_size: int = option(10, "columns of the text that validates", minimum=1, maximum=10**6)
    test_batch_size: int = option(1, "columns of the text that tests", minimum=1, maximum=10**6)


@dataclass(frozen=True)
class ModelOptions(WeightsOptions, LanguageOptions):
    """What every training of a language model has."""


@dataclass(frozen=True)
class MeasuringOptions(LanguageOptions, title="Measurement of architectures"):
    """A search that measures architectures on the text that validates; the defaults are Li and Talwalkar's."""

    valid_batch_size: int = option(
        1024, "columns of the text on which architectures are measured", minimum=1, maximum=10**6
    )
    measure_rows: int = option(
        0,
        "rows of these columns that are predicted in a measurement, from the first on; 0: all",
        minimum=0,
        maximum=10**9,
    )
