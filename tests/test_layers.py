"""What the source itself promises: layers import downwards only, and no module does what no module may do."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MODULES = sorted((ROOT / "isnas").rglob("*.py"))
TOOLS = sorted((ROOT / "tools").rglob("*.py"))

_TABLE = re.findall(r"^  (\w+)/ +\[(.*?)\]", (ROOT / "docs/architecture.md").read_text(encoding="utf-8"), re.M)

#: The floors from the ground up, and what each may import.
MAY_IMPORT = {layer: set(filter(None, below.split(", "))) for layer, below in _TABLE}

WRITES_OR_PARSES = {
    *("open", "mkdir", "makedirs", "mkdtemp", "touch", "write", "write_text", "write_bytes", "save", "dump", "unlink"),
    *("rename", "replace", "remove", "rmtree", "print", "parse_args", "parse_known_args", "basicConfig", "urlopen"),
    *("run", "Popen", "system", "manual_seed", "set_num_threads"),
}


def imported_layers(tree: ast.Module) -> set[str]:
    """The layers of isnas that a module imports, anywhere in it; "" for a relative import or isnas as a whole."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            source = "isnas" if node.level else str(node.module)
            names |= {f"isnas.{alias.name}" for alias in node.names} if source == "isnas" else {source}
            names |= {"isnas"} if node.level else set()
    return {f"{name}.".split(".")[1] for name in names if name.split(".")[0] == "isnas"}


def forbidden_calls(tree: ast.Module) -> list[str]:
    """Calls that no module may have: code from text, devices by name, pickles that run what they contain."""
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        safe = any(word.arg == "weights_only" and ast.unparse(word.value) == "True" for word in node.keywords)
        if name in ("eval", "exec", "pickle.load", "pickle.loads") or name.endswith(".cuda"):
            found.append(f"line {node.lineno}: {name}(")
        elif name == "torch.load" and not safe:
            found.append(f"line {node.lineno}: torch.load without weights_only=True")
    return found


def calls_at_import(node: ast.AST) -> Iterator[str]:
    """The calls that run when a module is imported: at its level, in class bodies, in decorators and defaults."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            for part in (*child.decorator_list, child.args):
                yield from calls_at_import(ast.Expression(part))  # type: ignore[arg-type]
        elif not isinstance(child, ast.Lambda):
            if isinstance(child, ast.Call):
                yield child.func.attr if isinstance(child.func, ast.Attribute) else ast.unparse(child.func)
            yield from calls_at_import(child)


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def test_the_floors_stand_on_one_another():
    floors = list(MAY_IMPORT)
    assert floors[0] == "base" and floors[-1] == "api"
    assert all(below <= set(floors[:place]) for place, below in enumerate(MAY_IMPORT.values()))


def test_every_layer_is_known():
    layers = {path.relative_to(ROOT / "isnas").parts[0] for path in MODULES} - {"__init__.py", "__main__.py"}
    assert "base" in layers and layers <= set(MAY_IMPORT)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_layers_import_downwards_only(path):
    layer = path.relative_to(ROOT / "isnas").parts[0]
    top = {"__init__.py": {"analysis", "api", "base", "space"}, "__main__.py": {"apps"}}  # of the first late: see below
    allowed = top[layer] if layer in top else MAY_IMPORT[layer] | {layer}
    assert imported_layers(parsed(path)) <= allowed


def test_importing_the_package_imports_nothing_of_it():
    at_import = parsed(ROOT / "isnas/__init__.py").body
    imports = [node for node in at_import if isinstance(node, ast.Import | ast.ImportFrom)]
    assert imported_layers(ast.Module(imports, [])) == set()


@pytest.mark.parametrize(("folder", "other"), [("small", "large"), ("large", "small")])
def test_images_in_memory_and_streamed_ones_do_not_import_each_other(folder, other):
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "isnas/data" / folder).glob("*.py")]
    assert len(sources) > 5 and [text for text in sources if f"from isnas.data.{other}" in text] == []


@pytest.mark.parametrize("path", MODULES + TOOLS, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_forbidden_calls(path):
    assert forbidden_calls(parsed(path)) == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_importing_a_module_does_nothing(path):
    assert set(calls_at_import(parsed(path))) & WRITES_OR_PARSES == set()


def test_the_checks_see_what_they_look_for():
    imports = (
        "import isnas.draw.graph\nfrom isnas import nets\ndef f():\n from isnas.data.small.batches import Batches\n"
    )
    assert imported_layers(ast.parse(imports + "import torch, isnasty.base")) == {"draw", "nets", "data"}
    assert "" in imported_layers(ast.parse("from ..nets import cell")) and "" in imported_layers(
        ast.parse("import isnas")
    )
    calls = "x.cuda()\neval('1')\nx.eval()\ntorch.load(p)\ntorch.load(p, weights_only=False)\n"
    assert len(forbidden_calls(ast.parse(calls + "torch.load(p, weights_only=True)"))) == 4
    module = "a = f(open(p))\nclass A:\n b = P().mkdir()\n@run(1)\ndef g(x=touch()):\n save()\nh = lambda: dump()\n"
    assert set(calls_at_import(ast.parse(module))) == {"f", "open", "P", "mkdir", "run", "touch"}
