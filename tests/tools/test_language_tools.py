"""What the tools make of language models and recurrent cells, each against a literal computation."""

import contextlib
import importlib
import json
import re
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from networks import save_network
from scipy.stats import chisquare
from starting import ROOT

from isnas.analysis.commands import ANALYSES
from isnas.analysis.commands import main as analyse
from isnas.analysis.conas_runs import conas_among, replay
from isnas.analysis.language_summary import LanguageSearch, language_searches_table
from isnas.analysis.search_runs import read_all
from isnas.apps import count, evaluate, export, memory, predict, tester, visualize
from isnas.apps import train_search as search
from isnas.base.errors import UserError
from isnas.base.files import read_tensors, write_tensors
from isnas.base.random import generator
from isnas.data.text.king_james import normalised
from isnas.engine.language.trained import load_any
from isnas.engine.language.using import continued, words_of
from isnas.space.recurrent.published import PUBLISHED, published

pytestmark = pytest.mark.slow

CPU = ["--device", "cpu"]
SMALL = [
    "--space",
    "recurrent",
    "--data",
    "text",
    "--nhid",
    "6",
    "--batch_size",
    "6",
    "--bptt",
    "6",
    "--no_tensorboard",
]
SMALL += ["--valid_batch_size", "4", "--dropout", "0.1", "--dropoutx", "0.1", *CPU]


def write_text(folder, words=8):
    """A text in which the next word has few choices, and some words are unknown."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    for part, lines in (("train", 120), ("valid", 30), ("test", 25)):
        rows = [np.cumsum(rng.choice([1, 1, 1, 3], 8)) % words for _ in range(lines)]
        text = "\n".join(" ".join("<unk>" if word == 7 else f"w{word}" for word in row) for row in rows)
        (folder / f"{part}.txt").write_text(text + "\n")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder with a text, trainings with two seeds, a search of CoNAS and one of random search."""
    folder = tmp_path_factory.mktemp("runs")
    write_text(folder / "text")
    conas = ["--epochs", "1", "--num_nodes", "3", "--measurements", "40", "--monomials", "8", "--later_monomials", "2"]
    conas += ["--lasso_lambda", "0.001"]  # losses of so small a network hardly differ
    with contextlib.chdir(folder):
        for seed in ("0", "1"):
            flags = ["--epochs", "3", "--arch", "DARTS_V2", "--seed", seed]
            evaluate.main([*SMALL, *flags, "--run_dir", f"trained-{seed}"])
        search.main([*SMALL, *conas, "--run_dir", "conas"])
        search.main([*SMALL, "--method", "random_ws", "--epochs", "1", "--samples", "3", "--run_dir", "random"])
    return folder


@pytest.fixture
def model(runs, monkeypatch):
    """The folder of a trained model, beside its text."""
    monkeypatch.chdir(runs)
    return runs / "trained-0"


@pytest.fixture
def sharp(model, tmp_path):
    """The same with weights five times as large, so that every word before matters."""
    content = read_tensors(model / "weights.pt")
    content["weights"] = {name: 5 * tensor for name, tensor in content["weights"].items()}
    write_tensors(tmp_path / "weights.pt", content)
    return tmp_path


def literal_scores(folder, words):
    """Scores (len(words), V) in float64 after each word, one step at a time."""
    network = load_any(folder).network.double()
    state, scores = network.first_state(1), []
    with torch.no_grad():
        for word in words:
            output = network(torch.tensor([[word]]), state)
            state = output.state
            scores.append(output.logits[0, 0])
    return torch.stack(scores)


def result_of(folder):
    return json.loads((folder / "result.json").read_text())


def test_the_perplexity_of_the_test_file_is_the_trainings(model, capsys):
    predict.main([str(model), "--text_file", "text/test.txt", *CPU])
    tester.main([str(model / "weights.pt"), *CPU])
    said, (scored, tested) = capsys.readouterr().out, (None, None)
    assert "text/test.txt: 225 words and ends of lines, 0 unknown\n" in said
    scored, tested = re.findall(r"^(?:test )?loss \S+ ppl (\S+)$", said, re.M)
    assert scored == tested == f"{result_of(model)['test_ppl']:.4f}"

    vocabulary = load_any(model).vocabulary
    lines = (model.parent / "text/test.txt").read_text().splitlines()
    words = [vocabulary.index[word] for line in lines for word in [*line.split(), "<eos>"]]
    chosen = literal_scores(model, words[:-1]).log_softmax(1)[range(len(words) - 1), words[1:]]
    assert float(scored) == pytest.approx(float((-chosen.mean()).exp()), rel=1e-5) and float(scored) < 8


