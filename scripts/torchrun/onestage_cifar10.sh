#!/bin/bash
# One-stage ISTA-NAS on CIFAR-10, search and training, on one GPU.
#   scripts/torchrun/onestage_cifar10.sh [FLAGS OF tools/train_onestage.py]
# The same command goes on with a run that was stopped; another run wants another RUN_DIR. docs/cluster.md

# Your machine: edit here, or export the ISNAS_ variables.
ROOT=$(cd "$(dirname "$0")/../.." && pwd)
PYTHON=${ISNAS_PYTHON:-$ROOT/.venv/bin/python}
CONFIG=${ISNAS_CONFIG:-configs/cifar10_onestage.yaml}
DATA=${ISNAS_DATA-} # empty: data/ in the repository
RUN_DIR=${ISNAS_RUN_DIR:-$ROOT/runs/onestage-cifar10}
GPUS=${ISNAS_GPUS:-1}

# shellcheck source=scripts/torchrun/common.sh
. "$ROOT/scripts/torchrun/common.sh"
train train_onestage.py "$@"
