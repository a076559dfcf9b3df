"""The front: the builder, and the datasets and loaders that it builds."""
