"""All fuzz targets by name."""

from fuzz import data_targets, run_targets, text_targets

TARGETS = {target.name: target for module in (text_targets, data_targets, run_targets) for target in module.TARGETS}
