"""Texts: folders of three files, the vocabulary, and the King James Bible out of Debian's file."""

import os
import re
import struct
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from isnas.base.errors import UserError
from isnas.base.options import parse
from isnas.data.text import folders, king_james
from isnas.data.text.compressed import uncompress
from isnas.data.text.folders import read_folder, write_folder
from isnas.data.text.king_james import normalised
from isnas.data.text.texts import TEXTS, TextOptions, load_text
from isnas.data.text.vocabulary import Vocabulary

ROOT = Path(__file__).resolve().parents[2]
DEBIAN_FILE = king_james.DEBIAN_FILE
PLAIN, PENN = folders.CUSTOMS
CORPUS = ("the cat\n\n a  cat sat\t\n", "the dog <unk>\r\n", "dog sat")
WORDS = ("the", "cat", "<eos>", "a", "sat", "dog", "<unk>")
STREAMS = ([0, 1, 2, 2, 3, 1, 4, 2], [0, 5, 6, 2], [5, 4, 2])


@pytest.fixture(autouse=True)
def _no_package(tmp_path, monkeypatch):
    monkeypatch.setattr(king_james, "DEBIAN_FILE", tmp_path / "usr" / "bible.data")


def write(folder, names=PLAIN, contents=CORPUS):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in zip(names, contents, strict=True):
        (folder / name).write_bytes(content.encode())
    return str(folder)


def streams(text):
    return tuple(part.tolist() for part in (text.train, text.valid, text.test))


@pytest.mark.parametrize("names", [PLAIN, PENN])
def test_a_folder_under_either_custom_is_numbers_in_order_of_first_occurrence(tmp_path, names):
    text = load_text(parse(TextOptions, ["--data", write(tmp_path / "corpus", names)], "A tool."))
    assert text.vocabulary.words == WORDS and streams(text) == STREAMS
    assert text.train.dtype == torch.int64
    assert str(text) == "textfolder, 8 + 4 + 3 tokens, 7 different words"
    facts = text.facts()
    assert facts.pop("text_digest") == read_folder("x", write(tmp_path / "other", PLAIN)).digest
    assert facts == {"train_tokens": 8, "valid_tokens": 4, "test_tokens": 3, "words": 7}
    (tmp_path / "again").mkdir()
    write_folder(text, tmp_path / "again")
    again = read_folder("again", str(tmp_path / "again"))
    assert again.vocabulary == text.vocabulary and streams(again) == streams(text)


def test_a_digest_tells_words_their_order_and_the_parts_apart(tmp_path):
    text = read_folder("text", write(tmp_path))
    moved = torch.cat([text.train, text.valid[:1]]), text.valid[1:]
    others = [
        replace(text, train=text.train.roll(1)),
        replace(text, train=moved[0], valid=moved[1]),
        replace(text, vocabulary=Vocabulary((*WORDS[:-1], "bird"))),
    ]
    assert len({each.digest for each in (text, *others)}) == 4


