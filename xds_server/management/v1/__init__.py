"""Messages and stubs of the management over gRPC, generated from `protos/`: what Python clients import."""
