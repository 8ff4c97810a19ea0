"""Five steps of the searches and of a training in float64, on this process's part of each batch.

steps.py eval|sync_bn OUT       rank 0 writes what came out to OUT
"""

import sys
from functools import partial

import torch
from settings import CPU, make_method, noise

from isnas.base.distributed import is_main, join, leave, local_part
from isnas.base.random import generator
from isnas.engine.averages import evaluate
from isnas.train.fixed import draw_drop_path, mine

STEPS, IMAGES = 5, 8
#: two-stage searches and their presets
SEARCHES = {"search": "paper", "released": "released"}
#: searches that run all candidates
MIXED = {"darts": ("darts", {}), "unrolled": ("darts", {"unrolled": True}), "partial": ("pc_darts", {})}
#: random searches, whose steps are of W alone; `random` goes through three architectures
RANDOM = {"random_ws": {}, "random": {"samples": 3, "epochs": 2}}
#: and CoNAS, which then measures architectures on batches that the processes share
MEASURED = {"measurements": 30, "monomials": 4, "stages": 2, "measure_batches": 2}
RANDOM["conas"] = MEASURED
#: and sampled recovery, two of whose steps are of W alone
RANDOM["sampled_recovery"] = {"epochs": STEPS, "warmup_portion": 0.4}


def batch(number):
    images, labels = noise(number, IMAGES, image_size=8)
    mine_alone = local_part(IMAGES)
    return images[mine_alone], labels[mine_alone]


def make(case, synchronised):
    common = {"batch_size": IMAGES, "sync_bn": synchronised, "learning_rate": 0.1, "grad_clip": 1.0}
    if case == "training":
        return make_method("evaluation", arch="ISTA_onestage", **common)
    if case in RANDOM:
        return make_method(case, num_nodes=2, **common | RANDOM[case])
    common |= {"arch_init_scale": 0.1, "arch_learning_rate": 0.05, "arch_weight_decay": 1e-3}
    if case in MIXED:
        name, more = MIXED[case]
        return make_method(name, num_nodes=2, **common | more)
    if case in SEARCHES:
        return make_method("two_stage", recover_every="step", preset=SEARCHES[case], **common)
    return make_method("one_stage", termination_interval="1", **common)


def judge(method, predict, num_batches, first=0, whole=False):
    """Scores on batches that training has not seen."""
    method.network.eval()
    return evaluate(predict, map(batch, range(1000 + first, 1000 + first + num_batches)), CPU)


def run(case, synchronised):
    method, seen = make(case, synchronised), []
    network = method.network.train(synchronised)
    for number in range(STEPS):
        if case == "training":
            drawn = draw_drop_path(0.3, IMAGES, network.num_connections(), generator(0, "drop_path", number))
            method.step(*batch(number), mine(drawn, CPU))
            continue
        if case in RANDOM:
            method.begin_epoch(number)
            method.network.train(synchronised).double()
            method.before_step(number)
        elif case not in MIXED:
            method.recover() if case in SEARCHES else method.recover(number)
        seen.append(method.genotype().hash())
        batches = [batch(100 * split + number) for split in range(len(method.splits))]
        method.step(*batches[0]) if case == "one-stage" else method.step(*batches)
    if case == "sampled_recovery":
        method.recover()
        seen.append(method.genotype().hash())
    if case == "conas":
        rows = [row for row in method.choose(partial(judge, method)) if row]
        seen.append(method.genotype().hash())
    exchange = method.stepping.exchange
    state = {"network": method.network.state_dict(), "genotypes": seen, "bytes": exchange.num_bytes if exchange else 0}
    if case == "conas":
        state["measured"] = {"losses": torch.tensor([row["loss"] for row in rows], dtype=torch.float64)}
    if hasattr(method, "architecture"):
        state["architecture"] = method.architecture.state_dict()
    if case in ("search", "one-stage"):
        running = network.running_parameters(method.architecture.connections())
        state["running"] = sum(p.numel() * p.element_size() for p in running if p.requires_grad)
        state["b"] = sum(p.numel() * p.element_size() for p in method.architecture.b)
        state["all"] = sum(p.numel() * p.element_size() for p in network.parameters())
    return state


if __name__ == "__main__":
    join(CPU, 2.0)
    cases = (*SEARCHES, "one-stage", "training", *MIXED, *RANDOM)
    results = {case: run(case, sys.argv[1] == "sync_bn") for case in cases}
    if is_main():
        torch.save(results, sys.argv[2])
    leave(0)
