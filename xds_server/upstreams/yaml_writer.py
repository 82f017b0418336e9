"""Plain data as YAML that `yaml_text` reads back as the same.

PyYAML quotes what YAML 1.1 would take for something else than text. YAML 1.2 takes other things for numbers: a label `12e45`,
say the beginning of a hash, would come back as one.
"""

from typing import Any

import yaml

from xds_server.upstreams.yaml_text import resolve


def write_yaml(data: Any) -> str:
    """One YAML document, with fields in their order."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


class _Dumper(yaml.SafeDumper):
    pass


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=None if _is_text(value) else "'")


def _is_text(value: str) -> bool:
    try:
        return bool(resolve(value) == value)
    except ValueError:
        return False


_Dumper.add_representer(str, _text)
