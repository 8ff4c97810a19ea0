#!/usr/bin/env bash
# The ImageNet tools on a small folder of real JPEGs, as two processes on one machine: one-stage search, training and
# absorption, the found cell trained again, and the transfer of ISTA_onestage. About 2 minutes on 2 cores.
#   scripts/small_imagenet.sh [FOLDER]
set -euo pipefail
cd "$(dirname "$0")/.."
folder=${1:-runs/small_imagenet}
python=${ISNAS_PYTHON:-python}
run() { "$python" -m torch.distributed.run --standalone --nproc_per_node 2 "$@"; }

"$python" benchmarks/small_imagenet.py "$folder/images"
run tools/train_onestage.py --config configs/smoke/small_imagenet_onestage.yaml \
    --data "$folder/images" --run_dir "$folder/onestage"
for arch in "$folder/onestage" ISTA_onestage; do
    run tools/evaluate_imagenet.py --config configs/smoke/small_imagenet_evaluate.yaml --arch "$arch" \
        --data "$folder/images" --run_dir "$folder/trained-$(basename "$arch")"
done
"$python" tools/test.py "$folder/onestage"
"$python" tools/summarize.py "$folder/onestage" "$folder"/trained-*
