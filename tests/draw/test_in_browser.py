"""Pages as a real browser shows them: on a phone and a wide screen, light and dark, with scripts and without."""

import io

import numpy as np
import pytest
from browser import browser, find_browser
from page_runs import HOSTILE, write_search, write_training
from PIL import Image

from isnas.engine.run_files import RunFiles
from isnas.engine.run_page import run_page
from isnas.engine.runs_page import runs_page

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_browser() is None, reason="needs a Chromium: apt install chromium"),
]


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """By name the page of a search, that of a training whose files are hostile, and that of both."""
    folder = tmp_path_factory.mktemp("pages")
    runs = {"search": write_search(folder / "a search"), "training": write_training(folder / "training", HOSTILE)}
    texts = {name: run_page(run, None) for name, run in runs.items()}
    texts["both"] = runs_page(HOSTILE, {name: RunFiles(run, None) for name, run in runs.items()})
    for name, text in texts.items():
        (folder / f"{name}.html").write_text(text, encoding="utf-8")
    return {name: folder / f"{name}.html" for name in texts}


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    """A browser for all tests here."""
    with browser(tmp_path_factory.mktemp("profile")) as found:
        yield found


def pixels(chromium):
    """A screenshot as an array."""
    return np.asarray(Image.open(io.BytesIO(chromium.screenshot())).convert("L"), dtype=float)


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("name", ["search", "training", "both"])
def test_a_page_shows(chromium, pages, name, width):
    light, dark = (shown(chromium, pages[name], width, dark) for dark in (False, True))
    assert np.median(light) > 200 and np.median(dark) < 60
    for picture in (light, dark):
        rows = picture.std(axis=1) > 3
        assert rows.mean() > 0.5 and picture.std() > 15  # more than a few lines at the top


def shown(chromium, page, width, dark):
    """The picture of a page without a complaint, whose words are there, and which is no wider than the screen."""
    chromium.show(page, width, dark)
    assert chromium.complaints == []
    assert chromium.ask("document.title") != "hacked"
    assert chromium.ask("document.documentElement.scrollWidth") <= width
    text = chromium.ask("document.body.innerText")
    words = {"search": ["Architectures during the search", "2 ← 0 skip_connect"], "training": ["are told wrongly"]}
    assert all(word in text for word in words.get(page.stem, ["Everything about it"]))
    return pixels(chromium)


def test_values_are_told_where_one_points_and_the_genotype_is_copied(chromium, pages):
    chromium.show(pages["search"], 390)
    point = (
        "document.querySelectorAll('.chart .strip')[2].dispatchEvent(new PointerEvent('pointermove',{bubbles:true}))"
    )
    chromium.ask(point)
    assert chromium.ask("document.querySelector('.reading').textContent") == "epoch 2, train: 34.2469, valid: 34.7531"
    assert chromium.ask("document.querySelector('.cursor').getAttribute('d')").startswith("M")
    chromium.call("Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
    chromium.ask("document.querySelector('.copy button').click()")
    done = "new Promise(r => setTimeout(() => r(document.querySelector('.copy button').textContent), 300))"
    assert chromium.ask(done) in ("Copied", "Selected") and chromium.complaints == []


def test_nothing_but_comfort_needs_a_script(chromium, pages):
    chromium.show(pages["search"], 390, scripts=False)
    picture = pixels(chromium)
    assert picture.std() > 15 and picture.shape[0] > 2000
    words = str(chromium.call("DOM.getDocument", depth=-1))
    assert "in the end train" in words and "Genotype(normal=" in words and "train: 34.2469" in words
