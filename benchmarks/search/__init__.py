"""What object search costs: jobs, the decoder for grids, a million vectors, and peers."""