def test_words_that_are_not_known_are_counted(model, tmp_path, capsys):
    (tmp_path / "other.txt").write_text("w1 never w2\n\nw3 <unk> seen\n")
    predict.main([str(model), "--text_file", str(tmp_path / "other.txt"), "--prompt", "w1 so far", *CPU])
    said = capsys.readouterr().out
    assert "other.txt: 9 words and ends of lines, 2 unknown\n" in said
    assert "WARNING: 2 of 3 words of the prompt are unknown\nw1 <unk> <unk>" in said


def test_the_likeliest_word_follows_at_temperature_zero(sharp, capsys):
    predict.main([str(sharp), "--prompt", "w1 w2", "--temperature", "0", "--length", "12", *CPU])
    words = capsys.readouterr().out.replace("\n", " <eos> ").split()[:14]
    vocabulary = load_any(sharp).vocabulary
    told = [vocabulary.index[word] for word in ("<eos>", "w1", "w2")]
    for _ in range(12):
        told.append(int(literal_scores(sharp, told)[-1].argmax()))
    assert words == [vocabulary.words[word] for word in told[1:]]


def test_words_are_drawn_in_proportion(sharp):
    trained = load_any(sharp)
    prompt = words_of(trained, "w1").ids
    told = [trained.vocabulary.index[word] for word in ("<eos>", "w1")]
    expected = (literal_scores(sharp, told)[-1] / 6).softmax(0)
    drawn = [continued(trained, prompt, 1, 6.0, seed, torch.device("cpu")) for seed in range(500)]
    assert drawn[:9] == [continued(trained, prompt, 1, 6.0, seed, torch.device("cpu")) for seed in range(9)]
    names = ["w1" if word == "<eos>" else f"w1 {word}" for word in trained.vocabulary.words]
    counts = np.array([[text.strip() for text in drawn].count(name) for name in names])
    likely = expected.numpy() * 500 > 5
    observed = [*counts[likely], counts[~likely].sum()]
    wanted = [*expected.numpy()[likely] * 500, expected.numpy()[~likely].sum() * 500]
    assert counts.sum() == 500 and likely.sum() > 1 and chisquare(observed, wanted).pvalue > 1e-3


def test_a_text_is_found_where_it_is_now_and_must_have_the_same_words(model, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="the text of the training was in text, which is not there; give --data"):
        tester.main([str(model), *CPU])
    tester.main([str(model), "--data", str(model.parent / "text"), "--batch_size", "5", *CPU])
    assert "test loss " in capsys.readouterr().out
    write_text(tmp_path / "text", words=7)
    with pytest.raises(UserError, match=r"the text has 8 different words that are not, .* the 9 that the model knows"):
        tester.main([str(model), *CPU])


def test_a_line_of_the_bible_stays_as_it_is():
    line = normalised("And Aaron's rod, <UNK> and half-moons: <unk>.")
    assert line == "and aaron's rod , <unk> and half-moons : <unk> ." == normalised(line)


