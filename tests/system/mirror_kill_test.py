#!/usr/bin/env python3
"""Either side is killed under load, under each protocol: what was promised is there, and the copies are equal after the
rejoin. Needs root, /dev/fuse, loop devices, python3-libnbd and build/bin/baton-mirrord.
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "script", "lib"))
import debian_python  # noqa: E402

debian_python.need_nbd()
import mirror_test  # noqa: E402
from block_exerciser import Exerciser, LoopDisk, NbdDisk  # noqa: E402
from mirror_test import wait_for  # noqa: E402


class KillTest(mirror_test.ProtocolPairTest):
    PLACE = "/var/tmp/baton-mirror-kill-test"
    KEY = "mirror.killed"
    port = 18060

    def kill_secondary(self, protocol):
        device = self.begin(protocol)
        exerciser = Exerciser(self.SIZE // 4096, seed=ord(protocol))
        exerciser.start(lambda: LoopDisk(device))
        for _ in range(2):
            done = exerciser.operations
            wait_for("some work", lambda: exerciser.operations > done + 300 or exerciser.errors)
            self.b.kill()
            self.alone(self.a)
            done = exerciser.operations
            wait_for("work alone", lambda: exerciser.operations > done + 300 or exerciser.errors)
            self.b.start()
            self.caught_up(self.a, protocol)
        self.assertTrue(exerciser.stop(), exerciser.errors)
        self.assertEqual((exerciser.verify(lambda: LoopDisk(device)), exerciser.mismatches), (0, []))
        self.a.demote()
        self.equal()

    def caught_up(self, primary, protocol):
        primary.linked()
        if protocol != "A":
            self.both()

    def kill_primary(self, protocol):
        """C and B: every acknowledged write is at the peer. A: it may lack the last ones, not the order of flushes."""
        device = self.begin(protocol)
        socket = self.a.details["nbd_socket"]
        exerciser = Exerciser(self.SIZE // 4096, seed=ord(protocol) + 1)
        exerciser.start(lambda: NbdDisk(socket) if exerciser.random.random() < 0.5 else LoopDisk(device))
        wait_for("some work", lambda: exerciser.operations > 600 or exerciser.errors)
        self.a.kill()
        exerciser.join()
        self.assertEqual(exerciser.mismatches, [])
        wait_for("the loop device is gone", lambda: not mirror_test.mirror_pair.own_loops(self.KEY))
        if protocol == "A":
            # The set is the former primary alone: it goes first again.
            first, second = self.a.start(), self.b
        else:
            first, second = self.b, self.a
        device = self.goes_first(first)
        self.assertEqual((exerciser.verify(lambda: LoopDisk(device)), exerciser.mismatches), (0, []))
        exerciser.start(lambda: LoopDisk(device))
        if not second.running():
            second.start()
        first.linked()
        self.assertEqual(first.report["copy"], "fast", first.report)
        done = exerciser.operations
        wait_for("more work", lambda: exerciser.operations > done + 200 or exerciser.errors)
        self.assertTrue(exerciser.stop(), exerciser.errors)
        self.caught_up(first, protocol)
        first.demote()
        self.equal()

    def test_a_kill_secondary(self):
        self.kill_secondary("A")

    def test_a_kill_primary(self):
        self.kill_primary("A")

    def test_b_kill_secondary(self):
        self.kill_secondary("B")

    def test_b_kill_primary(self):
        self.kill_primary("B")

    def test_c_kill_secondary(self):
        self.kill_secondary("C")

    def test_c_kill_primary(self):
        self.kill_primary("C")


if __name__ == "__main__":
    sys.exit(mirror_test.run(__name__, KillTest))
