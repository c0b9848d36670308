#!/usr/bin/env python3
"""Copies between a pair of mirror daemons: their rate, what they leave out (zeroes, what is equal), that an interrupted one
goes on, trims. Needs root, /dev/fuse, loop devices and build/bin/baton-mirrord.
"""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "script", "lib"))
import mirror_test  # noqa: E402
from block_exerciser import LoopDisk  # noqa: E402
from mirror_test import MIB, shell, wait_for  # noqa: E402


class CopyTest(mirror_test.PairTest):
    PLACE = "/var/tmp/baton-mirror-copy-test"
    KEY = "mirror.copied"
    port = 18020

    def random_stores(self):
        for server in self.cluster.servers:
            shell(f"head -c {self.SIZE} /dev/urandom >{server.store}")

    # ---- Rate ----

    def full_copy_seconds(self, **settings):
        self.make(**settings)
        self.random_stores()
        begun = time.monotonic()
        self.begin()
        took = time.monotonic() - begun
        self.assertEqual(self.a.report["copy"], "full")
        self.assertEqual(self.a.report["copy_sent_bytes"], self.SIZE)
        return took

    def test_rate_as_set_and_adaptive(self):
        wanted = self.SIZE / (8 * MIB)
        limited = self.full_copy_seconds(rate_limit=8 * MIB)
        self.tearDown()
        self.setUp()
        adaptive = self.full_copy_seconds()
        print(f"  {self.SIZE // MIB} MiB: {limited:.1f} s at 8 MiB/s, {adaptive:.1f} s adaptive ", end="", flush=True)
        self.assertGreater(limited, 0.85 * wanted)
        self.assertLess(limited, 1.4 * wanted + 1)
        self.assertLess(adaptive, limited / 3)

    def test_rate_is_changed_under_way(self):
        self.make(rate_limit=2 * MIB)
        self.random_stores()
        self.a.start()
        self.b.start()
        self.a.promote()
        self.a.wait("it has begun", lambda: self.a.report["copy_done_bytes"] > MIB)
        self.assertEqual(self.a.report["link"], "copying")
        self.assertFalse(self.b.report["consistent"])
        begun = time.monotonic()
        self.a.send({"request": "set_rate", "bytes_per_second": 0})
        self.a.linked()
        self.assertLess(time.monotonic() - begun, 8)
        self.assertEqual(self.a.report["rate_limit"], 0)
        self.b.wait("consistent", lambda: self.b.report["consistent"])

    # ---- What is left out ----

    def space(self, server):
        return os.stat(server.store).st_blocks * 512

    def test_zeroes_are_not_sent(self):
        """And stay holes at the target."""
        shell(f"truncate -s {self.SIZE} {self.a.store}; dd if=/dev/urandom of={self.a.store} bs=1M count=4 seek=30 conv=notrunc 2>&1; "
              f"head -c {self.SIZE} /dev/urandom >{self.b.store}")
        self.begin()
        self.assertEqual(self.a.report["copy"], "full")
        self.assertEqual(self.a.report["copy_sent_bytes"], 4 * MIB)
        self.assertEqual(self.a.report["copy_zero_bytes"], self.SIZE - 4 * MIB)
        self.a.demote()
        self.equal()
        self.assertLess(self.space(self.b), 8 * MIB)

    def test_trims_give_space_back_on_both(self):
        device = self.begin()
        self.fill(device, 0, 32)
        shell(f"blkdiscard -o {8 * MIB} -l {16 * MIB} {device}")
        for server in (self.a, self.b):
            wait_for("the space", lambda server=server: self.space(server) <= 18 * MIB)
        disk = LoopDisk(device)
        self.assertEqual(disk.read(8 * 256, 64), bytes(64 * 4096))
        disk.close()
        self.a.demote()
        self.equal()

    def test_fast_copy_sends_what_changed(self):
        self.SIZE = 256 * MIB
        self.make()
        device = self.begin()
        self.fill(device, 0, 128)
        self.b.kill()
        self.alone(self.a)
        disk = LoopDisk(device)
        for at in range(100):
            disk.write(at * 321, os.urandom(4096))
        disk.close()
        self.b.start()
        self.both()
        self.a.linked()
        print(f"  400 KiB changed: {self.a.report['copy_sent_bytes'] >> 10} KiB sent, "
              f"{self.a.report['copy_read_bytes'] / MIB:.0f} MiB read ", end="", flush=True)
        self.assertEqual(self.a.report["copy"], "fast")
        self.assertGreaterEqual(self.a.report["copy_sent_bytes"], 400 << 10)
        self.assertLess(self.a.report["copy_sent_bytes"], 4 * MIB)
        self.a.demote()
        self.equal()

    # ---- Interrupted ----

    def test_an_interrupted_full_copy_goes_on(self):
        self.make(rate_limit=16 * MIB)
        self.random_stores()
        self.a.start()
        self.b.start()
        self.a.promote()
        self.a.wait("more than half", lambda: self.a.report["copy_sent_bytes"] > self.SIZE * 5 // 8)
        self.b.kill()
        self.a.linked("down")
        self.b.start()
        self.both()
        self.a.linked()
        self.assertLess(self.a.report["copy_sent_bytes"], self.SIZE * 5 // 8, self.a.report)
        self.a.demote()
        self.equal()

    def test_the_source_restarts_during_a_full_copy(self):
        """Clean or not, nothing is taken for copied that is not."""
        self.make(rate_limit=16 * MIB)
        self.random_stores()
        self.a.start()
        self.b.start()
        self.a.promote()
        self.a.wait("it has begun", lambda: self.a.report["copy_sent_bytes"] > 8 * MIB)
        self.a.kill()
        wait_for("the loop device is gone", lambda: not mirror_test.mirror_pair.own_loops(self.KEY))
        self.a.start()
        self.cluster.commit(in_sync={})
        self.a.send({"request": "set_rate", "bytes_per_second": 0})
        self.a.promote()
        self.both()
        self.a.linked()
        self.a.demote()
        self.equal()

    def test_broken_off_in_the_middle(self):
        self.make(rate_limit=8 * MIB)
        self.random_stores()
        self.a.start()
        self.b.start()
        device = self.a.promote()
        self.a.wait("it has begun", lambda: self.a.report["copy_sent_bytes"] > 4 * MIB)
        self.cluster.commit(broken=True)
        self.a.linked("down")
        self.assertIn("unfinished copy", self.b.ask("backup", wanted=True).get("reason", ""))
        self.fill(device, 0, 2)
        self.a.send({"request": "set_rate", "bytes_per_second": 0})
        self.cluster.commit(broken=False)
        self.both()
        self.a.linked()
        self.a.demote()
        self.equal()


if __name__ == "__main__":
    sys.exit(mirror_test.run(__name__, CopyTest))