FAULTS = {
    "no text, but .*corpus/data does": lambda folder: write(folder / "data", PENN),
    r"no text but folders \(cat, dog\), as images have": lambda folder: [(folder / n).mkdir() for n in ("cat", "dog")],
    "no text; --data names the folder of train.txt, valid.txt and test.txt, or ptb.train": lambda folder: None,
    "holds train.txt and test.txt but not valid.txt": lambda folder: (write(folder), (folder / PLAIN[1]).unlink()),
    "holds both train.txt and ptb.train.txt": lambda folder: (write(folder), write(folder, PENN)),
    r"test.txt is empty": lambda folder: write(folder, contents=("a", "b", " \n\n")),
    r"valid.txt: it is not UTF-8": lambda folder: (write(folder), (folder / PLAIN[1]).write_bytes(b"caf\xe9")),
    r"valid.txt holds NUL bytes": lambda folder: write(folder, contents=("a", "b\0c", "d")),
    r"train.txt: it has more than 40 bytes": lambda folder: write(folder, contents=("a " * 21, "b", "c")),
    r"line 2 of .*test.txt holds <eos>": lambda folder: write(folder, contents=("a", "b", "c <eos>d\nd <eos>\n")),
    r"test.txt: it is a pipe": lambda folder: (
        write(folder),
        (folder / PLAIN[2]).unlink(),
        os.mkfifo(folder / PLAIN[2]),
    ),
    r"test.txt: Is a directory": lambda folder: (
        write(folder),
        (folder / PLAIN[2]).unlink(),
        (folder / PLAIN[2]).mkdir(),
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_folder_that_holds_no_text_is_a_user_error_of_one_line(tmp_path, monkeypatch, fault):
    monkeypatch.setattr(folders, "LARGEST_FILE_BYTES", 40)
    (tmp_path / "corpus").mkdir()
    FAULTS[fault](tmp_path / "corpus")
    with pytest.raises(UserError, match=fault) as error:
        read_folder("text", str(tmp_path / "corpus"))
    assert "\n" not in str(error.value)


def test_a_text_that_is_not_there_says_what_to_do(tmp_path):
    for flags, message in {
        ("--data", f"{tmp_path}/none"): "none does not exist; --data names the folder of train.txt, ",
        ("--data", __file__): "is not a folder",
        ("--dataset", "ptb"): "needs --data FOLDER, .*licensed by the Linguistic Data Consortium .*not downloaded",
        ("--dataset", "textfolder"): "--dataset textfolder needs --data FOLDER",
        ("--dataset", "ptb", "--data", write(tmp_path / "small")): "7 different words .*ptb 10,000; .*textfolder",
        (): "no .*default-root/bible.data and no .*usr/bible.data; install Debian's package bible-kjv-text",
        ("--dataset", "kjv", "--data", str(tmp_path)): f"no {tmp_path}/bible.data; install",
    }.items():
        with pytest.raises(UserError, match=message):
            load_text(parse(TextOptions, list(flags), "A tool."))


def test_words_become_numbers_and_numbers_words():
    vocabulary = Vocabulary(WORDS)
    assert vocabulary.ids(" the  bird sat ").tolist() == [0, 6, 4]
    assert vocabulary.ids("").tolist() == []
    assert vocabulary.text(torch.tensor([[0, 1, 2], [2, 3, 6]])) == "the cat\n\na <unk>"
    with pytest.raises(UserError, match="the word 'bird' is not among the 6 of the vocabulary, which has no <unk>"):
        Vocabulary(WORDS[:-1]).ids("the bird and the fish")


def squeezed(data, widest=16, clear_after=0):
    """What ``compress`` may make of ``data``; behind so many codes the table is cleared, once."""
    codes, table, last = [], {}, b""
    for value in data:
        longer = last + bytes([value])
        if len(longer) == 1 or longer in table:
            last = longer
            continue
        codes.append(table.get(last, last[0]))
        if len(table) < (1 << widest) - 257:
            table[longer] = 257 + len(table)
        last = bytes([value])
        if len(codes) == clear_after:
            codes.append(256)
            table = {}
    codes.append(table.get(last, last[0]))
    packed, group, bits, free = bytes((0x1F, 0x9D, 0x80 | widest)), [], 9, 256
    for code in codes:
        if free >= 1 << bits and bits < widest:
            packed += in_bits(group, bits, -(-len(group) // 8) * bits)
            group, bits = [], bits + 1
        group.append(code)
        free += 1
        if code == 256:
            packed += in_bits(group, bits, -(-len(group) // 8) * bits)
            group, bits, free = [], 9, 256
    return packed + in_bits(group, bits, -(-len(group) * bits // 8))


def in_bits(codes, bits, size):
    return sum(code << place * bits for place, code in enumerate(codes)).to_bytes(size, "little")


REPETITIVE = b"abababababab" * 40 + bytes(range(256)) * 3 + b"the end of it, the end of it" * 20


@pytest.mark.parametrize(("widest", "clear_after"), [(16, 0), (12, 0), (10, 0), (16, 1), (16, 300), (10, 8), (11, 777)])
def test_compressed_bytes_are_those_that_gzip_finds(widest, clear_after):
    data = squeezed(REPETITIVE, widest, clear_after)
    whole = subprocess.run(["gzip", "-dc"], input=data, capture_output=True, check=True).stdout
    assert whole == REPETITIVE == uncompress(data, len(REPETITIVE))


def test_compressed_bytes_that_are_none_or_too_many_are_refused():
    data = squeezed(REPETITIVE)
    for wrong in (b"", b"\x1f\x8b\x90", b"\x1f\x9d\x10", b"\x1f\x9d\x91", b"\x1f\x9d\x89"):
        with pytest.raises(ValueError, match="does not begin as compress"):
            uncompress(wrong + data[3:], 10**6)
    with pytest.raises(ValueError, match="more than 100 bytes"):
        uncompress(data, 100)
    for codes in ([257], [97, 258], [97, 98, 300]):
        with pytest.raises(ValueError, match="stands for nothing yet"):
            uncompress(data[:3] + in_bits(codes, 9, 9), 100)


def bible(lines):
    """Such a file as Debian's: a header, and the compressed text."""
    text = "\n".join(["Holy Bible", *lines, ""]).encode()
    data = squeezed(text)
    size = 80 + 3 * 4 + 2 * 4 + len(data)
    return b"EC02Compressed Data File".ljust(80, b"\0") + struct.pack(">5I", 0, len(text), 1, 103, size) + data


PLACES = [(book, n, verse) for book in ("Ge", "1Sm") for n in range(1, 15) for verse in (1, 2)]
VERSES = [f"{book}{n}:{v} {book[-1]}{chr(96 + n)}, Ye And" for book, n, v in PLACES]


def test_verses_become_lines_and_chapters_parts(tmp_path):
    (tmp_path / "bible.data").write_bytes(bible(["Ge1:1 Ea, ye of", *VERSES[1:-1], "1Sm14:2 AARON'S and"]))
    text = load_text(TextOptions(dataset="kjv", data=str(tmp_path)))
    assert text.name == "kjv"
    train, valid, test = (text.vocabulary.text(part).splitlines() for part in (text.train, text.valid, text.test))
    assert valid == ["<unk> , ye and"] * 4 and test == ["<unk> , ye and"] * 3 + ["<unk> and"]
    wanted = [f"{book}{letter} , ye and" for book in "em" for letter in "abcdefhijklm" for _ in range(2)]
    assert train[:3] == ["ea , ye <unk>", "ea , ye and", "eb , ye and"]
    assert train[1:] == wanted[1:]
    assert normalised(" AARON'S rod--(a Beth-el)! 12") == "aaron's rod - - ( a beth-el ) ! 12"
    assert TEXTS["ptb"].normalised(" A  b,") == "A b,"


def test_another_file_in_its_place_is_a_user_error(tmp_path):
    whole = bible(VERSES)
    for content, message in {
        b"": "begins with b''",
        b"%PDF" + whole[4:]: "begins with b'%PDF' instead",
        whole[:-1]: "its header says",
        bible(["Ge1:1"]): "line 2 is no verse: 'Ge1:1'",
        bible(VERSES[:20]): "10 chapters, fewer than 14",
        whole[:84] + struct.pack(">I", 50) + whole[88:]: "more than 50 bytes",
        bible(["Ge1:1 caf\xe9"]): "'ascii' codec",
    }.items():
        (tmp_path / "bible.data").write_bytes(content)
        with pytest.raises(UserError, match=rf"bible.data is not the file of Debian's .*{message}.*; install it anew"):
            load_text(TextOptions(dataset="kjv", data=str(tmp_path)))


def test_the_real_king_james_bible(tmp_path):
    if not DEBIAN_FILE.is_file():
        pytest.skip("Debian's package bible-kjv-text is not installed")
    folder = tmp_path / "kjv"
    command = [sys.executable, str(ROOT / "scripts/write_text.py"), str(folder)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert f"\n```\n{said}```\n" in (ROOT / "docs/datasets.md").read_text(encoding="utf-8")
    text = read_folder("kjv", str(folder))
    assert str(text) == "kjv, 811,682 + 66,952 + 66,074 tokens, 8,236 different words"
    content = subprocess.run(["gzip", "-dc"], input=DEBIAN_FILE.read_bytes()[0x170:], capture_output=True).stdout
    chapters = {}
    for line in content.decode().lower().splitlines()[1:]:
        place, verse = line.split(" ", 1)
        apart = re.sub(r"([^a-z'\- ])|(?<![a-z])['-]|['-](?![a-z])", r" \g<0> ", verse)
        chapters.setdefault(place.partition(":")[0], []).append(apart.split())
    assert len(chapters) == 1189 and sum(map(len, chapters.values())) == 31_102
    parts = {"train": [], "valid": [], "test": []}
    for number, lines in enumerate(chapters.values(), 1):
        parts["test" if number % 14 == 0 else "valid" if number % 14 == 7 else "train"] += lines
    counts = Counter(word for line in parts["train"] for word in line)
    for name, lines in parts.items():
        wanted = [" ".join(word if counts[word] > 1 else "<unk>" for word in line) for line in lines]
        assert (folder / f"{name}.txt").read_text().splitlines() == wanted
