"""Fuzz target for chains: what people write after ``--arch``, and the files that hold them."""

import json

from fuzz.harness import Target
from fuzz.mutation import grafted, misspelt
from fuzz.text_targets import dumped

from isnas.space.chain.genotype import genotype_from_text, read_genotype
from isnas.space.chain.published import PUBLISHED
from isnas.space.chain.resolve import random_genotype, resolve_genotype


def make_chain(rng):
    """A text after ``--arch``, or the bytes of a genotype.json."""
    published = rng.choice(list(PUBLISHED.values())).genotype
    genotype = published if rng.random() < 0.5 else random_genotype(rng.randrange(20))
    if rng.random() < 0.5:
        return misspelt(rng, rng.choice((str(genotype), "random:7", "all:k5_e3", "ProxylessNAS_GPU")))
    tree = genotype.to_json()
    return dumped(grafted(rng, tree) if rng.random() < 0.7 else tree).encode("utf-8", "surrogatepass")


def check_chain(given, folder):
    """It is the genotype that its own text and JSON say, and nothing was run."""
    if isinstance(given, str):
        genotype = resolve_genotype(given)
    else:
        (folder / "genotype.json").write_bytes(given)
        genotype = read_genotype(folder / "genotype.json")
    assert genotype_from_text(str(genotype)) == genotype
    (folder / "again.json").write_text(json.dumps(genotype.to_json()))
    assert read_genotype(folder / "again.json") == genotype


TARGETS = (Target("genotype-chain", make_chain, check_chain, inputs=500),)
