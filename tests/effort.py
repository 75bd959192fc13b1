"""How much a test tries: little in `make test`, always the same, and much in `make fuzz`, at random."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

__all__ = ["effort"]

_MORE = 20


def effort(examples: int, steps: int = 50, *, fixed: bool = False) -> settings:
    """Return the settings of a test that tries `examples` examples in `make test`, each of `steps` steps.

    `fixed` tries the same few in `make fuzz` too.
    """
    long = settings.get_current_profile_name() == "fuzz" and not fixed
    return settings(
        max_examples=examples * _MORE if long else examples,
        stateful_step_count=steps,
        derandomize=not long,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
    )
