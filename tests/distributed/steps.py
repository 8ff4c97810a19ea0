"""Five steps of search, one-stage search and training in float64, on this process's part of each batch.

steps.py eval|sync_bn OUT       rank 0 writes what came out to OUT
"""

import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch

from isnas.base.distributed import is_main, join, leave, local_part
from isnas.base.options import build
from isnas.base.random import generator, initialising
from isnas.methods.one_stage import OneStage, OneStageOptions
from isnas.methods.sparse_architecture import ArchitectureOptions, SparseArchitecture
from isnas.methods.two_stage import TwoStage
from isnas.space.cells.network import super_net, target_network
from isnas.space.cells.operations import ONE_STAGE_BN, SEARCH_BN
from isnas.space.cells.published import published
from isnas.train.fixed import Training, TrainingOptions, draw_drop_path, mine
from isnas.train.optim import SgdOptions, make_sgd
from isnas.train.stepping import StepOptions, Stepping

CPU, STEPS, IMAGES = torch.device("cpu"), 5, 8
SIZES = {"stem": "cifar", "in_channels": 1, "num_classes": 10, "init_channels": 4, "layers": 3}


@dataclass(frozen=True)
class Options(TrainingOptions, OneStageOptions, ArchitectureOptions, SgdOptions, StepOptions):
    pass


def batch(number):
    drawn = torch.Generator().manual_seed(number)
    images = torch.randn(IMAGES, 1, 8, 8, generator=drawn, dtype=torch.float64)
    labels = torch.randint(10, (IMAGES,), generator=drawn)
    mine_alone = local_part(IMAGES)
    return images[mine_alone], labels[mine_alone]


def parts(options, network):
    stepping = Stepping(options, CPU)
    architecture = SparseArchitecture(options, generator(0, "architecture"))
    b_optimizer = torch.optim.Adam(architecture.parameters(), 0.05, betas=(0.5, 0.999), weight_decay=1e-3)
    return (
        stepping.place(network.double()),
        architecture,
        make_sgd(network.parameters(), options),
        b_optimizer,
        stepping,
    )


def run(case, synchronised):
    options = build(Options, {"batch_size": IMAGES, "sync_bn": synchronised, "arch_init_scale": 0.1, "grad_clip": 1.0})
    seen = []
    with initialising(0, "weights"):
        bn = SEARCH_BN if case == "search" else ONE_STAGE_BN
        network = (
            target_network(published("ISTA_onestage").genotype, **SIZES)
            if case == "training"
            else super_net(bn, **SIZES)
        )
    if case == "training":
        method = Training(network.double(), make_sgd(network.parameters(), options), Stepping(options, CPU), options)
        method.stepping.place(network)
    elif case == "search":
        method = TwoStage(*parts(options, network), grad_clip=1.0, recover_interval=1)
    else:
        method = OneStage(*parts(options, network), options, SIZES, 1)
    network.train(synchronised)
    for number in range(STEPS):
        if case == "training":
            drawn = draw_drop_path(0.3, IMAGES, network.num_connections(), generator(0, "drop_path", number))
            method.step(*batch(number), mine(drawn, CPU))
            continue
        method.recover() if case == "search" else method.recover(number)
        seen.append(method.genotype().hash())
        method.step(batch(number), batch(100 + number)) if case == "search" else method.step(*batch(number))
    exchange = method.stepping.exchange
    state = {"network": network.state_dict(), "genotypes": seen, "bytes": exchange.num_bytes if exchange else 0}
    if case != "training":
        state["architecture"] = method.architecture.state_dict()
        running = network.running_parameters(method.architecture.connections())
        state["running"] = sum(p.numel() * p.element_size() for p in running if p.requires_grad)
        state["b"] = sum(p.numel() * p.element_size() for p in method.architecture.b)
        state["all"] = sum(p.numel() * p.element_size() for p in network.parameters())
    return state


if __name__ == "__main__":
    join(CPU, 2.0)
    results = {case: run(case, sys.argv[1] == "sync_bn") for case in ("search", "one-stage", "training")}
    if is_main():
        torch.save(results, sys.argv[2])
    leave(0)
