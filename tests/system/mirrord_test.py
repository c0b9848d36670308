#!/usr/bin/env python3
"""The mirror daemon, two of them on this machine: real stores, real loop devices, and a small stand-in for batond that
commits what they propose. Needs root, /dev/fuse, loop devices and build/bin/baton-mirrord.

Everything waits for events with a deadline. The last line is `N passed, N failed`.
"""
import os
import signal
import subprocess
import sys
import time
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "script", "lib"))
import mirror_pair  # noqa: E402
from mirror_pair import MIRRORD, Server, own_mounts, shell, wait_for  # noqa: E402

PLACE = "/var/tmp/baton-mirrord-test"
KEY = "test.disk"
SIZE = 64 << 20
MIB = 1 << 20


def clean_up():
    mirror_pair.clean_up(PLACE, KEY)


def own_loops():
    return mirror_pair.own_loops(KEY)


class Mirrord(unittest.TestCase):
    port = 17850

    def setUp(self):
        clean_up()
        os.makedirs(f"{PLACE}/mount")
        Mirrord.port += 1
        self.make(SIZE)

    def make(self, size):
        shell(f"rm -rf {PLACE}/server*")
        self.size = size
        self.cluster = mirror_pair.Cluster(PLACE, KEY, size)
        self.a = Server(self.cluster, 1, self.port)
        self.b = Server(self.cluster, 2, self.port)
        self.cluster.servers = [self.a, self.b]

    def tearDown(self):
        for server in self.cluster.servers:
            if server.process and server.process.poll() is None:
                server.kill()
        clean_up()

    def begin(self):
        """Both running, A exported, B a full copy in sync."""
        self.a.start()
        self.b.start()
        device = self.a.promote()
        self.a.linked()
        return device

    def mount(self, device, make=True):
        if make:  # without a trim of the whole disk: that makes every extent a hot one
            shell(f"mkfs.ext4 -q -E nodiscard {device}")
        shell(f"mount {device} {PLACE}/mount")

    def equal(self):
        shell(f"cmp -n {self.size} {self.a.store} {self.b.store}")

    def test_0_two_new_stores_need_no_copy(self):
        device = self.begin()
        self.assertEqual((self.a.report["copy_sent_bytes"], self.a.report["copy_read_bytes"]), (0, 0), self.a.report)
        self.assertNotEqual(self.a.report["copy"], "full", self.a.report)
        shell(f"dd if=/dev/urandom of={device} bs=1M count=4 seek=20 oflag=direct conv=fsync 2>&1")
        self.a.demote()
        self.equal()

    def test_1_full_copy_filesystem_and_hand_over(self):
        shell(f"head -c {self.size} /dev/urandom >{self.b.store}")
        device = self.begin()
        self.assertEqual(self.a.report["copy"], "full", self.a.report)
        self.assertEqual(shell(f"cat /sys/block/{device[5:]}/loop/dio").stdout.strip(), "1")
        self.mount(device)
        shell(f"head -c 20000000 /dev/urandom >{PLACE}/mount/file && sync {PLACE}/mount/file && "
              f"cp {PLACE}/mount/file {PLACE}/original")
        self.assertIn(f"{PLACE}/mount", self.a.demote(succeeds=False)["reason"])
        shell(f"umount {PLACE}/mount")
        self.a.demote()
        self.equal()
        device = self.b.promote()
        self.mount(device, make=False)
        shell(f"cmp {PLACE}/mount/file {PLACE}/original && umount {PLACE}/mount")
        self.b.linked()
        self.b.demote()
        self.equal()

    def test_2_the_secondary_dies_and_comes_back(self):
        device = self.begin()
        shell(f"dd if=/dev/urandom of={device} bs=1M count=32 oflag=direct conv=fsync 2>&1")
        self.b.kill()
        self.a.wait("alone", lambda: self.cluster.state["in_sync"].keys() == {"1"})
        shell(f"dd if=/dev/urandom of={device} bs=1M count=2 seek=40 oflag=direct conv=fsync 2>&1", timeout=20)
        self.b.start()
        self.a.wait("in sync again", lambda: self.cluster.state["in_sync"].keys() == {"1", "2"})
        self.a.linked()
        self.assertEqual(self.a.report["copy"], "fast", self.a.report)
        self.assertGreaterEqual(self.a.report["copy_sent_bytes"], 2 * MIB)
        self.assertLess(self.a.report["copy_sent_bytes"], 8 * MIB, self.a.report)
        self.a.demote()
        self.equal()

    def test_3_the_primary_dies_and_comes_back(self):
        self.make(256 * MIB)
        device = self.begin()
        self.mount(device)
        shell(f"head -c 8000000 /dev/urandom >{PLACE}/mount/file && sync {PLACE}/mount/file && "
              f"cp {PLACE}/mount/file {PLACE}/original")
        writer = subprocess.Popen(["bash", "-c", f"while dd if=/dev/urandom of={PLACE}/mount/more bs=64k count=40 "
                                                 f"oflag=direct 2>/dev/null; do :; done"])
        wait_for("writing", lambda: os.path.exists(f"{PLACE}/mount/more"))
        self.a.kill()
        writer.wait(10)  # its disk gives errors at once
        shell(f"umount {PLACE}/mount")
        wait_for("the loop device is gone", lambda: not own_loops())
        device = self.b.promote()
        self.mount(device, make=False)
        shell(f"cmp {PLACE}/mount/file {PLACE}/original && echo new >{PLACE}/mount/new && sync {PLACE}/mount/new")
        self.a.start()
        self.b.wait("in sync again", lambda: self.cluster.state["in_sync"].keys() == {"1", "2"})
        self.b.linked()
        self.assertEqual(self.b.report["copy"], "fast", self.b.report)
        self.assertLess(self.b.report["copy_read_bytes"], self.size, self.b.report)  # of both disks: half of them
        shell(f"umount {PLACE}/mount")
        self.b.demote()
        self.equal()

    def test_3_killed_with_writes_in_the_page_cache(self):
        device = self.begin()
        shell(f"dd if=/dev/zero of={device} bs=1M count=32 2>&1")
        self.a.process.kill()
        self.assertEqual(self.a.process.wait(5), -signal.SIGKILL)
        wait_for("the loop device is gone", lambda: not own_loops())

    def test_4_a_wrong_cluster_key_is_refused(self):
        self.b = Server(self.cluster, 2, self.port, key="cd" * 64, label="-wrong")
        self.cluster.servers = [self.a, self.b]
        self.a.start()
        self.b.start()
        self.a.promote()
        note = self.b.notice("note")
        while "127.0.0.1" not in note["text"]:
            note = self.b.notice("note")
        self.assertIn("key", note["text"])
        self.assertNotEqual(self.a.report["link"], "connected")

    def test_5_without_a_lease_nothing_completes(self):
        device = self.begin()
        self.a.lease.end()
        writer = subprocess.Popen(["dd", "if=/dev/zero", f"of={device}", "bs=4k", "count=1", "oflag=direct"],
                                  stderr=subprocess.DEVNULL)
        self.a.wait("it says that it waits for the lease", lambda: "lease" in self.a.report.get("waiting", ""))
        with self.assertRaises(subprocess.TimeoutExpired):
            writer.wait(0.5)
        self.a.lease.give()
        self.assertEqual(writer.wait(5), 0)
        self.a.linked()

    def test_6_an_abort_gives_errors_at_once(self):
        device = self.begin()
        self.mount(device)
        self.a.lease.end()
        writer = subprocess.Popen(["dd", "if=/dev/zero", f"of={PLACE}/mount/file", "bs=4k", "count=100", "oflag=direct"],
                                  stderr=subprocess.DEVNULL)
        self.a.wait("it waits for the lease", lambda: "lease" in self.a.report.get("waiting", ""))
        begun = time.monotonic()
        self.a.send({"request": "abort", "reason": "test"})
        self.a.notice("demoted")
        self.assertNotEqual(writer.wait(5), 0)
        self.assertLess(time.monotonic() - begun, 1)
        shell(f"umount {PLACE}/mount")
        wait_for("the loop device is gone", lambda: not own_loops())
        self.a.lease.give()
        device = self.b.promote()
        shell(f"fsck.ext4 -p -f {device} || test $? = 1")
        self.b.linked()
        self.b.demote()
        self.equal()

    def test_7_a_freeze_without_end_is_aborted(self):
        device = self.begin()
        self.a.lease.end()
        writer = subprocess.Popen(["dd", "if=/dev/zero", f"of={device}", "bs=4k", "count=1", "oflag=direct"],
                                  stderr=subprocess.DEVNULL)
        self.a.notice("aborted", seconds=20)
        self.assertNotEqual(writer.wait(5), 0)

    def test_8_a_newer_permit_elsewhere_ends_the_export(self):
        device = self.begin()
        with self.cluster.lock:
            self.cluster.commit(permit=self.cluster.state["permit"] + 1, holder=2)
        self.a.notice("aborted")
        wait_for("the device is gone", lambda: not own_loops())
        self.assertEqual(shell(f"blockdev --getsize64 {device}", check=False).stdout.strip(), "0")
        self.b.send({"request": "promote", "permit": self.cluster.state["permit"]})
        self.assertEqual(self.b.notice("promoted", "failed")["notice"], "promoted")
        self.b.linked()

    def test_9_stop_in_order_keeps_the_incarnation(self):
        self.begin()
        self.a.demote()
        before = self.b.report["incarnation"]
        self.b.send({"request": "stop"})
        self.assertEqual(self.b.process.wait(10), 0)
        self.assertFalse(os.path.exists(f"{self.b.directory}/control.sock"))
        self.b.start()
        self.assertEqual(self.b.report["incarnation"], before)
        self.b.kill()
        self.b.start()
        self.assertEqual(self.b.report["incarnation"], before + 1)
        self.b.process.terminate()
        self.assertEqual(self.b.process.wait(10), 0)

    def test_a_verify_and_reconnection_of_batond(self):
        device = self.begin()
        shell(f"dd if=/dev/urandom of={device} bs=1M count=8 oflag=direct conv=fsync 2>&1")
        self.a.connection.close()
        self.a.report = {}
        self.a.connect()  # another batond: nothing has changed for the disk
        self.a.wait("a report", lambda: self.a.report.get("exported"))
        self.assertEqual(self.a.device, device)
        self.a.send({"request": "promote", "permit": self.cluster.state["permit"]})
        self.assertEqual(self.a.notice("promoted", "failed"),
                         {"notice": "promoted", "permit": self.cluster.state["permit"], "device": device})
        self.a.send({"request": "verify"})
        verified = self.a.notice("verified", "failed", seconds=30)
        self.assertEqual((verified.get("blocks"), verified.get("different")), (SIZE // 4096, 0), verified)

    def test_b_stores_that_cannot_be_right_are_refused(self):
        small = Server(self.cluster, 1, self.port, store_size=SIZE - 4096, label="-small")
        done = subprocess.run([MIRRORD, "--settings", small.settings], stderr=subprocess.PIPE, text=True, timeout=20)
        self.assertEqual(done.returncode, 1)
        for part in (small.store, str(SIZE), str(SIZE - 4096), "truncate"):
            self.assertIn(part, done.stderr)
        self.begin()
        self.a.demote()
        self.b.kill()
        os.remove(self.b.store)
        done = subprocess.run([MIRRORD, "--settings", self.b.settings], stderr=subprocess.PIPE, text=True, timeout=20)
        self.assertEqual(done.returncode, 1)
        self.assertIn("is gone", done.stderr)
        self.assertFalse(os.path.exists(self.b.store))


def main():
    if os.geteuid() != 0:
        print("tests/system/mirrord_test.py needs root")
        return 1
    own_mounts()
    signal.signal(signal.SIGALRM, lambda *_: sys.exit("mirrord_test.py: took longer than 5 minutes"))
    signal.alarm(300)
    name = f"Mirrord.{sys.argv[1]}" if len(sys.argv) > 1 else "Mirrord"
    suite = unittest.defaultTestLoader.loadTestsFromName(name, sys.modules[__name__])
    try:
        result = unittest.TextTestRunner(verbosity=2).run(suite)
    finally:
        clean_up()
    failed = len({getattr(test, "test_case", test).id() for test, _ in result.failures + result.errors})
    print(f"{result.testsRun - failed} passed, {failed} failed", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
