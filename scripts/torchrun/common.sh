# shellcheck shell=bash
# Sourced by the scripts beside it, which have set ROOT, PYTHON, CONFIG, DATA, RUN_DIR and GPUS. It gives them
#
#   train TOOL FLAGS...     tools/TOOL, one process for each GPU
#
# SIGTERM and SIGUSR1 go on to the processes, which write one checkpoint and end; the same command goes on from there.

cd "$ROOT" || exit 2
# shellcheck source=scripts/common.sh
. scripts/common.sh

train() {
    local tool=tools/$1
    shift
    set_arguments "$@"
    if [ "$GPUS" = 1 ]; then
        exec "$PYTHON" "$tool" "${ARGUMENTS[@]}"
    fi
    export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$(($(nproc) / GPUS > 0 ? $(nproc) / GPUS : 1))}
    exec "$PYTHON" -m torch.distributed.run --standalone --nproc_per_node "$GPUS" --shutdown_timeout 300 \
        --signals_to_handle SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1 "$tool" "${ARGUMENTS[@]}"
}
