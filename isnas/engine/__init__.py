"""What every run needs and no method should know: schedules, run folders, checkpoints, logs, progress."""
