#!/usr/bin/env python3
"""`script/bench mirror --quick --json`: every figure is there and could be true, a run that was killed leaves nothing in
the way of the next, and the next leaves nothing at all. The limits proper are for a whole run on a quiet machine.

The last line is `N passed, N failed`.
"""
import glob
import json
import os
import shutil
import subprocess
import sys
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "script", "lib"))
import bench_exports  # noqa: E402
import mirror_pair  # noqa: E402

BENCH = [os.path.join(ROOT, "script", "bench"), "mirror"]
PEER = ["--peer", "qemu-quorum"] if shutil.which("qemu-storage-daemon") and shutil.which("qemu-nbd") else []
# What could be true on any machine, however busy: least and most.
SANE = {
    "raw_write_qd1_us": (1, 100_000), "floor_write_qd1_us": (5, 200_000), "nbd_write_qd1_ratio": (0.05, 500),
    "fuse_write_qd1_ratio": (0.05, 500), "write_flush_ratio": (0.05, 500), "nbd_write_qd32_share": (0.005, 20),
    "seq_write_share": (0.005, 20), "read_qd32_share": (0.01, 20), "mix_cost_percent": (-1000, 99.9),
    "mix_copying_cost_percent": (-1000, 99.9), "full_copy_share": (0.01, 20), "fast_copy_1pct_seconds": (0.0001, 60),
    "full_copy_seconds": (0.05, 180), "rss_mib": (1, 100), "idle_cpu_percent": (0, 5),
}
PEER_SANE = {"peer_write_qd1_ratio": (0.005, 500), "peer_write_qd32_ratio": (0.005, 500)}
# A copy that was over before the mix began has no such figure.
MAY_BE_ABSENT = {"mix_copying_cost_percent"}


def own_processes():
    found = []
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            arguments = open(path, "rb").read().split(b"\0")
        except OSError:
            continue
        if any(f"{bench_exports.PLACE}/".encode() in argument for argument in arguments[1:]):
            found.append(arguments)
    return found


class Bench(unittest.TestCase):
    def kill_one(self):
        """A run that is killed when its mirror stands."""
        run = subprocess.Popen(BENCH + ["--quick"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        for line in run.stderr:
            if "at rest" in line:
                break
        run.kill()
        run.wait()
        run.stderr.close()
        self.assertTrue(own_processes(), "the killed run should have left something behind")

    def test_every_figure_is_there_and_sane(self):
        self.kill_one()
        done = subprocess.run(BENCH + ["--quick", "--json"] + PEER, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True, timeout=240)
        self.assertEqual(done.returncode, 0, done.stderr[-2000:])
        figures = json.loads(done.stdout.splitlines()[-1])
        for key, (least, most) in {**SANE, **(PEER_SANE if PEER else {})}.items():
            with self.subTest(key=key):
                self.assertIn(key, figures)
                if figures[key] is None and key in MAY_BE_ABSENT:
                    continue
                self.assertIsNotNone(figures[key], done.stderr[-2000:])
                self.assertTrue(least <= figures[key] <= most, f"{key} = {figures[key]}")
        self.assertTrue(all(len(line) <= 80 for line in done.stdout.splitlines()[:-1]), done.stdout)
        self.assertEqual(own_processes(), [])
        self.assertFalse(os.path.exists(bench_exports.PLACE))
        for key in bench_exports.KEYS.values():
            self.assertEqual(mirror_pair.own_loops(key), [])


def main():
    if os.geteuid() != 0:
        print("tests/system/bench_test.py needs root")
        return 1
    if not shutil.which("fio"):
        print("tests/system/bench_test.py needs fio: apt-get install fio")
        return 1
    result = unittest.TextTestRunner(verbosity=2).run(unittest.defaultTestLoader.loadTestsFromTestCase(Bench))
    failed = len({getattr(test, "test_case", test).id() for test, _ in result.failures + result.errors})
    print(f"{result.testsRun - failed} passed, {failed} failed", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
