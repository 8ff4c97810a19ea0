"""The rows of a run in a service that tracks experiments, where that is asked for: wandb or MLflow.

What the user's environment says of either holds, such as WANDB_MODE=offline or MLFLOW_TRACKING_URI. A service that
cannot be reached costs a run its rows there and nothing else.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from isnas.base.errors import UserError
from isnas.base.files import write_json
from isnas.base.text import one_line, read_json

#: The id by which a service knows the run, in its folder, so that a resumed run goes on there.
TRACKED = "tracked.json"
_PROJECT = "isnas"


class Service(ABC):
    """A run in a service, which is opened with its id there, or as a new one, by the name of its folder."""

    package: str

    @abstractmethod
    def __init__(self, name: str, known: str | None, settings: Mapping[str, Any]) -> None: ...

    @property
    @abstractmethod
    def id(self) -> str:
        """What the service calls the run."""

    @abstractmethod
    def row(self, step: int, values: Mapping[str, float]) -> None:
        """Numbers at a step."""

    @abstractmethod
    def close(self) -> None:
        """The run has written all it has."""


class Wandb(Service):
    """A run of wandb."""

    package = "wandb"

    def __init__(self, name: str, known: str | None, settings: Mapping[str, Any]) -> None:
        wandb = import_module(self.package)
        resume = None if known is None else "allow"
        project = os.environ.get("WANDB_PROJECT", _PROJECT)
        self.run = wandb.init(project=project, name=name, id=known, resume=resume, config=dict(settings))

    @property
    def id(self) -> str:
        return str(self.run.id)

    def row(self, step: int, values: Mapping[str, float]) -> None:
        self.run.log(dict(values), step=step)

    def close(self) -> None:
        self.run.finish()


class Mlflow(Service):
    """A run of MLflow, in the experiment that the environment names, or in one of this package's name."""

    package = "mlflow"

    def __init__(self, name: str, known: str | None, settings: Mapping[str, Any]) -> None:
        self.client = import_module("mlflow.tracking").MlflowClient()
        if known is None:
            project = os.environ.get("MLFLOW_EXPERIMENT_NAME", _PROJECT)
            found = self.client.get_experiment_by_name(project)
            experiment = found.experiment_id if found is not None else self.client.create_experiment(project)
            known = self.client.create_run(experiment, run_name=name).info.run_id
            for key, value in settings.items():
                self.client.log_param(known, key, str(value)[:500])
        self.known = str(known)

    @property
    def id(self) -> str:
        return self.known

    def row(self, step: int, values: Mapping[str, float]) -> None:
        for key, value in values.items():
            self.client.log_metric(self.known, key, value, step=step)

    def close(self) -> None:
        self.client.set_terminated(self.known)


SERVICES: dict[str, type[Service]] = {"wandb": Wandb, "mlflow": Mlflow}


def check_service(name: str) -> None:
    """See that a service's package is there.

    Raises:
        UserError: when it is not.
    """
    if name in SERVICES and find_spec(package := SERVICES[name].package) is None:
        raise UserError(f"--log_to {name} needs the package {package}, which is not installed: pip install {package}")


class Tracker:
    """A run's rows in a service, which is opened with the first of them; ``log`` says what goes wrong, once."""

    def __init__(self, name: str, folder: Path, settings: Mapping[str, Any], log: Callable[[str], None]) -> None:
        self.name, self.folder, self.settings, self.log = name, folder, settings, log
        self.service: Service | None = None
        self.failed = False

    def row(self, step: int, row: Mapping[str, Any]) -> None:
        """The numbers of a row of metrics.jsonl at a step."""
        values = {
            key: float(value)
            for key, value in row.items()
            if key not in ("step", "epoch") and isinstance(value, int | float)
        }
        self._try(lambda service: service.row(step, values))

    def close(self) -> None:
        """Let the service finish, if it was opened."""
        if self.service is not None:
            self._try(lambda service: service.close())

    def _try(self, action: Callable[[Service], None]) -> None:
        if self.failed:
            return
        try:
            if self.service is None:
                self.service = self._opened()
            action(self.service)
        except Exception as error:  # of whatever kind a service raises: the run goes on
            self.failed = True
            self.log(f"WARNING: {self.name} gets no more rows of this run: {one_line(error)}")

    def _opened(self) -> Service:
        path = self.folder / TRACKED
        known = read_json(path).get(self.name) if path.exists() else None
        service = SERVICES[self.name](self.folder.resolve().name, known, self.settings)
        write_json(path, {self.name: service.id})
        return service
