"""The demo world: scenes with known truth, and the small checkpoints trained on them."""
