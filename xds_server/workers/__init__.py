"""Worker processes that share the xDS port, where one processor is not enough (`serve --workers`).

The manager is the process that was started: files, HTTP, the management over gRPC, the catalogue, translation. It listens for
no stream. Each worker runs a discovery server and a fleet of its own, and knows nothing of catalogues. They speak over a pair
of sockets that the worker inherits, in the messages of `protos/xds_server/workers/frames.proto`:

- down goes what is served, encoded: only what changed, in one message for each change, so that a worker does it at once
  (`mirror`, `outbox`);
- up come the groups that its nodes fell into (`grouping`), its part of the fleet, what it counted, and events for the log.

Start at `Workers` (`manager`) and at `main` (`worker`). Nothing is imported here: a worker needs little.
"""
