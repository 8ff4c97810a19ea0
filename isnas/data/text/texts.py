"""The texts that there are, a row for each, and the options that choose one."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from isnas.base.errors import UserError
from isnas.base.late import late
from isnas.base.options import Component, option

if TYPE_CHECKING:
    from isnas.data.text.vocabulary import TextData

#: The names of the files of training, validation and test text, by custom.
CUSTOMS = tuple(tuple(f"{prefix}{part}.txt" for part in ("train", "valid", "test")) for prefix in ("", "ptb."))

#: What is looked for, for messages.
WANTED = ", or ".join(f"{train}, {valid} and {test}" for train, valid, test in CUSTOMS)


def _as_it_is(line: str) -> str:
    return " ".join(line.split())


@dataclass(frozen=True)
class TextRecord:
    """All that is known of a text in advance.

    Args:
        name: What ``--dataset`` calls it.
        read: Reads it, by its name and what ``--data`` says.
        own_folder: Whether the user must name its folder.
        remedy: What to do without its folder.
        num_words: How many different words it has; None: the files tell.
        normalised: A line of a user's as the text would have it, words between blanks.
    """

    name: str
    read: Callable[[str, str], TextData]
    own_folder: bool = True
    remedy: str = ""
    num_words: int | None = None
    normalised: Callable[[str], str] = _as_it_is


_RECORDS = (
    TextRecord(
        name="kjv",
        read=late("isnas.data.text.king_james:read_king_james"),
        own_folder=False,
        normalised=late("isnas.data.text.king_james:normalised"),
    ),
    TextRecord(
        name="ptb",
        read=late("isnas.data.text.folders:read_folder"),
        remedy="; the Penn Treebank is licensed by the Linguistic Data Consortium (LDC99T42), so it is not downloaded",
        num_words=10_000,
    ),
    TextRecord(name="textfolder", read=late("isnas.data.text.folders:read_folder")),
)

#: Every text by its name.
TEXTS = {record.name: record for record in _RECORDS}

_AUTO = "auto"


@dataclass(frozen=True)
class TextOptions(Component, title="Data"):
    """Which text a tool works on."""

    dataset: str = option(
        _AUTO, "the text to work on; auto means textfolder with --data, else kjv", choices=(_AUTO, *TEXTS)
    )
    data: str = option("", f"folder of {WANTED}; of kjv: of bible.data", free=True, path=True)

    @property
    def text_record(self) -> TextRecord:
        """The record of the text."""
        return TEXTS[("textfolder" if self.data else "kjv") if self.dataset == _AUTO else self.dataset]

    def validate(self) -> None:
        """Raise a :class:`UserError` for a text without its folder."""
        record = self.text_record
        if record.own_folder and not self.data:
            raise UserError(f"--dataset {record.name} needs --data FOLDER, the folder of {WANTED}{record.remedy}")


def load_text(options: TextOptions) -> TextData:
    """The text that ``options`` name; it never depends on a run's seed.

    Raises:
        UserError: when it is missing, is no text, or not the one that is named.
    """
    record = options.text_record
    text = record.read(record.name, options.data)
    if record.num_words not in (None, len(text.vocabulary)):
        raise UserError(
            f"the text in {options.data} has {len(text.vocabulary):,} different words with <eos>, that of --dataset "
            f"{record.name} {record.num_words:,}; give its folder, or --dataset textfolder for another text"
        )
    return text


def holds_text(data: str) -> bool:
    """Whether the folder ``data`` seems to be one of text: two of its three files are there."""
    root = os.path.expanduser(data)
    return any(sum(os.path.isfile(os.path.join(root, name)) for name in names) > 1 for names in CUSTOMS)
