#!/usr/bin/env python3
"""The demo as a newcomer runs it, with five power cuts: everything it promises, and the median outage of a cut."""
import json
import os
import statistics
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "script", "lib"))
from cluster_test import run_tests  # noqa: E402

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
LONGEST_MEDIAN_MS = 2500
CUTS = 5


class Demo(unittest.TestCase):
    def test_five_cuts(self):
        done = subprocess.run([sys.executable, "-B", os.path.join(ROOT, "script", "lib", "demo.py"), "--json", "--cuts", str(CUTS)],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=400)
        self.assertEqual(done.returncode, 0, done.stdout)
        result = json.loads(done.stdout.splitlines()[-1])
        self.assertEqual((result["lost"], result["duplicated"], result["copies_identical"]), (0, 0, True), result)
        self.assertEqual(len(result["outages_ms"]), CUTS, result)
        median = statistics.median(result["outages_ms"])
        print(f"  outages {result['outages_ms']} ms, median {median} ms; fast copy {result['fast_copy_bytes']} bytes sent, "
              f"{result['fast_copy_read_bytes']} read")
        self.assertLess(median, LONGEST_MEDIAN_MS)
        # In proportion to what changed: a few seconds of small commits, not the mirror.
        self.assertLess(result["fast_copy_bytes"], result["mirror_bytes"] / 10)
        # Read is what was ever written since the copies agreed, by whole extents: the database with its log, 100 to 140 MiB.
        self.assertLess(result["fast_copy_read_bytes"], result["mirror_bytes"] / 2)


if __name__ == "__main__":
    sys.exit(run_tests(minutes=8))