@pytest.mark.parametrize(
    ("tool", "flags", "words"),
    [
        (predict, ["MODEL", "boot.jpg"], "is a language model and takes no images; give --prompt or --text_file"),
        (predict, ["MODEL", "--prompt", "a", "--json"], "is a language model and takes no --json; give --prompt"),
        (predict, ["MODEL"], "give one image file or more after .*; of a language model, --prompt or --text_file"),
        (predict, ["MODEL", "--text_file", "a", "--length", "3"], "--length is for what goes on from a --prompt"),
        (predict, ["MODEL", "--text_file", "gone.txt"], "cannot read gone.txt: No such file"),
        (predict, ["IMAGES", "--prompt", "a"], "is of images and takes no --prompt; give image files"),
        (predict, ["SEARCH", "--prompt", "a"], "it is a search's; train its cell with evaluate.py --arch .*conas"),
        (tester, ["MODEL", "--max_bad_images", "3"], "a language model, for which there is no --max_bad_images"),
        (export, ["MODEL"], "holds a language model, and this is for networks of images; predict.py and test.py"),
        (memory, ["--space", "recurrent"], "the memory of networks of images is estimated"),
        (count, ["--nhid", "9"], r"--nhid is for language models \(--space recurrent\); leave it out"),
        (count, ["--arch", "SEARCH", "--layers", "9"], "--layers is for networks of cells; leave it out"),
        (count, ["--space", "recurrent", "--arch", "NASNet"], "unknown architecture 'NASNet': give a published recurr"),
    ],
)
def test_a_mistake_is_told(tool, flags, words, model, tmp_path, capsys):
    save_network(tmp_path / "weights.pt")
    places = {"MODEL": str(model), "IMAGES": str(tmp_path), "SEARCH": str(model.parent / "conas")}
    with pytest.raises(UserError, match=words):
        tool.main([places.get(flag, flag) for flag in flags])
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"columns": 0}, "columns must be a whole number from 1 to 1,000,000, not 0"),
        ({"nhid": 7}, "the weights in .* are not of the network that it describes"),
        ({"text": "novel"}, "does not describe a language model .there is no text 'novel'"),
        ({"words": ["a", "a"]}, "its words must be different"),
        ({"format": "isnas language model 0"}, "holds a language model"),
    ],
)
def test_a_file_that_was_changed_is_refused(change, words, model, tmp_path):
    write_tensors(tmp_path / "weights.pt", read_tensors(model / "weights.pt") | change)
    with pytest.raises(UserError, match=words):
        load_any(tmp_path)


def test_counts_of_recurrent_cells(model, capsys):
    count.main(["--space", "recurrent"])
    lines = capsys.readouterr().out.splitlines()
    by_hand = 10_000 * 850 + 10_000 + 1700 * 1700 + 8 * 850 * 1700
    assert lines[1] == f"DARTS_V2 {by_hand / 1e6:.6f} M parameters (850 units, 10,000 words)" and "22.96" in lines[1]
    assert [line.split()[0] for line in lines] == list(PUBLISHED)
    found = json.loads((model.parent / "conas/genotype.json").read_text())
    for arch in (str(model.parent / "conas"), found["text"]):
        count.main(["--arch", arch, "--nhid", "3", "--words", "5"])
        assert f" {(5 * 3 + 5 + 6 * 6 + 3 * 3 * 6) / 1e6:.6f} M parameters (3 " in capsys.readouterr().out


