"""Five steps of the searches and of trainings in float64, on this process's part of each batch.

steps.py eval|sync_bn OUT       rank 0 writes what came out to OUT
"""

import sys
from functools import partial

import torch
from settings import CPU, make_method, noise
from small_texts import drawn_words, in_windows, make_language

from isnas.base.distributed import gathered, is_main, join, leave, local_part, world_size
from isnas.base.random import generator
from isnas.data.text.batches import local_columns
from isnas.engine.averages import evaluate
from isnas.engine.language.averages import WordAverages
from isnas.methods.language_model import LanguageModel
from isnas.methods.language_search import RecurrentConas, RecurrentRandomWS
from isnas.space.connections import Connections
from isnas.train.fixed import draw_scales, mine
from isnas.train.language import mean_loss

STEPS, IMAGES = 5, 8
#: two-stage searches and their presets
SEARCHES = {"search": "paper", "released": "released"}
#: and in the space of chains, where b turns far enough to change the blocks
IN_CHAINS = {"chain": "two_stage", "chain_onestage": "one_stage"}
#: searches that run all candidates
MIXED = {"darts": ("darts", {}), "unrolled": ("darts", {"unrolled": True}), "partial": ("pc_darts", {})}
#: random searches, whose steps are of W alone; `random` goes through three architectures
RANDOM = {"random_ws": {}, "random": {"samples": 3, "epochs": 2}}
#: and CoNAS, which then measures architectures on batches that the processes share
MEASURED = {"measurements": 30, "monomials": 4, "stages": 2, "measure_batches": 2}
RANDOM["conas"] = MEASURED
#: and sampled recovery, two of whose steps are of W alone
RANDOM["sampled_recovery"] = {"epochs": STEPS, "warmup_portion": 0.4}
#: searches and a training on text
TEXT = {"text_conas": RecurrentConas, "text_random_ws": RecurrentRandomWS, "text_training": LanguageModel}


def batch(number):
    images, labels = noise(number, IMAGES, image_size=8)
    mine_alone = local_part(IMAGES)
    return images[mine_alone], labels[mine_alone]


def make(case, synchronised):
    common = {"batch_size": IMAGES, "sync_bn": synchronised, "learning_rate": 0.1, "grad_clip": 1.0}
    common["recompute"] = synchronised and world_size() > 1  # which must be what one process keeps
    if case in IN_CHAINS:
        each = {"recover_every": "step"} if case == "chain" else {"termination_interval": "1"}
        return make_method(IN_CHAINS[case], space="chain", arch_learning_rate=1e-3, **common | each)
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
            drawn = draw_scales(0.3, IMAGES, network.num_connections(), generator(0, "drop_path", number))
            method.step(*batch(number), mine(drawn, CPU))
            continue
        if case in RANDOM:
            method.begin_epoch(number)
            method.network.train(synchronised).double()
            method.before_step(number)
        elif case not in MIXED:
            method.recover() if case in (*SEARCHES, "chain") else method.recover(number)
        seen.append(method.genotype().hash())
        batches = [batch(100 * split + number) for split in range(len(method.splits))]
        method.step(*batches[0]) if case in ("one-stage", "chain_onestage") else method.step(*batches)
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


def run_text(case):
    """A batch of 8 columns, and a text of 3 that some of 4 processes have nothing of."""
    own = {"arch": "random:3", "nonmono": 0} if case == "text_training" else {"num_nodes": 3}
    made = make_language(TEXT[case], batch_size=IMAGES, grad_clip=0.05, alpha=0.5, beta=0.5, **own)
    averages, seen = WordAverages(CPU), []
    made.begin_epoch()
    for number in range(STEPS):
        if case == "text_training":
            made.validated(float(number), number)  # from step 2 on the weights are averaged
        else:
            made.before_step(number)
            seen.append(made.genotype().hash())
        words = [drawn_words(5, IMAGES, f"{part} {number}")[:, local_part(IMAGES)] for part in ("x", "y")]
        averages.add(made.step(tuple(words), 1.0, 0, number), words[0].numel())
    table = local_columns(drawn_words(12, 3, "text"))
    connections = None if case == "text_training" else Connections(made.support)
    measured = {
        "trained": averages.scores().loss,
        "text": mean_loss(made.network, in_windows(table, 4), connections),
        "states": torch.cat(gathered(made.descent.state)),
        "columns": float(sum(gathered(table.shape[1]))),
    }
    if case == "text_training":
        measured |= {f"mean of {name}": value for name, value in made.result.state_dict().items()}
    return {"network": made.network.state_dict(), "genotypes": seen, "measured": measured}


if __name__ == "__main__":
    join(CPU, 2.0)
    cases = (*SEARCHES, "one-stage", "training", *IN_CHAINS, *MIXED, *RANDOM)
    results = {case: run(case, sys.argv[1] == "sync_bn") for case in cases}
    results |= {case: run_text(case) for case in TEXT}
    if is_main():
        torch.save(results, sys.argv[2])
    leave(0)
