"""One-stage run folders made by hand: what the analyses read, and nothing else."""

import json

import yaml

STEPS_PER_EPOCH = 10
CONFIG = {"dataset": "digits", "image_size": 16, "max_train_images": None, "grey": False, "svhn_extra": True}
CONFIG |= {"num_nodes": 2, "epsilon": 1e-3, "distance": "top_s", "termination_interval": "5", "patience": 1, "seed": 0}
CONFIG |= {"learning_rate": 0.1, "arch_learning_rate": 1e-3, "arch_lr_schedule": "constant", "device": "auto"}


def genotype(first="skip_connect"):
    """Two nodes per cell, two connections each; ``first`` is the normal cell's first operation."""
    nodes = [[[first, 0], ["max_pool_3x3", 1]], [["sep_conv_3x3", 0], ["sep_conv_3x3", 2]]]
    plain = [[["skip_connect", 0], ["max_pool_3x3", 1]], nodes[1]]
    return {"normal": nodes, "normal_concat": [2, 3], "reduce": plain, "reduce_concat": [2, 3], "extra_bn": "all"}


def write_run(folder, distances, *, terminated=None, operations=None, training=0, ended=None, **settings):
    """A recovery every 5 of the 10 steps of an epoch, with these distances per node (None at the first).

    ``terminated``: per recovery the nodes that have terminated; ``operations``: per epoch the first operation of the
    normal cell; ``training``: epochs after the search; ``ended``: what genotype.json says of the search.
    """
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(CONFIG | settings))
    epochs = len(distances) // 2
    operations = operations or ["skip_connect"] * epochs
    terminated = terminated or [[]] * len(distances)
    rows = [
        {"step": 5 * i, "epoch": i // 2, "changed": False, "distances": row, "terminated": done, "hash": operation}
        | {"distances_full": None if row is None else [10 * distance for distance in row]}
        for i, (row, done) in enumerate(zip(distances, terminated))
        for operation in [operations[min(i // 2, epochs - 1)]]
    ]
    write_rows(folder / "distances.jsonl", rows)
    write_rows(folder / "genotypes.jsonl", [{"epoch": e, "genotype": genotype(o)} for e, o in enumerate(operations)])
    metrics = [
        {"step": STEPS_PER_EPOCH * (e + 1), "epoch": e, "searching": float(e < epochs), "test/acc": 50.0 + e}
        for e in range(epochs + training)
    ]
    write_rows(folder / "metrics.jsonl", metrics)
    if ended is not None:
        (folder / "genotype.json").write_text(json.dumps({"search_epochs": epochs, "all_terminated": ended}))
    if training:
        (folder / "result.json").write_text("{}")
    return folder


def write_rows(path, rows):
    """JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
