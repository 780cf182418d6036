"""All tests of FlexGate.

The loop of the tests starts processes by fork. gRPC's own handlers of forks, meant for children that go on with gRPC,
can crash such a child before it becomes another program; none of ours goes on. Whether to have them is read when gRPC
is imported, so this stands before every import.
"""

import os

os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "false"
