"""`python -m tests.bench`: what a request costs here, against nginx and against a textbook aiohttp proxy.

Every figure is a ratio between processes measured in turns, in one run, on one machine: times of one machine say
nothing about another. The proxy under test has a core for itself, load and origin share the others, and what counts
is the CPU time that the kernel booked on the proxy's processes, divided by the requests that were answered.
docs/operations/benchmarks.md tells how to read the tables.
"""
