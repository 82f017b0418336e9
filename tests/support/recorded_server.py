"""`xds-server` with the recorder: what the tests start as a process, and its workers."""

import recorder

from xds_server.cli import main
from xds_server.workers import process

if __name__ == "__main__":
    recorder.install()
    process.PROGRAM = f"import recorder; recorder.install(); {process.PROGRAM}"
    main()
