#!/bin/bash
# One-stage ISTA-NAS on ImageNet, search and training, on the 8 GPUs of this machine.
#   scripts/torchrun/onestage_imagenet.sh [FLAGS OF tools/train_onestage.py]
# The same command goes on with a run that was stopped; another run wants another RUN_DIR. docs/cluster.md

# Your machine: edit here, or export the ISNAS_ variables.
ROOT=$(cd "$(dirname "$0")/../.." && pwd)
PYTHON=${ISNAS_PYTHON:-$ROOT/.venv/bin/python}
CONFIG=${ISNAS_CONFIG:-configs/imagenet_onestage.yaml}
DATA=${ISNAS_DATA-/path/to/imagenet} # with train/ and val/, or the shards of tools/make_shards.py
RUN_DIR=${ISNAS_RUN_DIR:-$ROOT/runs/onestage-imagenet}
GPUS=${ISNAS_GPUS:-8}

# shellcheck source=scripts/torchrun/common.sh
. "$ROOT/scripts/torchrun/common.sh"
train train_onestage.py "$@"
