"""The management over gRPC: `protos/`, thin over the same functions as HTTP."""
