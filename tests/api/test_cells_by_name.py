"""Architectures, their networks and pictures, by what a user types."""

import re
import xml.etree.ElementTree

import pytest
import torch

import isnas
from isnas.base.errors import UserError
from isnas.space.cells.published import PUBLISHED
from isnas.space.recurrent.published import PUBLISHED as RECURRENT


def test_published_ones():
    assert isnas.published("ISTA_twostage") == PUBLISHED["ISTA_twostage"].genotype
    assert isnas.published("DARTS_V2", space="recurrent") == RECURRENT["DARTS_V2"].genotype
    with pytest.raises(UserError, match="unknown architecture 'ISTA'; published names are ISTA_twostage, "):
        isnas.published("ISTA")
    with pytest.raises(UserError, match="unknown space 'text'"):
        isnas.published("DARTS_V2", space="text")


def test_a_network_has_the_papers_size_by_default():
    with torch.device("meta"):
        network = isnas.network("ISTA_twostage")
    assert f"{sum(p.numel() for p in network.parameters()) / 1e6:.2f}" == "3.32"  # ISTA-NAS, Table 3


@pytest.mark.parametrize(
    ("chain", "widths", "head"),  # the head's width is before the classifier
    [
        ("ProxylessNAS_GPU", "", 1728),
        (isnas.published("ProxylessNAS_GPU", "chain"), "", 1728),
        ("all:skip", "", 1280),
        ("random:3", "digits", 96),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_chain_has_its_own_widths(chain, widths, head):
    with torch.device("meta"):
        assert isnas.network(chain, widths=widths).classifier.in_features == head


def test_a_network_is_that_of_its_sizes_and_seed():
    state = torch.get_rng_state()
    cells = isnas.published("ISTA_onestage")
    sizes = {"channels": 1, "init_channels": 2, "layers": 3, "auxiliary": True}
    network = isnas.network(cells, num_classes=7, **sizes)
    output = network(torch.randn(2, 1, 16, 16, generator=torch.Generator().manual_seed(0)))
    assert output.logits.shape == output.auxiliary.shape == (2, 7)
    assert torch.equal(state, torch.get_rng_state())
    same, other = (isnas.network(str(cells), 7, **sizes, seed=seed) for seed in (0, 1))
    assert all(map(torch.equal, network.parameters(), same.parameters()))
    assert not torch.equal(same.classifier.weight, other.classifier.weight)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": 2}, "--layers 2 would be two reduction cells"),
        ({"init_channels": 0}, "init_channels must be at least 1, not 0"),
        ({"num_classes": 0}, "num_classes must be a whole number from 1 to 1,000,000, not 0"),
        ({"channels": 1.5}, "channels must be a whole number"),
        ({"stem": "mnist"}, "unknown stem 'mnist'; choose from cifar, imagenet"),
        ({"widths": "digits"}, "widths has no effect on ISTA_twostage, of --space cells, which has no widths"),
        ({"genotype": "all:skip", "layers": 3}, "layers has no effect on all:skip, of --space chain"),
        ({"genotype": "Genotype(chain=['k3_e3', 'k3_e3'])"}, "give --widths digits"),
        ({"layers": 1, "auxiliary": True}, "--auxiliary sits after the second reduction cell"),
    ],
    ids=str,
)
def test_a_size_that_there_is_not(options, message):
    with pytest.raises(UserError, match=re.escape(message)):
        isnas.network(**{"genotype": "ISTA_twostage"} | options)


def texts(svg):
    """The texts of an SVG, which is whole."""
    return [element.text for element in xml.etree.ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def test_a_picture_has_both_cells_in_one_svg(tmp_path):
    cells = isnas.published("ISTA_twostage")
    drawing = isnas.draw("ISTA_twostage")
    said = texts(drawing._repr_svg_())
    operations = [operation for node in cells.normal + cells.reduce for operation, _ in node]
    assert sorted(text for text in said if text in operations) == sorted(operations)
    assert {"normal cell", "reduction cell"} <= set(said) and cells._repr_svg_() == drawing.svg
    outer, *inner = re.findall(r'<svg [^>]*?width="([\d.]+)(?:pt)?" height="([\d.]+)', drawing.svg)
    assert len(inner) == 2 and float(outer[0]) == pytest.approx(max(float(width) for width, _ in inner), abs=0.01)
    assert float(outer[1]) == pytest.approx(sum(float(height) for _, height in inner) + 32, abs=0.01)
    paths = drawing.save(tmp_path / "pictures", "ista")
    assert [path.name for path in paths] == [
        f"ista_{cell}.{kind}" for cell in ("normal", "reduce") for kind in ("png", "svg")
    ]
    assert all(path.stat().st_size > 1000 for path in paths)


def test_a_recurrent_picture(tmp_path):
    cell = isnas.published("ENAS", space="recurrent")
    said = texts(isnas.draw(cell).svg)
    assert sum(text in ("tanh", "relu", "sigmoid", "identity") for text in said) == len(cell.recurrent)
    assert isnas.draw(str(cell)) == isnas.draw(cell)
    assert [path.name for path in isnas.draw(cell).save(tmp_path)] == ["cell.png", "cell.svg"]
    with pytest.raises(UserError, match="unknown architecture 'nobody'"):
        isnas.draw("nobody")
