"""Round numbers on the axes of a page's charts."""

from __future__ import annotations

import math


def ticks(low: float, high: float, whole: bool = False) -> list[float]:
    """Some four to six round numbers from ``low`` to ``high``, with ``whole`` integers."""
    rough = (high - low) / 6
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    step = max(step, 1.0) if whole else step
    return [number * step for number in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten from ``low`` to ``high``, 2 and 5 times each too where these are few, or plain round numbers."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    factors = (1, 2, 5) if high / low < 4000.0 else (1,)
    found = [factor * 10.0**power for power in powers[:: -(-len(powers) // 9)] for factor in factors]
    found = [value for value in found if low <= value <= high]
    return found if len(found) > 1 else [value for value in ticks(low, high) if value > 0.0]
