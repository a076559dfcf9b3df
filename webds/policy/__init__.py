"""What happens after an error, and where it is written down."""

from webds.policy.guard import (
    Guard,
    Handler,
    Ledger,
    Loss,
    Policy,
    PolicyLike,
    ignore_and_continue,
    ignore_and_stop,
    reraise_exception,
    warn_and_continue,
    warn_and_stop,
)

__all__ = [
    "Guard",
    "Handler",
    "Ledger",
    "Loss",
    "Policy",
    "PolicyLike",
    "ignore_and_continue",
    "ignore_and_stop",
    "reraise_exception",
    "warn_and_continue",
    "warn_and_stop",
]
