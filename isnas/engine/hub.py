"""Trained networks as the Hugging Face Hub keeps them: a folder of config.json, model.safetensors and README.md.

model.safetensors is a file of weights like any other (isnas/engine/safetensors.py) and has all that is needed.
config.json says the same but for the weights, for people and for the Hub, and must agree with it. The package
huggingface_hub is needed for what is not in a folder here. Its own PyTorchModelHubMixin builds and fills a network
before anyone has looked at what the files say; here they pass the checks of every file of weights.
"""

from __future__ import annotations

import json
import re
import tempfile
from abc import ABC, abstractmethod
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Self

from isnas.base.errors import UserError, first_line
from isnas.base.extras import require
from isnas.base.files import output_folder, write_json, write_text
from isnas.base.text import brief, one_line, printable, read_json, shown
from isnas.engine.weights import HUB_FILE, read_weights, write_weights
from isnas.space.space import AnyGenotype

CONFIG, CARD = "config.json", "README.md"

_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)

_CARD = """---
library_name: isnas
pipeline_tag: {task}
tags:
- isnas
- neural-architecture-search
---

{about}

    {genotype}

```python
from {module} import {kind}

trained = {kind}.from_pretrained("owner/name")
trained.network
```
"""


class HubMixin(ABC):
    """What a trained network has to do with the Hub; a class says what is in its file.

    ``task`` is the Hub's word for what it does.
    """

    task: ClassVar[str]
    genotype: AnyGenotype

    @abstractmethod
    def content(self) -> dict[str, Any]:
        """What its file holds: plain values by name, and under ``weights`` tensors."""

    @classmethod
    @abstractmethod
    def of_content(cls, content: Any, file: Path) -> Any:
        """The network in what has been read from ``file``.

        Raises:
            UserError: when it is none.
        """

    @abstractmethod
    def about(self) -> str:
        """A sentence for people."""

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the three files into a folder, which is made if need be. Of where the data was it tells the name alone.

        Raises:
            UserError: when the folder cannot be written.
        """
        place = output_folder(str(folder))
        content = self.content()
        data = content["data"]
        content["data"] = data | {"data": Path(data["data"]).name} if isinstance(data, dict) else Path(data).name
        write_weights(place / HUB_FILE, content)
        write_json(place / CONFIG, {name: value for name, value in content.items() if name != "weights"})
        words = {"task": self.task, "about": printable(self.about()), "genotype": self.genotype}
        write_text(place / CARD, _CARD.format(**words, module=type(self).__module__, kind=type(self).__name__))

    @classmethod
    def from_pretrained(cls, name: str | Path, revision: str | None = None, token: str | None = None) -> Self:
        """The network in a folder here, or in the Hub's repository ``owner/name``, at a ``revision`` if one is given.

        Raises:
            UserError: when there is none, it is of another kind or damaged, or config.json says other than the weights;
                for a repository, when it cannot be downloaded or huggingface_hub is not there.
        """
        folder = Path(name)
        if not folder.is_dir():
            if not _REPOSITORY.fullmatch(str(name)):
                raise UserError(f"there is no folder {brief(str(name))}, and a repository of the Hub is owner/name")
            options: dict[str, Any] = {"revision": revision, "token": token, "allow_patterns": [CONFIG, HUB_FILE]}
            try:
                folder = Path(_hub().snapshot_download(str(name), **options))
            except Exception as error:  # of many kinds
                raise _failed(f"cannot download {name}", error) from None
        elif revision is not None:
            raise UserError(f"{folder} is a folder here, which has no revision {shown(revision)}; leave it out")
        file = folder / HUB_FILE
        if not file.is_file():
            raise UserError(f"{folder} holds no {HUB_FILE}; save_pretrained writes one")
        content = read_weights(file)
        if (folder / CONFIG).is_file() and isinstance(content, dict):
            _require_same(folder / CONFIG, {key: value for key, value in content.items() if key != "weights"})
        return cls.of_content(content, file)

    def push_to_hub(self, name: str, private: bool = False, token: str | None = None) -> str:
        """Write the three files into the Hub's repository ``owner/name``, made if need be; the address of the commit.

        Raises:
            UserError: when they cannot be, or huggingface_hub is not there.
        """
        hub = _hub()
        try:
            with tempfile.TemporaryDirectory() as folder:
                self.save_pretrained(folder)
                hub.create_repo(name, private=private, exist_ok=True, token=token)
                commit = hub.upload_folder(repo_id=name, folder_path=folder, commit_message="A network", token=token)
        except Exception as error:  # of many kinds
            raise _failed(f"cannot upload to {brief(name)}", error) from None
        return str(commit.commit_url)


def _hub() -> ModuleType:
    require("the Hugging Face Hub", "huggingface_hub")
    return import_module("huggingface_hub")


def _failed(what: str, error: Exception) -> UserError:
    return error if isinstance(error, UserError) else UserError(f"{what}: {one_line(error)}")


def _require_same(file: Path, description: dict[str, Any]) -> None:
    """See that config.json says what the weights' own description does.

    Raises:
        UserError: when it does not.
    """
    try:
        config = read_json(file)
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {file}: {getattr(error, 'strerror', None) or first_line(error)}") from None
    if not isinstance(config, dict):
        raise UserError(f"{file} is not the description of a network; remove it, {HUB_FILE} has its own")
    for name in description.keys() | config.keys():
        if json.dumps(config.get(name)) != json.dumps(description.get(name)):
            raise UserError(
                f"{file} does not say the same of {shown(name)} as {HUB_FILE}, which counts; restore or remove it"
            )
