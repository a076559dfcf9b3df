"""What the command line does, as functions and small classes without a terminal.

Nothing here prints. Long work tells a `Progress` how far it is.
"""

from webds.tools.progress import NoProgress, Progress

__all__ = ["NoProgress", "Progress"]
