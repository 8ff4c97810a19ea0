"""The page of a run: well-formed, whole in one file, with the numbers of the run's files and nothing that they do."""

import json
import re
from html.parser import HTMLParser

import pytest
from page_runs import COURSE, HOSTILE, write_csv, write_lines, write_search, write_training
from settings import CPU

from isnas.draw.page_style import SCRIPT
from isnas.draw.page_timeline import Track
from isnas.engine.run import start_run
from isnas.engine.run_files import RunFiles
from isnas.engine.run_page import PAGE, keep_page, run_page
from isnas.engine.runs_page import runs_page
from isnas.methods.registry import Chosen, make_options, options_class

VOID = {"meta", "link", "img", "br"}
CELLS = Chosen("cells", ("cells",), "")


class Structure(HTMLParser):
    """The elements of a page, each with its attributes and the text in it; fails where they are not nested."""

    def __init__(self, text):
        super().__init__()
        self.open, self.found, self.text = [], [], ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        element = {"tag": tag, "text": "", **dict(attributes)}
        assert len(element) == len(attributes) + 2, f"an attribute of {tag} is given twice"
        self.found.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag, attributes):
        self.found.append({"tag": tag, "text": "", **dict(attributes)})

    def handle_endtag(self, tag):
        assert self.open and self.open.pop()["tag"] == tag

    def handle_data(self, data):
        for element in self.open:
            element["text"] += data

    def all(self, tag, look=None):
        return [each for each in self.found if each["tag"] == tag and (look is None or look in each.get("class", ""))]


def kind(method):
    return options_class(Chosen(method, (method,), ""), CELLS)


def rows_of(table):
    """The cells of a table in the page's text."""
    rows = re.findall(r"<tr>(.*?)</tr>", table)
    return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in rows]


def check_whole(text):
    """Everything that any page must be; its structure."""
    structure = Structure(text)
    ids = [each["id"] for each in structure.found if "id" in each]
    assert len(ids) == len(set(ids)) > 3
    links = [each.get("href", each.get("src")) for each in structure.found if "href" in each or "src" in each]
    assert all(link.startswith("data:") or link.removeprefix("#") in ids for link in links)
    (script,) = structure.all("script")
    assert script["text"] == SCRIPT and "src" not in script
    assert not [name for each in structure.found for name in each if name.startswith("on")]
    assert "url(" not in text and "@import" not in text
    return structure


def test_the_page_of_a_search(tmp_path):
    folder = write_search(tmp_path / "run")
    text = run_page(folder, kind("two_stage"))
    assert text == run_page(folder, kind("two_stage"))
    structure = check_whole(text)
    headings = [each["text"] for each in structure.all("h2")]
    assert headings == [
        *("Figures", "Curves", "Architecture", "Architectures during the search"),
        *("Settings", "How it was made", "Numbers"),
    ]
    (lead,) = structure.all("p", "lead")
    found = json.loads((folder / "genotype.json").read_text())
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").open()]
    assert f"is {found['valid_acc']:.2f} %" in lead["text"] and "3.25 M parameters" in lead["text"]
    assert found["text"] in [each["text"] for each in structure.all("pre")]
    assert "python tools/train_search.py --epochs 5" in [each["text"] for each in structure.all("pre")]
    assert [each["alt"] for each in structure.all("img")] == [
        f"The {cell} cell as a graph; its genotype stands below" for cell in ("normal", "reduce")
    ]

    environment = json.loads((folder / "env.json").read_text()) | {"command": ["isnas train_search", "--save", "a b"]}
    (folder / "env.json").write_text(json.dumps(environment))
    pasted = [each["text"] for each in check_whole(run_page(folder, None)).all("pre")]
    assert "isnas train_search --save 'a b'" in pasted

    settings = rows_of(text[text.index("These differ") :].partition("</table>")[0])
    assert {tuple(row) for row in settings[1:]} == {
        ("epochs", "5", "50"),
        ("dataset", "digits", "cifar10"),
        ("num_nodes", "2", "4"),
        ("batch_size", "32", "256"),
    }
    header, *lines = rows_of(text[text.index('id="numbers"') :])
    assert len(lines) == len(rows)
    for line, row in zip(lines, rows, strict=True):
        for name, cell in zip(header[1:], line[1:], strict=True):
            value = row.get(name)
            assert (cell == "") if value is None else float(cell) == pytest.approx(value, rel=1e-5)


