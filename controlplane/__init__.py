"""The control plane, the system of record: validates and streams configuration, and takes back what nodes report."""

import os

# gRPC's core writes lines of its own to stderr, between our JSON lines; what matters of them arrives as exceptions.
# It reads this when it is first imported, so it is set where every import of the package comes by.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
