"""tools/count.py: the table in README is what the command prints, and an architecture may be given in every way."""

import pytest
from networks import GENOTYPE, save_network
from starting import ROOT

from isnas.apps import count, counting
from isnas.base.errors import UserError
from isnas.base.files import write_json
from isnas.space.cells.published import PUBLISHED, published
from isnas.space.chain.resolve import uniform_genotype
from isnas.space.chain.space import ChainSpace

pytestmark = pytest.mark.slow

SMALL = ["--init_channels", "2", "--layers", "3", "--image_size", "8"]


def printed(capsys, *argv: str) -> str:
    count.main(list(argv))
    return capsys.readouterr().out


@pytest.fixture(scope="module")
def table() -> list[str]:
    return counting.table().splitlines()


def test_the_printed_table_is_what_is_counted_and_the_pages_show_it(table, capsys):
    shown = printed(capsys, "--table")
    assert shown.splitlines() == table, "run scripts/write_table.py"
    assert shown in (ROOT / "README.md").read_text(encoding="utf-8")
    page = (ROOT / "docs" / "published.md").read_text(encoding="utf-8").splitlines()
    assert [line for line in page if line.startswith("| `")] == [line for line in table if "| `ISTA" in line] != []
    names = [f"- `{name}`: {entry.source}" for name, entry in PUBLISHED.items()]
    assert [line for line in page if line.startswith("- `")] == names


def test_the_table_has_every_cell_and_agrees_with_the_papers(table):
    rows = [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in table[2:]]
    assert {row[0] for row in rows} == set(PUBLISHED) and len(rows) == 13
    agreeing = 0
    for name, network, params, conv_linear, all_layers, own_relus, figure in rows:
        assert float(conv_linear.split()[0]) < float(all_layers.split()[0]) < float(own_relus.split()[0])
        assert ("extra BN" in network) == (name == "ISTA_onestage" and "CIFAR-10" in network)
        if figure and name not in ("NASNet", "AmoebaNet"):  # whose authors' networks are others
            paper = figure.split()[0]
            digits = len(paper.partition(".")[2])
            assert f"{float(params.split()[0]):.{digits}f}" == paper, name
            agreeing += 1
    assert agreeing == 8


def test_an_architecture_in_every_form(tmp_path, capsys):
    genotype = published("CoNAS_release").genotype
    (tmp_path / "run").mkdir()
    write_json(tmp_path / "run" / "genotype.json", genotype.to_json())
    forms = ["CoNAS_release", str(tmp_path / "run"), str(tmp_path / "run" / "genotype.json"), f"genotype = {genotype}"]
    sizes = {printed(capsys, "--arch", form, *SMALL).removeprefix(form) for form in forms}
    assert len(sizes) == 1 and all(" M parameters, " in size for size in sizes)
    on_imagenet = printed(capsys, "--arch", "CoNAS_release", *SMALL, "--network", "imagenet")
    assert on_imagenet.removeprefix("CoNAS_release") not in sizes


def test_the_network_that_was_counted_is_named_and_a_trained_one_is_its_own(tmp_path, capsys):
    paper = printed(capsys, "--arch", "ISTA_twostage")
    assert paper.startswith("ISTA_twostage 3.316726 M parameters, ")
    assert paper.endswith(" (20 cells, C = 36, 32 x 32 images, 10 classes)\n")
    network, run = save_network(tmp_path / "run" / "weights.pt"), str(tmp_path / "run")
    write_json(tmp_path / "run" / "genotype.json", GENOTYPE.to_json())
    assert "(20 cells, C = 36, 32 x 32 images, 10 classes)" in printed(capsys, "--arch", run)  # as of a search
    write_json(tmp_path / "run" / "result.json", {})
    own = sum(parameter.numel() for parameter in network.parameters()) / 1e6
    out = printed(capsys, "--arch", run)
    assert out.startswith(f"{run}, as it was trained: {own:.6f} M parameters, ")
    assert out.endswith(" (3 cells, C = 4, 16 x 16 images, 10 classes)\n")
    assert "(3 cells, C = 8, 16 x 16 images, 10 classes)" in printed(capsys, "--arch", run, "--init_channels", "8")
    imagenet = printed(capsys, "--arch", run, "--network", "imagenet")
    assert imagenet.endswith("(14 cells, C = 48, 224 x 224 images, 1000 classes)\n")


def test_a_chain_is_counted_in_its_widths_and_for_the_images_of_its_search(tmp_path, capsys):
    chain = ["--space", "chain", "--widths", "digits", "--arch"]
    for arch in ("all:k3_e3", "random:0"):
        out = printed(capsys, *chain, arch)
        assert out.endswith(" (widths digits, 16 x 16 images, 3 channels, 10 classes)\n")
    write_json(tmp_path / "genotype.json", uniform_genotype("k3_e3", ChainSpace("digits")).to_json())
    config = "space: chain\nwidths: digits\ndataset: {}\nimage_size: {}\ngrey: {}\n"
    for images, side, classes in ((("fashion_mnist", 20, "false"), 20, 10), (("cifar100", "null", "true"), 32, 100)):
        (tmp_path / "config.yaml").write_text(config.format(*images))
        sizes = ["--channels", "1", "--image_size", str(side), "--num_classes", str(classes)]
        out = printed(capsys, str(tmp_path))
        assert out == printed(capsys, *chain, "all:k3_e3", *sizes).replace("all:k3_e3", str(tmp_path))
        assert out.endswith(f" (widths digits, {side} x {side} images, 1 channel, {classes} classes)\n")
    assert "16 x 16 images, 3 channels" in printed(capsys, *chain, str(tmp_path))


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--table", "--arch", "DARTS"], "--table shows the published architectures .*; give it alone"),
        (["--table", "--layers", "8"], "give it alone"),
        (["--network", "imagenet", "--init_channels", "1"], "init_channels must be at least 2 for ImageNet"),
        (["--arch", "DARTS", "--network", "mnist"], "unknown network 'mnist'; choose from cifar, imagenet"),
    ],
)
def test_a_mistake_is_told(argv, words, capsys):
    with pytest.raises(UserError, match=words):
        count.main(argv)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("name", "most"), [("layers", 1000), ("init_channels", 10**4), ("channels", 1000)])
def test_sizes_that_no_network_has_are_refused(name, most, capsys):
    for value in (most + 1, 10**11, 10**30):
        with pytest.raises(UserError, match=f"{name} must be at most {most}, not "):
            count.main(["--arch", "DARTS_V2", f"--{name}", str(value)])
    assert capsys.readouterr().out == ""
