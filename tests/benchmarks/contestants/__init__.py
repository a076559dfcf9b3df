"""Who does the work: one module for each kind of it, one function for each contestant.

Every peer does what its documentation recommends. Packages are imported inside the functions, so that a process
has only those of its contestant.
"""
