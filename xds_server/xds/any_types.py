"""Finds the message class behind the type URL of a `google.protobuf.Any`.

A type is only known to protobuf once its module is imported, and importing all of Envoy's protos takes seconds: the
package that a type URL names is imported when the first such Any is met.
"""

import importlib
import pkgutil
import re
from functools import lru_cache
from typing import Any, Final

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.message import Message

# Type URLs come from users: only the packages of Envoy's protos are ever imported for one.
_PACKAGE: Final = re.compile(r"((?:envoy|udpa|xds)(?:\.[a-z][a-z0-9_]*)+)\.[A-Z]")


@lru_cache(maxsize=4096)
def message_class(type_url: str) -> type[Message] | None:
    """The class for `type.googleapis.com/<full name>`, or None for a type that our protos do not have.

    As in Envoy, only what follows the last slash counts, and there must be one.
    """
    _, slash, name = type_url.rpartition("/")
    if not slash:
        return None
    pool = descriptor_pool.Default()
    try:
        return message_factory.GetMessageClass(pool.FindMessageTypeByName(name))
    except KeyError:
        _import_package_of(name)
    try:
        return message_factory.GetMessageClass(pool.FindMessageTypeByName(name))
    except KeyError:
        return None


def _import_package_of(name: str) -> None:
    found = _PACKAGE.match(name)
    if found is None:
        return
    try:
        package = importlib.import_module(found[1])
    except ModuleNotFoundError:
        return
    for module in pkgutil.iter_modules(package.__path__):
        if module.name.endswith("_pb2"):
            importlib.import_module(f"{package.__name__}.{module.name}")


class _LazyPool:
    """A descriptor pool, for what `json_format` needs of one, that finds types as `message_class` does."""

    def FindMessageTypeByName(self, name: str) -> Any:  # noqa: N802 - protobuf's name
        """Raises KeyError for an unknown type."""
        found = message_class(f"/{name}")
        if found is None:
            raise KeyError(name)
        return found.DESCRIPTOR


LAZY_POOL: Final[Any] = _LazyPool()
"""To be given as `descriptor_pool`."""
