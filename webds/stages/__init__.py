"""The steps of a plan: each turns an iterator of items into another; none of them is a dataset."""
