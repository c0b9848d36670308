#!/usr/bin/env python3
"""Protocols A, B and C on a pair of daemons: when a write and a flush are answered, in what
order writes come to the peer, and that the disk is one whatever way it is used. Needs root, /dev/fuse, loop
devices, fio, python3-libnbd and build/bin/baton-mirrord.
"""
import os
import signal
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "script", "lib"))
import debian_python  # noqa: E402

debian_python.need_nbd()
import mirror_test  # noqa: E402
from block_exerciser import Exerciser, LoopDisk, NbdDisk, content  # noqa: E402
from mirror_test import MIB, shell, wait_for  # noqa: E402

SLOW_MS = 50


class ProtocolTest(mirror_test.ProtocolPairTest):
    PLACE = "/var/tmp/baton-mirror-protocol-test"
    KEY = "mirror.protocols"
    port = 17920

    def median_write_ms(self, disk, count=9):
        """Each one followed by nothing: what the client waits for a write."""
        times = []
        for at in range(count):
            begun = time.monotonic()
            disk.write(at * 8, os.urandom(4096))
            times.append((time.monotonic() - begun) * 1000)
        return sorted(times)[count // 2]

    def flush_ms(self, disk):
        disk.write(9000, os.urandom(4096))
        begun = time.monotonic()
        disk.flush()
        return (time.monotonic() - begun) * 1000

    def latencies(self, protocol):
        """Of a write and a flush while the peer's disk is slow."""
        device = self.begin(protocol)
        disk = LoopDisk(device)
        self.median_write_ms(disk)  # the activity log has its extents now
        self.b.fault(f"slow {SLOW_MS}")
        figures = self.median_write_ms(disk), self.flush_ms(disk)
        disk.close()
        print(f"  protocol {protocol}: write {figures[0]:.1f} ms, flush {figures[1]:.1f} ms, peer's disk {SLOW_MS} ms ",
              end="", flush=True)
        return figures

    def test_a_write_and_flush_are_local(self):
        write, flush = self.latencies("A")
        self.assertLess(write, SLOW_MS / 2)
        self.assertLess(flush, SLOW_MS)
        self.assertEqual(self.cluster.state["in_sync"].keys(), {"1"})
        device = self.a.device
        self.b.fault("slow 1000")
        self.fill(device, 8, 4)
        self.a.wait("it says how far the peer lags", lambda: self.a.report["lag_bytes"] >= MIB)
        self.b.fault()
        self.a.wait("the peer has caught up", lambda: self.a.report["lag_bytes"] == 0)
        self.a.demote()
        self.assertEqual(self.cluster.state["in_sync"].keys(), {"1", "2"})
        self.equal()
        self.b.promote()
        self.alone(self.b)

    def test_b_flush_waits_for_the_peer(self):
        write, flush = self.latencies("B")
        self.assertLess(write, SLOW_MS / 2)
        self.assertGreater(flush, SLOW_MS)
        self.assertEqual(self.cluster.state["in_sync"].keys(), {"1", "2"})
        self.b.fault()
        self.a.demote()
        self.equal()

    def test_c_write_and_flush_wait_for_the_peer(self):
        write, flush = self.latencies("C")
        self.assertGreater(write, SLOW_MS)
        self.assertGreater(flush, SLOW_MS)
        self.b.fault()
        self.a.demote()
        self.equal()

    def test_a_lag_has_an_end(self):
        """A peer that does not keep up makes writes wait: the lag is 64 MiB at most."""
        device = self.begin("A")
        self.b.fault("slow 400")
        writer = subprocess.Popen(["bash", "-c", f"for i in 1 2 3 4; do dd if=/dev/urandom of={device} bs=1M count=60 "
                                                 "oflag=direct 2>/dev/null; done"])
        self.a.wait("much lag", lambda: self.a.report["lag_bytes"] > 40 * MIB)
        highest = 0
        deadline = time.monotonic() + 2
        while time.monotonic() < deadline and writer.poll() is None:
            highest = max(highest, self.a.report["lag_bytes"])
            time.sleep(0.02)
        self.assertLessEqual(highest, 66 * MIB)
        self.b.fault()
        self.assertEqual(writer.wait(30), 0)
        self.a.wait("the peer has caught up", lambda: self.a.report["lag_bytes"] == 0, 30)
        self.a.demote()
        self.equal()

    def test_a_forced_peer_has_a_prefix(self):
        """When the primary's server is gone for good, an operator may go on with what the other copy has: as after a power
        cut a moment ago. What was written after a flush is never there without what was written before it."""
        device = self.begin("A")
        disk = LoopDisk(device)
        written = self.write_in_order(disk, 0, lambda number: number < 100)
        os.kill(self.b.process.pid, signal.SIGSTOP)  # for less than the link's time-out: it falls behind
        until = time.monotonic() + 0.7
        written = self.write_in_order(disk, written, lambda number: number < 900 and time.monotonic() < until)
        disk.close()
        self.a.kill()
        os.kill(self.b.process.pid, signal.SIGCONT)
        device = self.goes_first(self.b, forced=2)
        disk = LoopDisk(device)
        told = int.from_bytes(disk.read(0, 1)[:8], "little")
        there = 0
        while there < written and disk.read((there + 1) * 16, 16) == self.piece(there + 1):
            there += 1
        print(f"  {written - there} of {written} writes lost ", end="", flush=True)
        self.assertIn(told, (there - 1, there))
        for number in range(there + 2, written + 1):
            self.assertEqual(disk.read(number * 16, 16), bytes(16 * 4096), number)
        disk.close()
        self.a.start()
        self.b.wait("it has found out", lambda: self.b.report["link"] in ("refused", "connected"), 20)
        if self.b.report["link"] == "refused":
            self.assertEqual(self.a.ask("discard")["notice"], "done")
            self.b.linked()
        self.b.demote()
        self.equal()

    def piece(self, number):
        return b"".join(content(number, at) for at in range(number * 16, number * 16 + 16))

    def write_in_order(self, disk, number, more):
        """Data, a flush, and the note that it is there: as a database does."""
        while more(number):
            number += 1
            disk.write(number * 16, self.piece(number))
            disk.flush()
            disk.write(0, content(number, 0))
            disk.flush()
        return number

    def named(self):
        return self.cluster.state.get("trailing", {}) == {"2": self.b.report["incarnation"]}

    def test_a_copy_that_may_take_over_is_never_far_behind(self):
        """With max_lag the primary answers nothing more that such a copy would lack, until it may not take over any more."""
        self.make(protocol="A", max_lag_ms=1000)
        device = mirror_test.PairTest.begin(self)
        self.alone(self.a)
        wait_for("the other copy is named", self.named)
        disk = LoopDisk(device)
        self.median_write_ms(disk)
        answers, ended = [], threading.Event()

        def write():
            while not ended.is_set():
                try:
                    disk.write(len(answers) % 1000, os.urandom(4096))
                except OSError:  # its daemon was killed
                    return
                answers.append(time.monotonic())

        self.cluster.deaf = True
        begun = time.monotonic()
        self.b.fault("slow 4000")
        writer = threading.Thread(target=write)
        writer.start()
        self.a.wait("writes wait", lambda: "max_lag" in self.a.report.get("waiting", ""), 5)
        self.assertGreater(len(answers), 0)
        self.assertLess(answers[-1] - begun, 1.2)
        self.cluster.deaf = False
        wait_for("the other copy is not named any more", lambda: not self.cluster.state["trailing"])
        many = len(answers)
        wait_for("writes go on", lambda: len(answers) > many + 20)
        self.b.fault()
        wait_for("it has caught up and is named again", self.named, 30)
        self.a.kill()
        ended.set()
        writer.join(30)
        disk.close()
        self.goes_first(self.b, forced=0, trailing={})
        self.b.demote()

    def test_nothing_is_answered_before_the_record(self):
        """S2: the peer dies, and the cluster cannot record that this copy is alone."""
        device = self.begin("C")
        self.fill(device, 0, 1)
        self.cluster.deaf = True
        self.b.kill()
        writer = subprocess.Popen(["dd", "if=/dev/zero", f"of={device}", "bs=4k", "count=1", "oflag=direct"],
                                  stderr=subprocess.DEVNULL)
        self.a.wait("it says what it waits for", lambda: "in-sync = me" in self.a.report["waiting"])
        with self.assertRaises(subprocess.TimeoutExpired):
            writer.wait(1)
        self.cluster.deaf = False
        self.assertEqual(writer.wait(5), 0)

    def test_fio_verify(self):
        device = self.begin("C")
        shell(f"cd {self.PLACE} && fio --name=verify --filename={device} --direct=1 --rw=randwrite --bsrange=4k-128k "
              "--bs_unaligned=0 --blockalign=4k --iodepth=16 --ioengine=libaio --size=48m --verify=crc32c --fsync=64 "
              "--do_verify=1 --verify_fatal=1 --verify_state_save=0", timeout=60)
        self.a.demote()
        self.equal()

    def test_the_exerciser_sees_a_wrong_block(self):
        """Or all the others would prove nothing."""
        device = self.begin("C")
        exerciser = Exerciser(self.SIZE // 4096, seed=8, trims=False)
        exerciser.start(lambda: LoopDisk(device))
        wait_for("work", lambda: exerciser.operations > 300 or exerciser.errors)
        self.assertTrue(exerciser.stop(), exerciser.errors)
        with open(self.a.store, "r+b") as store:
            old = os.pread(store.fileno(), 4096, 5 * 4096)
            os.pwrite(store.fileno(), old[:4090] + b"wrong!", 5 * 4096)
            os.pwrite(store.fileno(), old, 6 * 4096)
            os.fsync(store.fileno())
        self.assertEqual((exerciser.verify(lambda: LoopDisk(device)), len(exerciser.mismatches)), (2, 2))

    def test_exerciser_through_both_ways_at_once(self):
        """The block device and the NBD socket are one disk."""
        device = self.begin("C")
        socket = self.a.details["nbd_socket"]
        turn = iter(range(1000))
        exerciser = Exerciser(self.SIZE // 4096, seed=7, threads=6)
        exerciser.start(lambda: NbdDisk(socket) if next(turn) % 2 else LoopDisk(device))
        wait_for("work", lambda: exerciser.operations > 3000 or exerciser.errors or exerciser.mismatches, 30)
        self.assertTrue(exerciser.stop(), exerciser.errors)
        self.assertEqual((exerciser.verify(lambda: NbdDisk(socket)), exerciser.mismatches), (0, []))
        self.a.demote()
        self.equal()


if __name__ == "__main__":
    sys.exit(mirror_test.run(__name__, ProtocolTest))
