"""How many machines carry a load: measured service times, a simulation of Triton, and its proof.

`python -m benchmarks.capacity` plans, `benchmarks.capacity.measure` measures what it plans from,
`benchmarks.capacity.check` compares the simulation with the real server, and
`benchmarks.capacity.sweep` draws what batching delay and load do. docs/capacity.md explains it.
"""
