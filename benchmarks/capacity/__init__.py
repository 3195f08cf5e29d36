"""How many machines carry a load: measured service times, and a simulation of Triton.

`python -m benchmarks.capacity` plans, `python -m benchmarks.capacity.measure` measures what it
plans from. docs/capacity.md explains it.
"""
