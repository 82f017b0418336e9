"""Where a field of a translated Cluster was written: under `envoy:`, in one of the two spellings of proto JSON."""

from collections.abc import Mapping
from typing import Any

from xds_server.upstreams.model.base import Location


def written(envoy: Any, path: Location) -> Location:
    """The place of the field at `path` inside of `envoy`, or of its nearest parent there; () when nothing of it is there.

    `path` is in proto field names, keys of maps and indexes of lists.
    """
    found: Location = ()
    for step in path:
        names = (step, _camel(step)) if isinstance(step, str) else (step,)
        name = next((name for name in names if _has(envoy, name)), None)
        if name is None:
            break
        found, envoy = (*found, name), envoy[name]
    return found


def _has(value: Any, name: str | int) -> bool:
    if isinstance(value, Mapping):
        return name in value
    return isinstance(value, list) and name in range(len(value))


def _camel(field: str) -> str:
    first, *others = field.split("_")
    return first + "".join(map(str.capitalize, others))
