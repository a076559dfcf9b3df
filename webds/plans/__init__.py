"""What is run: the plan of a dataset, how it divides samples or shards, mixes, and goes on from a state."""
