"""The order plane: which sample comes next, where a value is from, and how far one has come. Pure, lazy, numpy."""
