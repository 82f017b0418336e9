"""`xds-server` with the recorder: what the tests start as a process."""

import recorder

from xds_server.cli import main

if __name__ == "__main__":
    recorder.install()
    main()
