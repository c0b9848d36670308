#!/usr/bin/env python3
"""Disks that fail when there is no second copy to go on from: the peer is away, or only half copied. Needs root,
/dev/fuse, loop devices and build/bin/baton-mirrord.
"""
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "script", "lib"))
import mirror_test  # noqa: E402
from mirror_test import MIB, shell  # noqa: E402


class DiskAloneTest(mirror_test.FailingDiskTest):
    PLACE = "/var/tmp/baton-mirror-disk-alone-test"
    KEY = "mirror.lonely"
    port = 18040

    # ---- Without a peer ----

    def alone_with(self, *orders):
        """A is alone, and its disk fails."""
        device = self.begin()
        self.b.kill()
        self.alone(self.a)
        self.has(device, 0, self.data[:MIB])
        self.a.fault(*orders)
        return device

    def one(self, device, options, seconds=10):
        return subprocess.run(["bash", "-c", f"dd bs=4k count=1 {options.format(device)} 2>/dev/null"], timeout=seconds).returncode

    def test_read_error_alone(self):
        """An error for who reads these blocks, nothing else."""
        device = self.alone_with("read-error 1024 16")
        self.assertNotEqual(self.one(device, "if={} of=/dev/null iflag=direct skip=1024"), 0)
        self.assertEqual(self.one(device, "if={} of=/dev/null iflag=direct skip=2000"), 0)
        self.assertEqual(self.one(device, "if=/dev/zero of={} oflag=direct seek=9000"), 0)
        self.assertTrue(self.a.report["exported"], self.a.report)

    def test_write_error_alone(self):
        device = self.alone_with("write-error")
        self.assertNotEqual(self.one(device, "if=/dev/zero of={} oflag=direct seek=9000"), 0)
        self.a.notice("aborted")

    def test_hang_alone(self):
        device = self.alone_with("hang")
        self.assertNotEqual(self.one(device, "if=/dev/zero of={} oflag=direct seek=9000"), 0)
        self.a.notice("aborted")

    # ---- While a copy runs ----

    def copy_with(self, **faults):
        """A full copy of random data, slow enough to be met half done, with these faults from the start."""
        self.make(rate_limit=8 * MIB)
        for server in (self.a, self.b):
            shell(f"head -c {self.SIZE} /dev/urandom >{server.store}")
            server.fault(*faults.get("ab"[server.number - 1], ()))
        self.a.start()
        self.b.start()
        return self.a.promote()

    def test_source_cannot_be_read(self):
        """The copy does not end, the service goes on, people are told; when the blocks are back, it ends."""
        device = self.copy_with(a=["read-error 4000 8"])
        self.a.wait("it says so", lambda: self.a.report["problem"] or self.a.report["read_errors"], 20)
        self.assertEqual(self.one(device, "if=/dev/urandom of={} oflag=direct seek=9000"), 0)
        self.assertNotEqual(self.a.report["link"], "connected")
        self.assertFalse(self.b.report["consistent"])
        self.a.fault()
        self.both(40)
        self.a.linked()
        self.a.demote()
        self.equal()

    def test_target_cannot_be_written(self):
        device = self.copy_with(b=["write-error 9000 8"])
        self.b.says("alert", "failed to write", 20)
        self.assertEqual(self.one(device, "if=/dev/urandom of={} oflag=direct seek=100"), 0)
        self.assertEqual(self.cluster.state["in_sync"].keys(), {"1"})
        self.b.fault()
        self.b.stop()
        self.b.start()
        self.both(40)
        self.a.linked()
        self.a.demote()
        self.equal()

    def test_source_disk_dies_while_copying(self):
        """There is nobody else with the data: the export ends at once, and nobody takes the target for a copy."""
        device = self.copy_with()
        self.a.wait("it has begun", lambda: self.a.report["copy_done_bytes"] > MIB)
        self.a.fault("write-error")
        self.assertNotEqual(self.one(device, "if=/dev/urandom of={} oflag=direct seek=100"), 0)
        self.a.notice("aborted")
        self.assertEqual(self.cluster.state["in_sync"].keys(), {"1"})
        self.assertFalse(self.b.report["consistent"])


if __name__ == "__main__":
    sys.exit(mirror_test.run(__name__, DiskAloneTest))
