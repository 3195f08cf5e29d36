"""How many machines carry a load: measured service times, a simulation of Triton, and its proof.

`python -m benchmarks.capacity` plans, `benchmarks.capacity.measure` measures what it plans from,
and `benchmarks.capacity.check` compares the simulation with the real server. docs/capacity.md
explains it.
"""
