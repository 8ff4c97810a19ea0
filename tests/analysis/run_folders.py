"""Run folders made by hand: what the analyses read, and nothing else."""

import json

import yaml

from isnas.space.in_files import row_of

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


OPERATIONS = ["max_pool_3x3", "skip_connect", "sep_conv_3x3"]
SEARCH = {"method": "two_stage", "space": "cells", "dataset": "digits", "num_nodes": 1, "operations": OPERATIONS}
SEARCH |= {"sparseness": 2, "recover_every": "step", "batch_size": 64, "init_channels": 16, "run_dir": "", "epochs": 50}
TRAINING = {"method": "evaluation", "dataset": "digits", "epochs": 7, "layers": 8, "init_channels": 16, "cutout": True}


def cells(normal, reduce=("skip_connect:0", "skip_connect:1"), extra_bn="none"):
    """Cells of one node, whose connections are words such as ``skip_connect:0``, in the order in which they come."""
    nodes = [[[[name, int(place)] for name, place in (word.split(":") for word in node)]] for node in (normal, reduce)]
    return {"normal": nodes[0], "normal_concat": [2], "reduce": nodes[1], "reduce_concat": [2], "extra_bn": extra_bn}


def hash_of(genotype):
    """The hash under which a run has an architecture."""
    return row_of(genotype).genotype(genotype).hash()


def write_search(folder, epochs, found=None, *, seed=0, accuracies=None, hours=1.0, rows=(), **settings):
    """A search with these architectures at the end of its epochs, and the one it found if it has ended.

    ``accuracies``: of every epoch, and of what was found; ``hours`` an epoch; ``rows``: more of every row of metrics.
    """
    folder.mkdir(parents=True)
    config = SEARCH | {"seed": seed} | settings
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    every = [*epochs, *([found] if found else [])]
    accuracies = accuracies or [50.0] * len(every)
    marks = [{"final": True} if place == len(epochs) else {} for place in range(len(every))]
    genotypes = [
        {"epoch": place, "valid_acc": accuracy, "hash": hash_of(each), "genotype": each} | mark
        for place, (each, accuracy, mark) in enumerate(zip(every, accuracies, marks))
    ]
    write_rows(folder / "genotypes.jsonl", genotypes)
    metrics = [
        {"step": 10 * (place + 1), "epoch": place, "valid/acc": accuracy, "time/seconds": 3600.0 * hours * (place + 1)}
        | dict(rows)
        | mark
        for place, (accuracy, mark) in enumerate(zip(accuracies, marks))
    ]
    write_rows(folder / "metrics.jsonl", metrics)
    if found:
        (folder / "genotype.json").write_text(json.dumps({"genotype": found, "valid_acc": accuracies[-1]}))
    return folder


def write_training(folder, genotype, accuracy, *, seed=0, arch="mine", hours=2.0, top5=None, **settings):
    """A finished training of these cells; its test accuracy rises to ``accuracy`` in two epochs."""
    folder.mkdir(parents=True)
    settings = TRAINING | settings
    (folder / "config.yaml").write_text(yaml.safe_dump(settings | {"seed": seed}))
    result = {"arch": arch, "hash": genotype if isinstance(genotype, str) else hash_of(genotype), "seed": seed}
    result |= {
        "epochs": settings["epochs"],
        "test_acc": accuracy,
        "test_error": 100.0 - accuracy,
        "test_acc_top5": top5,
    }
    result |= {"params_millions": 3.0, "multiply_adds_millions": 500.0, "seconds": 3600.0 * hours, "settings": settings}
    (folder / "result.json").write_text(json.dumps(result))
    metrics = [
        {
            "step": 10 * epoch,
            "epoch": epoch - 1,
            "test/acc": accuracy * epoch / 2,
            "time/seconds": 1800.0 * hours * epoch,
        }
        for epoch in (1, 2)
    ]
    write_rows(folder / "metrics.jsonl", metrics)
    return folder


CONAS = {"method": "conas", "stages": 1, "measurements": 200, "monomials": 3, "degree": 2, "lasso_lambda": 1.0}
CONAS |= {"lasso_form": "paper", "recovery": "lasso", "constant": "penalised", "tie": "first", "debias": False}
CONAS |= {"max_loss": 0.0, "clip_quantile": 1.0, "pool_bn": False}


def write_conas(folder, measured, found=None, *, best=None, loss_of_result=None, **settings):
    """A search of CoNAS in the space of :data:`SEARCH`, of 12 bits, which has measured these stages.

    ``measured``: per stage the encoders (m, 12) of -1 and +1, and their losses, None where not finite; ``best``: the
    architecture of least loss.
    """
    rows = {} if loss_of_result is None else {"choice/loss": loss_of_result}
    settings = CONAS | {"stages": len(measured)} | settings
    write_search(folder, [found or cells(["skip_connect:0"])], found, rows=rows, **settings)
    measurements = [
        {"stage": stage, "number": number, "bits": "".join("1" if bit > 0 else "0" for bit in row), "loss": loss}
        | {"acc": 40.0 + number % 2}
        for stage, (encoders, losses) in enumerate(measured, start=1)
        for number, (row, loss) in enumerate(zip(encoders, losses))
    ]
    write_rows(folder / "measurements.jsonl", measurements)
    if best:
        (folder / "best_sampled.json").write_text(json.dumps({"genotype": best}))
    return folder