def test_pictures_of_recurrent_cells(runs, tmp_path, capsys):
    visualize.main(["--arch", str(runs / "conas"), "--output", str(tmp_path)])
    visualize.main(["--arch", "DARTS_V2", "--space", "recurrent", "--output", str(tmp_path), "--name", "mine"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["conas.png", "conas.svg", "mine.png", "mine.svg"]
    texts = [element.text for element in ElementTree.parse(tmp_path / "mine.svg").iter()]
    operations = [operation for ((operation, _),) in published("DARTS_V2").genotype.recurrent]
    assert sorted(text for text in texts if text in operations) == sorted(operations)


def test_runs_on_text_have_tables(runs, tmp_path, capsys):
    folders = [str(runs / name) for name in ("trained-0", "conas", "trained-1", "random")]
    analyse(["runs", *folders, "--output", str(tmp_path)])
    values = json.loads((tmp_path / "runs.json").read_text())
    results = [result_of(runs / f"trained-{seed}") for seed in (0, 1)]
    rows = values["language_trainings"]
    assert [[row[key] for key in ("seed", "test_ppl", "valid_ppl", "hash")] for row in rows] == [
        [result[key] for key in ("seed", "test_ppl", "valid_ppl", "hash")] for result in results
    ]
    ppl = [result["test_ppl"] for result in results]
    out = capsys.readouterr().out
    assert f"| DARTS_V2 | {published('DARTS_V2').genotype.hash()} | textfolder | 2 | 3 |" in out
    assert f"| {np.mean(ppl):.2f} ± {np.std(ppl, ddof=1):.2f} | {min(ppl):.2f} |" in out
    found = json.loads((runs / "conas/genotype.json").read_text())
    ((row,),) = (rows for name, rows in values["language_searches"].items() if name.endswith("conas"))
    assert (row["valid_ppl"], row["genotype"]) == (found["valid_ppl"], found["text"])
    assert (row["method"], row["text"]) == ("conas", "textfolder")
    assert values["searches"] == {} and values["trainings"] == []


def test_the_stages_on_text_are_read(runs, tmp_path, capsys):
    analyse(["conas", str(runs / "conas"), "--output", str(tmp_path), "--folds", "3"])
    assert "WARNING" not in capsys.readouterr().out  # the recoveries lead to the cells of the run
    (found,) = json.loads((tmp_path / "conas.json").read_text())["searches"]
    rows = [json.loads(line) for line in (runs / "conas/measurements.jsonl").read_text().splitlines()]
    assert len(found["stages"]) == 2 and found["data"] == "textfolder"
    for stage in found["stages"]:
        losses = np.array([row["loss"] for row in rows if row["stage"] == stage["stage"]])
        assert (len(losses), stage["accuracy"]) == (40, None)
        assert [stage["mean"], stage["deviation"]] == pytest.approx([losses.mean(), losses.std(ddof=1)])
    perplexity = json.loads((runs / "conas/genotype.json").read_text())["valid_ppl"]
    assert found["stages"][1]["found"] == pytest.approx(np.log(perplexity), abs=1e-6)
    (run,) = conas_among(read_all([str(runs / "conas")], of_text=True).searches)
    bits, figures = replay(run).masks[-1], run.search.metrics[-1]
    fixed = [figures[f"stage_2/fixed_{name}"] for name in ("on", "off")]
    assert [int((bits == sign).sum()) for sign in (1, -1)] == fixed
    exponential = replace(run, exponential=True).measured(run.stages[0])
    assert exponential.tolist() == np.exp([row["loss"] for row in rows if row["stage"] == 1]).tolist()
    assert (tmp_path / "conas_figure4.svg").exists()


def test_a_search_whose_perplexity_is_not_finite_has_a_row():
    row = LanguageSearch(0, "conas", "kjv", 1, "a", "b", None, 1.0, 1.0)
    (line,) = language_searches_table({"one": [row]}).rows
    assert line[5:7] == ["", "inf (a, seed 0)"]
    (line,) = language_searches_table({"two": [row, replace(row, valid_ppl=7.0, hash="c", seed=1)]}).rows
    assert line[5:8] == ["7.00", "7.00 (c, seed 1)", "2"]


@pytest.mark.parametrize("name", [name for name, each in ANALYSES.items() if hasattr(each.options, "runs")])
def test_other_questions_refuse_runs_on_text(name, runs):
    for run in ("trained-0", "conas"):
        if name == "runs" or (name, run) == ("conas", "conas"):
            continue
        with pytest.raises(UserError, match=r"is a run on text; `runs` has a table|is not a run of train_onestage.py"):
            analyse([name, str(runs / run)])


def test_the_page_has_the_published_cells():
    page = (ROOT / "docs/recurrent.md").read_text(encoding="utf-8")
    for name, cell in PUBLISHED.items():
        reported = "; ".join(str(each) for each in cell.reported)
        assert f"| `{name}` | {cell.source} | {reported} |\n" in page


def test_an_lstm_is_trained_as_a_cell_is(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    cells = importlib.import_module("language_cells")
    network = cells.LSTMNetwork(11, 5, dropout=0.5, dropoutx=0.4)
    tokens = torch.randint(11, (6, 3), generator=generator(0, "tokens"))
    masks = network.draw_masks(3, generator(0, "masks"))
    whole = network(tokens, network.first_state(3), None, masks)
    first = network(tokens[:2], network.first_state(3), None, masks)
    second = network(tokens[2:], first.state, None, masks)
    torch.testing.assert_close(torch.cat([first.logits, second.logits]), whole.logits)
    torch.testing.assert_close(second.state, whole.state)
    cell = torch.nn.LSTMCell(5, 5)
    cell.load_state_dict({name.removesuffix("_l0"): value for name, value in network.lstm.state_dict().items()})
    h = c = torch.zeros(3, 5)
    for row in tokens:
        h, c = cell(network.embedding[row] * masks.inputs, (h, c))
    torch.testing.assert_close((h * masks.outputs) @ network.embedding.t() + network.decoder_bias, whole.logits[-1])
    assert set(masks.outputs.unique().tolist()) == {0.0, 2.0}
    width = cells.lstm_width(1500, 179_420)
    assert abs(sum(p.numel() for p in cells.LSTMNetwork(1500, width, 0, 0).parameters()) / 179_420 - 1) < 0.01
