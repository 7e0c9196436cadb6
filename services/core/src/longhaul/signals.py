"""Names of signals, for evidence."""

from __future__ import annotations

import signal


def name_signal(number: int) -> str:
    """`SIGKILL` for 9. Real-time signals have no names of their own in Python: `SIGRTMIN+6` for 40 on Linux."""
    try:
        return signal.Signals(number).name
    except ValueError:
        if signal.SIGRTMIN < number < signal.SIGRTMAX:
            return f"SIGRTMIN+{number - signal.SIGRTMIN}"
        return f"signal {number}"