def test_charts_tell_every_value(tmp_path):
    folder = write_search(tmp_path / "run")
    structure = check_whole(run_page(folder, kind("two_stage")))
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").open()]
    titles = [each["text"] for each in structure.all("title")[1:]]
    accuracy = [title for title in titles if "train: 2" in title or "valid:" in title][: len(rows)]
    for row, title in zip(rows, accuracy, strict=True):
        told = dict(line.split(": ") for line in title.split("\n")[1:])
        assert title.startswith(f"epoch {row['epoch']}\n")
        expected = {split: row[f"{split}/acc"] for split in ("train", "valid") if f"{split}/acc" in row}
        assert {split: float(value) for split, value in told.items()} == pytest.approx(expected, rel=1e-5)
    legends = [each["text"] for each in structure.all("ul", "legend")]
    assert legends == ["trainvalid", "trainvalid", "trainvalid", "distance of z"]
    assert all(each["aria-label"] for each in structure.all("svg"))


def test_the_timeline_says_when_what_was_there(tmp_path):
    structure = check_whole(run_page(write_search(tmp_path / "run"), kind("two_stage")))
    said = next(each["text"] for each in structure.all("p") if "different architectures" in each["text"])
    assert "3 different architectures at the ends of 5 epochs" in said
    assert "changed 3 times, the last time in epoch 4" in said
    bars = {each["text"] for each in structure.all("title") if "←" in each["text"]}
    assert {bar for bar in bars if bar.startswith("2 ← 0 ")} == {
        "2 ← 0 max_pool_3x3: epoch 0",
        "2 ← 0 avg_pool_3x3: epochs 1 to 2",
        "2 ← 0 max_pool_3x3: epoch 3",
        "2 ← 0 skip_connect: epochs 4 to end",
    }
    assert COURSE[1] == COURSE[2] == "avg_pool_3x3"
    assert Track("", [0, 1, 2, 5, 7, 8], True).spans() == [(0, 2), (5, 5), (7, 8)]


def test_words_of_others_stay_words(tmp_path):
    folder = write_training(tmp_path / "<b>&", HOSTILE)
    structure = check_whole(run_page(folder, kind("evaluation")))
    assert structure.all("title")[0]["text"] == "<b>&" and structure.all("b") == []
    seen = HOSTILE.replace("\N{RIGHT-TO-LEFT OVERRIDE}", "\\u202e")
    assert [each["text"] for each in structure.all("th") if "script" in each["text"]] == [seen] * 3
    assert any("</script><script>" in each["text"] for each in structure.all("pre"))
    both = {"a": RunFiles(folder, None), HOSTILE: RunFiles(write_search(tmp_path / "s"), None)}
    assert check_whole(runs_page(HOSTILE, both)).all("h1")[0]["text"] == seen


def test_mistakes_are_counted(tmp_path):
    folder = write_training(tmp_path / "run")
    text = run_page(folder, kind("evaluation"))
    structure = check_whole(text)
    assert "3 of 60 test images are told wrongly." in [each["text"] for each in structure.all("p")]
    heat = rows_of(text[text.index('<table class="heat">') :])
    assert heat[1:3] == [["plane", "40", "2"], ["ship", "1", "17"]]
    assert [each["alt"] for each in structure.all("img", "sheet")] == ["Images that are told wrongly"]
    assert [each["text"] for each in structure.all("summary")][:2] == [
        "The most frequent",
        "2 images that are told wrongly",
    ]
    many = [str(n) for n in range(30)]
    write_csv(folder / "confusion.csv", [["class", *many], *([name, *[1] * 30] for name in many)])
    assert len(check_whole(run_page(folder, None)).all("img", "sheet")) == 2  # a picture takes the table's place


def test_a_page_of_six_hundred_epochs_is_small(tmp_path):
    folder = write_training(tmp_path / "run")
    rows = [{"epoch": e, "train/acc": 99.0, "test/acc": 97.0 - 50 / (e + 1), "train/loss": 0.1} for e in range(600)]
    write_lines(folder / "metrics.jsonl", rows)
    text = run_page(folder, kind("evaluation"))
    structure = check_whole(text)
    assert len(text) < 400_000 and len(structure.all("circle")) == 0
    assert max(len(each["d"].split("L")) for each in structure.all("path", "line")) == 600
    ends = [each["text"] for each in structure.all("title") if each["text"].startswith("epoch 599\n")]
    assert len(ends) == 3 and "test: 96.9167" in ends[0]


def test_a_page_that_cannot_be_made_costs_nothing_but_the_page(tmp_path, capsys):
    run = start_run(make_options("two_stage", dataset="digits", run_dir=str(tmp_path / "run")), "search", CPU)
    run.begin()
    keep_page(run, lambda: str(1 / 0))
    keep_page(run, lambda: "whole")
    run.records.close()
    lines = (tmp_path / "run/log.txt").read_text().splitlines()[-2:]
    assert "WARNING: report.html could not be written (division by zero)" in lines[0] and "report " in lines[1]
    assert (tmp_path / "run" / PAGE).read_text() == "whole"
