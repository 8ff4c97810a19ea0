"""tools/visualize.py: four files wherever the architecture comes from; the pictures in docs are of the right cells."""

from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import pytest
from killing import run_tool
from matplotlib.image import imread
from starting import ROOT

from isnas.apps import visualize
from isnas.base.errors import UserError
from isnas.base.files import write_json
from isnas.space.cells.genotype import Genotype
from isnas.space.cells.operations import OPERATIONS
from isnas.space.cells.published import published
from isnas.space.cells.resolve import resolve_genotype

KINDS = ("normal", "reduce")
ISTA = ("ISTA_twostage", "ISTA_onestage", "ISTA_ImageNet")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def check_pictures(folder: Path, name: str, genotype: Genotype) -> None:
    """Every SVG has the operations of its cell, every PNG is a picture."""
    for kind in KINDS:
        texts = Counter(element.text for element in ElementTree.parse(folder / f"{name}_{kind}.svg").iter())
        operations = Counter(operation for node in getattr(genotype, kind) for operation, _ in node)
        assert {text: number for text, number in texts.items() if text in OPERATIONS} == operations
        assert imread(folder / f"{name}_{kind}.png").std() > 0.05


def test_a_published_name_into_a_new_folder(tmp_path):
    result = run_tool("visualize.py", "--arch", "NASNet", "--output", "new/one", folder=tmp_path)
    names = [f"NASNet_{kind}.{suffix}" for kind in KINDS for suffix in ("png", "svg")]
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == [f"new/one/{name}" for name in names]
    assert sorted(contents(tmp_path / "new" / "one")) == sorted(names)
    check_pictures(tmp_path / "new" / "one", "NASNet", published("NASNet").genotype)


def test_every_form_gives_the_same_pictures(tmp_path, monkeypatch, capsys):
    genotype = published("DARTS").genotype
    for path in ("search/genotype.json", "seeds/best/genotype.json", "found.v1.json"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        write_json(tmp_path / path, genotype.to_json())
    forms = {
        "DARTS": "DARTS",
        "search": "search",
        "search/genotype.json": "search",
        "seeds/": "seeds",
        "found.v1.json": "found.v1",
        f"11/22 01:02:03 AM genotype = {genotype}": "cell",
    }
    pictures = []
    monkeypatch.chdir(tmp_path)
    for number, (form, name) in enumerate(forms.items()):
        visualize.main(["--arch", form, "--output", f"{number}"])
        files = contents(tmp_path / f"{number}")
        assert sorted(files) == [f"{name}_{kind}.{suffix}" for kind in KINDS for suffix in ("png", "svg")]
        pictures.append([files[key] for key in sorted(files)])
        assert capsys.readouterr().out.splitlines() == [f"{number}/{key}" for key in sorted(files)]
    assert all(picture == pictures[0] for picture in pictures)

    visualize.main(["--arch", "random:7", "--output", "random"])
    check_pictures(tmp_path / "random", "random_7", resolve_genotype("random:7"))

    monkeypatch.chdir(tmp_path / "search")
    visualize.main(["--arch", ".", "--name", "mine"])
    assert sorted(contents(tmp_path / "search")) == [
        "genotype.json",
        *(f"mine_{kind}.{suffix}" for kind in KINDS for suffix in ("png", "svg")),
    ]
    check_pictures(tmp_path / "search", "mine", genotype)


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ([], r"--arch is missing: give a published name \(ISTA_twostage, .*\), a genotype.json, a run folder"),
        (["--arch", "DARTS_V3"], r"unknown architecture 'DARTS_V3'; did you mean DARTS_V2\?"),
        (["--arch", "nothing"], r"unknown architecture 'nothing': give a published name \(ISTA_twostage, "),
        (["--arch", "DARTS", "--output", "taken"], "cannot write into taken: File exists; choose another --output"),
        (["--arch", "DARTS", "--output", "taken/in"], "cannot write into taken/in: Not a directory"),
        (
            ["--arch", "DARTS", "--widths", "digits"],
            "--widths is for all:CANDIDATE and, with --space chain, random:SEED",
        ),
        (["--arch", "DARTS", "--name", "a/b"], "name 'a/b' must be part of a file name, .*--output FOLDER says where"),
        (
            ["--arch", "DARTS", "--name", "a\x1b[2J"],
            r"name 'a\\x1b\[2J' must be part of a file name, to be seen as it is",
        ),
        (["--arch", "DARTS", "--name", "x" * 300], "File name too long; choose another --output or --name"),
    ],
)
def test_a_mistake_is_told_and_nothing_is_written(argv, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("taken").write_text("")
    with pytest.raises(UserError, match=words):
        visualize.main(argv)
    assert contents(tmp_path) == {"taken": b""}


@pytest.mark.parametrize("name", ISTA)
def test_the_page_shows_the_published_cells(name):
    check_pictures(ROOT / "docs" / "images", name, published(name).genotype)
    page = (ROOT / "docs" / "published.md").read_text(encoding="utf-8")
    assert all(f"(images/{name}_{kind}.png)" in page for kind in KINDS)
