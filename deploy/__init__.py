"""Everything that runs fovea in production, and the programs that check it."""
