"""The command line `xds-server`: one file per command group. Errors are one sentence on stderr, never a traceback."""

import sys

from xds_server.cli import stopping


def main() -> None:
    """Entry point of `xds-server`."""
    if sys.argv[1:2] == ["serve"]:
        stopping.watch()
    # Only now, as these imports take a good part of a second.
    from xds_server.cli.commands import run

    run()
