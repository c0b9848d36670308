#!/usr/bin/env python3
"""Disks that fail under a mirror: read errors are mended from the peer, a primary whose disk fails goes on at the peer, a
secondary whose disk fails is left behind, slow is told and not yet dead. Needs root, /dev/fuse, loop devices and
build/bin/baton-mirrord.
"""
import os
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "script", "lib"))
import mirror_test  # noqa: E402
from block_exerciser import Exerciser, LoopDisk  # noqa: E402
from mirror_test import MIB  # noqa: E402


class DiskTest(mirror_test.FailingDiskTest):
    PLACE = "/var/tmp/baton-mirror-disk-test"
    KEY = "mirror.disks"
    port = 17900

    def detached(self):
        """A's disk has failed; the service goes on at B."""
        self.alone(self.b)
        self.a.wait("detached", lambda: self.a.report.get("detached") and self.a.report.get("exported"))
        self.a.says("alert", "disk")
        self.b.says("alert", "this copy alone has the data")

    def hand_over_and_replace(self, *wanted):
        """The peer takes over, the old one gets a new disk and everything."""
        self.a.demote()
        device = self.b.promote()
        for first, data in wanted:
            self.has(device, first, data)
        self.b.wait("refused as a target", lambda: "baton mirror replace" in self.b.report["problem"])
        self.a.fault()
        answer = self.a.ask("replace")
        self.assertEqual(answer["notice"], "done", answer)
        self.assertEqual(self.a.process.wait(10), 0)
        self.a.connection.close()
        os.remove(self.a.store)
        self.a.start()
        self.b.linked(seconds=40)
        self.assertEqual(self.b.report["copy"], "full", self.b.report)
        self.both()
        self.b.demote()
        self.equal()

    def test_read_error_is_mended_from_the_peer(self):
        device = self.begin()
        self.a.fault("read-error-once 1024 512")
        self.has(device, 0, self.data)
        self.a.wait("it counts them", lambda: self.a.report["read_errors"] > 0)
        self.assertEqual(self.a.report["link"], "connected", self.a.report)
        self.assertFalse(self.a.report["detached"])
        self.a.demote()
        self.equal()

    def test_lasting_read_error_is_answered_from_the_peer(self):
        device = self.begin()
        self.a.fault("read-error 1024 512")
        for _ in range(2):
            self.has(device, 0, self.data)
        self.a.wait("it counts them", lambda: self.a.report["read_errors"] > 0)
        self.a.fault()
        self.has(device, 0, self.data)
        self.a.demote()
        self.equal()

    def test_rotten_blocks_are_written_anew(self):
        """A bad sector holds nothing any more: after the repair our own disk has the peer's data."""
        device = self.begin()
        with open(self.a.store, "r+b") as store:
            store.seek(4 * MIB)
            store.write(b"rot" * 4096)
        self.a.fault("read-error-once 1024 64")
        self.has(device, 0, self.data)
        self.a.demote()
        self.equal()

    def test_write_error_of_the_primary(self):
        device = self.begin()
        self.a.fault("write-error")
        more = self.fill(device, 20, 8)
        self.detached()
        self.has(device, 20, more)
        self.has(device, 0, self.data)
        self.hand_over_and_replace((0, self.data), (20, more))

    def test_flush_error_of_the_primary(self):
        device = self.begin()
        self.a.fault("flush-error")
        more = self.fill(device, 20, 2)
        self.detached()
        self.hand_over_and_replace((0, self.data), (20, more))

    def test_full_disk_of_the_primary(self):
        device = self.begin()
        self.a.fault("full")
        more = self.fill(device, 20, 2)
        self.detached()
        self.has(device, 20, more)

    def test_hanging_disk_of_the_primary(self):
        device = self.begin()
        self.a.fault("hang")
        begun = time.monotonic()
        more = self.fill(device, 20, 2)
        took = time.monotonic() - begun
        self.assertGreater(took, 1.5)
        self.assertLess(took, 6)
        self.detached()
        self.has(device, 0, self.data)
        self.has(device, 20, more)
        self.a.fault()

    def test_errors_under_load(self):
        """The exerciser sees no error and no wrong block while the primary's disk begins to fail."""
        device = mirror_test.PairTest.begin(self)  # without data
        exerciser = Exerciser(self.SIZE // 4096)
        exerciser.start(lambda: LoopDisk(device))
        self.a.fault("read-error-once 0 4096", "read-error-once 4096 4096")
        self.a.wait("read errors", lambda: self.a.report["read_errors"] > 0)
        self.a.fault("write-error")
        self.detached()
        done = exerciser.operations
        mirror_test.wait_for("it goes on", lambda: exerciser.operations > done + 200 or exerciser.errors)
        self.assertTrue(exerciser.stop(), exerciser.errors)
        self.a.demote()
        device = self.b.promote()
        self.assertEqual((exerciser.verify(lambda: LoopDisk(device)), exerciser.mismatches), (0, []))

    def test_link_lost_while_detached(self):
        device = self.begin()
        self.a.fault("write-error")
        self.fill(device, 20, 1)
        self.detached()
        outcome = []
        reader = subprocess.Popen(["bash", "-c", f"while dd if={device} of=/dev/null bs=64k count=16 iflag=direct 2>/dev/null;"
                                                 " do :; done"])
        self.b.kill()
        begun = time.monotonic()
        reader.wait(10)  # an error, not a hang
        outcome.append(time.monotonic() - begun)
        self.a.notice("aborted", "demoted", seconds=10)
        done = subprocess.run(["dd", "if=/dev/zero", f"of={device}", "bs=4k", "count=1", "oflag=direct"], timeout=10,
                              stderr=subprocess.DEVNULL)
        self.assertNotEqual(done.returncode, 0)

    def failing_secondary(self, *orders):
        device = self.begin()
        self.b.fault(*orders)
        begun = time.monotonic()
        more = self.fill(device, 20, 2)
        took = time.monotonic() - begun
        self.alone(self.a)
        return device, more, took

    def test_write_error_of_the_secondary(self):
        device, more, took = self.failing_secondary("write-error")
        self.assertLess(took, 5)
        self.b.says("alert", "failed to write")
        self.a.wait("people are told where to look", lambda: "disk failed to write" in self.a.report["problem"])
        self.has(device, 20, more)
        # "or rejoined because it is well again": the daemon is started anew and gets a fast copy
        self.b.fault()
        self.b.stop()
        self.b.start()
        self.both()
        self.a.linked()
        self.assertEqual(self.a.report["copy"], "fast", self.a.report)
        self.a.demote()
        self.equal()

    def test_replaced_disk_of_the_secondary(self):
        device, _, _ = self.failing_secondary("full")
        self.b.says("alert", "failed to write")
        self.assertEqual(self.a.ask("replace")["notice"], "failed")  # the copy in use
        answer = self.b.ask("replace")
        self.assertEqual(answer["notice"], "done", answer)
        self.assertEqual(self.b.process.wait(10), 0)
        self.b.fault()
        self.b.start()
        self.both()
        self.a.linked()
        self.assertEqual(self.a.report["copy"], "full", self.a.report)
        self.a.demote()
        self.equal()

    def test_hanging_disk_of_the_secondary(self):
        device, more, took = self.failing_secondary("hang")
        self.assertGreater(took, 1)
        self.assertLess(took, 5)  # peer_timeout, and a commit
        self.has(device, 20, more)

    def test_slow_is_not_dead(self):
        self.make(peer_timeout_ms=4000)
        device = self.begin()
        self.b.fault("slow 1700")  # much more than a quarter of both time-outs: daemons look at it once a second
        writer = threading.Thread(target=self.fill, args=(device, 20, 1))
        writer.start()
        self.a.wait("the peer is called slow", lambda: "other copy has not answered" in self.a.report.get("slow", ""))
        self.b.wait("the disk is called slow", lambda: "disk" in self.b.report.get("slow", ""))
        writer.join(20)
        self.assertFalse(writer.is_alive())
        self.b.fault()
        self.a.wait("no longer slow", lambda: not self.a.report.get("slow"))
        self.both(1)
        self.assertEqual(self.a.report["link"], "connected", self.a.report)
        self.a.demote()
        self.equal()


if __name__ == "__main__":
    sys.exit(mirror_test.run(__name__, DiskTest))
