# shellcheck shell=bash
# Sourced by the scripts beside it, which have set ROOT, PYTHON, CONFIG, DATA and RUN_DIR. It gives them
#
#   train TOOL FLAGS...     tools/TOOL on every task of the job; preempted or out of time, it is requeued and goes on
#
# SLURM warns the job by SIGUSR1 (--signal, or preempt_send_user_signal of the site), which goes on to the tool: its
# processes agree on a step, write one checkpoint and exit with code 85. A job that starts anew finds its run folder.

STOPPING=
TRAINING=
trap 'STOPPING=yes; [ -z "$TRAINING" ] || kill -USR1 "$TRAINING" 2>/dev/null' USR1 TERM

cd "$ROOT" || exit 2
# shellcheck source=scripts/common.sh
. scripts/common.sh
export MASTER_ADDR=${MASTER_ADDR:-$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)}
export MASTER_PORT=$((12000 + SLURM_JOB_ID % 20000)) # below the ports that Linux gives away by itself
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-${SLURM_CPUS_PER_TASK:-1}}
export PYTHONUNBUFFERED=1

train() {
    local tool=tools/$1 code job=$SLURM_JOB_ID
    shift
    if [ -n "${SLURM_ARRAY_JOB_ID:-}" ]; then # of one of its jobs the number alone means the whole array
        job=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID
    fi
    set_arguments "$@"
    echo "job $job on $SLURM_JOB_NODELIST, restart ${SLURM_RESTART_COUNT:-0}: $tool ${ARGUMENTS[*]}"

    # When a process fails the others say so and end, within --timeout_minutes; srun must not end them first.
    srun --kill-on-bad-exit=0 --wait=0 --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" \
        "$PYTHON" "$tool" "${ARGUMENTS[@]}" &
    TRAINING=$!
    if [ -n "$STOPPING" ]; then kill -USR1 "$TRAINING"; fi
    while kill -0 "$TRAINING" 2>/dev/null; do wait "$TRAINING"; done # a signal ends a wait
    wait "$TRAINING"
    code=$?
    if [ "$code" = 0 ] || [ "$(squeue --noheader --jobs="$job" --format=%T)" != RUNNING ]; then
        exit "$code" # done; or cancelled, or requeued by SLURM itself
    fi
    if [ "$code" = 85 ] || [ -n "$STOPPING" ]; then
        echo "job $job is requeued and goes on in $RUN_DIR"
        scontrol requeue "$job"
    fi
    exit "$code"
}
