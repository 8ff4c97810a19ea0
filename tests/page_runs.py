"""Run folders for the pages about them: a search and a training with every file that a page reads."""

import csv
import io
import json

import yaml
from PIL import Image

from isnas.methods.registry import make_options
from isnas.space.cells.genotype import genotype_from_json
from isnas.space.cells.picture import draw_genotype

_HACK = "document.title='hacked'"
#: What would run, were it not escaped: as text of the page, in an attribute, or in the page's script.
HOSTILE = f"""</script><script>{_HACK}</script><img src=x onerror="{_HACK}">'\N{RIGHT-TO-LEFT OVERRIDE}"""


def cells(first="skip_connect", last="max_pool_3x3"):
    """A genotype of two nodes in JSON."""
    nodes = [[[first, 0], ["sep_conv_3x3", 1]], [["dil_conv_5x5", 0], [last, 2]]]
    return {"normal": nodes, "normal_concat": [2, 3], "reduce": nodes, "reduce_concat": [2, 3], "extra_bn": "none"}


#: The normal cell's first operation at the end of each epoch, and what was found.
COURSE = ["max_pool_3x3", "avg_pool_3x3", "avg_pool_3x3", "max_pool_3x3", "skip_connect", "skip_connect"]


def write_search(folder):
    """A search of five epochs whose architecture changed three times."""
    folder.mkdir(parents=True)
    options = make_options("two_stage", epochs=5, dataset="digits", num_nodes=2, batch_size=32)
    _write(folder, options, ["tools/train_search.py", "--epochs", "5"])
    rows, genotypes = [], []
    for epoch, first in enumerate(COURSE):
        figures = {"train/acc": 20.0 + 7.1234567 * epoch, "train/loss": 2.0 / (epoch + 1), "lr": 0.1}
        row = {
            "step": 8 * epoch,
            "epoch": epoch,
            "valid/acc": 15.0 + 9.87654321 * epoch,
            "valid/loss": 2.5 / (epoch + 1),
        }
        row |= {"arch/distance": None if epoch == 0 else 10.0**-epoch, "time/seconds": 60.0 * epoch}
        last = epoch == len(COURSE) - 1
        rows.append(row | ({"final": True, "derived/params_millions": 3.25} if last else figures))
        architecture = cells(first)
        hashed = genotype_from_json(architecture).hash()
        mark = {"final": True} if last else {}
        genotypes.append(
            {"epoch": epoch, "valid_acc": row["valid/acc"], "hash": hashed, "genotype": architecture} | mark
        )
    write_lines(folder / "metrics.jsonl", rows)
    write_lines(folder / "genotypes.jsonl", genotypes)
    genotype = genotype_from_json(cells(COURSE[-1]))
    draw_genotype(genotype, folder)
    found = {"genotype": genotype.to_json(), "text": str(genotype), "valid_acc": rows[-1]["valid/acc"]}
    (folder / "genotype.json").write_text(json.dumps(found))
    return folder


def write_training(folder, word="plane"):
    """A training that was tested; ``word`` stands wherever a file has words of others."""
    folder.mkdir(parents=True)
    genotype = genotype_from_json(cells())
    options = make_options("evaluation", arch=str(genotype), dataset="digits", save="x", epochs=3)
    _write(folder, options, ["tools/evaluate.py", word], word)
    rows = [
        {"step": 9 * e, "epoch": e, "train/acc": 50.0 + e, "test/acc": 90.123456 + 3 * e, "train/loss": 1 / (e + 1)}
        | {"test/loss": 0.5, "time/seconds": 10.0 * e}
        for e in range(3)
    ]
    write_lines(folder / "metrics.jsonl", rows)
    draw_genotype(genotype, folder)
    (folder / "genotype.json").write_text(json.dumps({"genotype": genotype.to_json(), "text": f"{genotype}"}))
    result = {"arch": word, "hash": word, "seed": 0, "epochs": 3, "test_acc": 96.123456, "test_error": 3.876544}
    result |= {"params_millions": 0.04, "multiply_adds_millions": 2.5, "settings": {"dataset": word}, "seconds": 20.0}
    (folder / "result.json").write_text(json.dumps(result))
    write_csv(folder / "confusion.csv", [["class", word, "ship"], [word, 40, 2], ["ship", 1, 17]])
    write_csv(
        folder / "wrong.csv", [["image", "class", word], [f"a/{word}.png", word, "ship"], ["b.png", "ship", word]]
    )
    for name in ("confusion.png", "wrong.png"):
        Image.linear_gradient("L").resize((60, 40)).save(folder / name)
    return folder


def _write(folder, options, command, word="AMD"):
    values = {name: list(value) if isinstance(value, tuple) else value for name, value in vars(options).items()}
    (folder / "config.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    environment = {"python": "3.11", "packages": {"torch": "2.14"}, "processor": word, "command": command}
    (folder / "env.json").write_text(json.dumps(environment))


def write_lines(path, rows):
    """JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_csv(path, rows):
    """Comma-separated values."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    path.write_text(text.getvalue())
