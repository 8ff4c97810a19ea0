"""Libraries that only a part of what can be done needs: extras of the package, which pip installs by their names."""

from __future__ import annotations

from importlib.util import find_spec

from isnas.base.errors import UserError

#: What each extra of pyproject.toml brings, as it is imported.
EXTRAS = {
    "solvers": ("cvxpy", "clarabel", "mosek"),
    "export": ("onnx", "onnxscript", "onnxruntime"),
    "tracking": ("tensorboard",),
    "hub": ("huggingface_hub",),
}


def is_installed(module: str) -> bool:
    """Whether a library is there; it is not imported."""
    return find_spec(module) is not None


def require(what: str, *modules: str) -> None:
    """See that the libraries are there that ``what``, a flag or a command, needs; they are of one extra.

    Raises:
        UserError: when one is not, with the command that installs it.
    """
    missing = [module for module in modules if not is_installed(module)]
    if missing:
        (extra,) = (name for name, own in EXTRAS.items() if missing[0] in own)
        raise UserError(f'{what} needs {", ".join(missing)}: pip install "isnas[{extra}]"')
