"""How much is measured: seconds for the tests, minutes for `make benchmark`, more when asked for."""

from enum import StrEnum


class Size(StrEnum):
    """Of a run. A workload says what each means for it."""

    SMOKE = "smoke"
    SHORT = "short"
    FULL = "full"
