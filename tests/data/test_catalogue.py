"""The catalogue: what is read agrees with it, the documentation shows it, and a row is all that a dataset needs."""

from dataclasses import replace

import pytest
from starting import ROOT
from test_datasets import IDX_NAMES, write_fashion

from isnas.analysis.options.memory import MemoryOptions
from isnas.analysis.step_memory import Facts, facts_of
from isnas.base.errors import UserError
from isnas.data.catalogue import CATALOGUE, catalogue_table
from isnas.data.data_options import DataOptions
from isnas.data.dataset_record import DatasetRecord
from isnas.data.small.datasets import load_dataset
from isnas.data.small.readers import read_idx_pairs
from isnas.data.sources import Source

LETTERS = DatasetRecord(
    name="letters",
    shown="ten letters",
    classes=tuple("ABCDEFGHIJ"),
    side=28,
    channels=1,
    num_train=20,
    num_test=10,
    flip=False,
    source=Source("KMNIST", 21, IDX_NAMES, "idx", "letters", ("raw",), "write {files} into {folder}"),
    reader=read_idx_pairs,
)


def test_the_table_of_the_documentation_is_made_from_the_catalogue():
    assert f"\n\n{catalogue_table()}\n\n" in (ROOT / "docs" / "datasets.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["digits", "fake"])
def test_what_is_read_is_as_the_record_says(name):
    record, dataset = CATALOGUE[name], load_dataset(DataOptions(dataset=name))
    assert (len(dataset.train), len(dataset.test)) == (record.num_train, record.num_test)
    info = dataset.info
    assert (info.image_size, info.channels, info.classes) == (record.image_size, record.channels, record.classes)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"channels": 1}, "3 channels, not 1"),
        ({"side": 28}, "32 x 32, not 28"),
        ({"classes": ("one", "two")}, r"labels 0\.\.9"),
    ],
)
def test_a_record_that_says_something_else_than_is_read_is_found_out(monkeypatch, wrong, words):
    monkeypatch.setitem(CATALOGUE, "fake", replace(CATALOGUE["fake"], **wrong))
    with pytest.raises(AssertionError, match=words):
        load_dataset(DataOptions(dataset="fake"))


def test_a_row_is_all_that_a_dataset_needs(tmp_path, monkeypatch):
    monkeypatch.setitem(CATALOGUE, "letters", LETTERS)
    contents = write_fashion(tmp_path / "raw", train=20, test=10)
    dataset = load_dataset(DataOptions(dataset="letters", data=str(tmp_path)))
    assert dataset.train.images[..., 0].tolist() == contents[IDX_NAMES[0]].tolist()
    assert (dataset.info.classes, dataset.info.flip, dataset.info.image_size) == (LETTERS.classes, False, 28)
    with pytest.raises(UserError, match=r"does not hold letters.*; write train-images.* into .*/letters, or name"):
        load_dataset(DataOptions(dataset="letters", data=str(tmp_path / "raw")))
    with pytest.raises(UserError, match="no_svhn_extra has no effect with --dataset letters"):
        DataOptions(dataset="letters", svhn_extra=False)
    assert facts_of(MemoryOptions(dataset="letters")) == Facts(28, 1, 10, 20, 10, flip=False)
    assert (
        "\n| `letters` | ten letters | 20 + 10 | 10 | 28 x 28 grey | `letters`, `raw` (idx) | no |" in catalogue_table()
    )


def test_the_estimate_of_memory_counts_what_the_catalogue_says():
    def facts(**values):
        return facts_of(MemoryOptions(**values))

    assert facts(dataset="svhn") == Facts(32, 3, 10, 604_388, 26_032, flip=False)
    assert facts(dataset="svhn", svhn_extra=False).num_train == 73_257
    assert facts(dataset="cifar100", grey=True, max_train_images=700) == Facts(32, 1, 100, 700, 10_000)
    assert facts(dataset="imagenet", data="x") == Facts(224, 3, 1000)
