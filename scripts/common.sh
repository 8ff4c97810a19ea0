# shellcheck shell=bash
# Sourced by slurm/common.sh and the scripts in torchrun/: the first start of a run and its next ones, by one command.

# Sets ARGUMENTS to what a tool is told: to start the run in RUN_DIR, or to go on with it when it has begun, and "$@".
set_arguments() {
    local word
    for word in "$@"; do
        case $word in # would be refused once the run has begun
            --config* | --run?dir* | --resume*) echo "set CONFIG or RUN_DIR instead of $word" >&2 && exit 2 ;;
        esac
    done
    if [ ! -e "$RUN_DIR/config.yaml" ]; then
        ARGUMENTS=(--run_dir "$RUN_DIR" --config "$CONFIG" ${DATA:+--data "$DATA"} "$@")
        return
    fi
    ARGUMENTS=(--resume "$RUN_DIR" ${DATA:+--data "$DATA"})
    while [ $# -gt 0 ]; do # the run has kept the architecture itself, whatever file it was in
        case $1 in
            --arch) shift ;;
            --arch=*) ;;
            *) ARGUMENTS+=("$1") ;;
        esac
        shift
    done
}
