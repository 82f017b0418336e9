"""One backend that answers its own name, for a demonstration: `python -m xds_server.testing NAME HOST PORT`."""

import signal
import sys

from xds_server.testing.backend import Backend

if __name__ == "__main__":
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit())
    name, host, port = sys.argv[1:]
    with Backend(name, host=host, port=int(port)):
        while True:
            signal.pause()
