"""The mathematics of recovery, in float64 on the host: no networks, no files."""
