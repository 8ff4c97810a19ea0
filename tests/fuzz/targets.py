"""All fuzz targets by name."""

from fuzz import chain_targets, data_targets, run_targets, text_targets, weights_targets

_MODULES = (text_targets, chain_targets, data_targets, run_targets, weights_targets)
TARGETS = {target.name: target for module in _MODULES for target in module.TARGETS}
