"""Run one program and print, as JSON, what it took: ``python -I -S launch.py PROGRAM ARGUMENT …``.

A small process of its own, as the peak memory that Linux tells of a child begins with the memory of its parent.
"""

from __future__ import annotations

import json
import os
import sys
import time


def main() -> None:
    """Start the program with its output thrown away, wait for it and its children, print the account."""
    begun = time.perf_counter()
    process = os.fork()
    if not process:
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os.execv(sys.argv[1], sys.argv[1:])
        finally:
            os._exit(127)
    _, status, used = os.wait4(process, 0)
    account = {
        "status": os.waitstatus_to_exitcode(status),
        "wall": time.perf_counter() - begun,
        "cpu": used.ru_utime + used.ru_stime,
        "peak": used.ru_maxrss * 1024,
    }
    print(json.dumps(account))


main()
