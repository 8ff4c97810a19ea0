"""What takes its time shows on a terminal how far it is, and not a word of it in a pipe."""

import pytest
from networks import DIGITS, make_network, save_network
from PIL import Image
from terminals import terminal

from isnas.apps import export, memory, predict, predicting, tester
from isnas.base.bars import bar

LONG = {
    "testing": (tester.main, ["run", "--device", "cpu", "--batch_size", "100"]),
    "predicting": (predict.main, ["run", "photos", "--device", "cpu"]),
    "exporting": (export.main, ["run"]),
    "batch 256": (memory.main, ["--init_channels", "1", "--layers", "3", "--topologies", "1", "--dataset", "digits"]),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bars")
    save_network(folder / "run" / "weights.pt", make_network(DIGITS))
    (folder / "photos").mkdir()
    Image.new("L", (9, 8), 40).save(folder / "photos/0.png")
    return folder


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name == "exporting" else []) for name in LONG]
)
def test_a_tool_shows_how_far_it_is(name, folder, monkeypatch, capfd):
    monkeypatch.chdir(folder)
    monkeypatch.setattr(predicting, "SOON", 0.0)
    main, words = LONG[name]
    with terminal(monkeypatch) as shown:
        main(words)
    assert any(f"{name}:   0%|" in line for line in shown)
    assert not any(line.rstrip().endswith("]") for line in shown)  # nothing of a bar is left behind
    assert capfd.readouterr() == ("", "")
    main(words)
    out, err = capfd.readouterr()
    assert out and err == "" and f"{name}:" not in out


def test_what_is_done_soon_has_no_bar(monkeypatch):
    with terminal(monkeypatch) as shown:
        assert list(bar("abc", "letters", delay=60.0)) == list("abc")
    assert "".join(shown).strip() == ""
