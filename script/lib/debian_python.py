"""For tests that need libnbd's Python module, which belongs to Debian's own Python."""
import os
import sys


def need_nbd():
    """Goes on in Debian's Python where this one has no such module. Call it before anything else is done."""
    try:
        import nbd  # noqa: F401
    except ImportError:
        if sys.executable == "/usr/bin/python3":
            sys.exit(f"{sys.argv[0]} needs python3-libnbd")
        os.execv("/usr/bin/python3", ["/usr/bin/python3", "-B", *sys.argv])
