#!/usr/bin/env python3
"""A client changes its pages while their write is under way (trap 13 of docs/traps.md): through the mounted-type device,
through NBD and through the page cache; both copies are equal afterwards, byte for byte, without a repair. One of the disks
is slow, so that each piece of data is used at two times. Needs root, /dev/fuse, loop devices, python3-libnbd and
build/bin/baton-mirrord.
"""
import os
import random
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "script", "lib"))
import debian_python  # noqa: E402

debian_python.need_nbd()
import mirror_test  # noqa: E402
import nbd  # noqa: E402
from mirror_test import MIB, shell  # noqa: E402
from scribbler import BLOCK, Scribbler, torn_blocks  # noqa: E402

SIZES = (BLOCK, BLOCK, 4 * BLOCK, 32 * BLOCK, MIB)
WRITERS = 3
WRITES = 150  # of each writer
SLOW = "slow 4"


class DirectDisk:
    """Straight from the client's buffer, which is not copied."""

    def __init__(self, path):
        self.fd = os.open(path, os.O_RDWR | os.O_DIRECT)

    def write(self, at, data):
        if os.pwritev(self.fd, [data], at) != len(data):
            raise OSError("a short write")

    def close(self):
        os.close(self.fd)


class NbdDisk:
    def __init__(self, path):
        self.handle = nbd.NBD()
        self.handle.connect_unix(path)

    def write(self, at, data):
        self.handle.pwrite(data, at)

    def close(self):
        self.handle.shutdown()


class InflightTest(mirror_test.ProtocolPairTest):
    PLACE = "/var/tmp/baton-mirror-inflight-test"
    KEY = "mirror.inflight"
    port = 18120

    def setUp(self):
        super().setUp()
        self.scribblers = []

    def tearDown(self):
        for scribbler in self.scribblers:
            scribbler.end()
        super().tearDown()

    def scribbler(self, *arguments):
        self.scribblers.append(Scribbler(*arguments))
        return self.scribblers[-1]

    # ---- Whole writes from a client's buffer ----

    def write_scribbled(self, open_disks, seed):
        """Several writers, each to its own part of the disk, from one buffer that changes all the time."""
        scribbler = self.scribbler(MIB)
        failures = []

        def work(number):
            chance = random.Random(seed * 100 + number)
            part = self.SIZE // WRITERS // MIB * MIB
            try:
                disk = open_disks[number % len(open_disks)]()
                for _ in range(WRITES):
                    size = chance.choice(SIZES)
                    at = number * part + chance.randrange((part - size) // BLOCK) * BLOCK
                    disk.write(at, scribbler.view[:size])
                disk.close()
            except Exception as problem:  # also of libnbd
                failures.append(problem)
        writers = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(WRITERS)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join(60)
            self.assertFalse(writer.is_alive(), "a write hangs")
        self.assertEqual(failures, [])
        scribbler.end()

    def scribbled(self, open_disks, seed, slow, protocol="C"):
        device = self.begin(protocol)
        opened = [lambda kind=kind: kind(device if kind is DirectDisk else self.a.details["nbd_socket"]) for kind in open_disks]
        slow(self).fault(SLOW)
        self.write_scribbled(opened, seed)
        slow(self).fault()
        self.ended_equal()
        with open(self.a.store, "rb") as store:
            torn = torn_blocks(store.read(self.SIZE))
        print(f"  {torn} blocks changed under way ", end="", flush=True)
        self.assertGreater(torn, 0)

    def ended_equal(self):
        self.a.linked()
        self.assertEqual(self.a.report["problem"], "")
        self.a.demote()
        self.equal()

    def test_trap_13_device_while_the_peers_disk_is_slow(self):
        self.scribbled([DirectDisk], 1, lambda test: test.b)

    def test_trap_13_device_while_the_own_disk_is_slow(self):
        self.scribbled([DirectDisk], 2, lambda test: test.a)

    def test_trap_13_nbd_while_the_peers_disk_is_slow(self):
        self.scribbled([NbdDisk], 3, lambda test: test.b)

    def test_trap_13_nbd_while_the_own_disk_is_slow(self):
        self.scribbled([NbdDisk], 4, lambda test: test.a)

    def test_trap_13_both_ways_under_protocol_a(self):
        self.scribbled([DirectDisk, NbdDisk], 5, lambda test: test.b, protocol="A")

    # ---- Through the page cache ----

    def sync_scribbled(self, path, size, rounds=60):
        """Written back again and again while it changes; in the end what it is then."""
        fd = os.open(path, os.O_RDWR)
        scribbler = self.scribbler(size, fd)
        for _ in range(rounds):
            os.fdatasync(fd)
        scribbler.stop()
        os.fdatasync(fd)
        last = bytes(scribbler.memory)
        scribbler.end()
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)
        return last

    def test_trap_13_mapped_device(self):
        device = self.begin("C")
        self.b.fault(SLOW)
        last = self.sync_scribbled(device, 8 * MIB)
        self.b.fault()
        self.has(device, 0, last)
        self.ended_equal()

    def test_trap_13_mapped_file(self):
        device = self.begin("C")
        mount = f"{self.PLACE}/mount"
        shell(f"mkfs.ext4 -q {device} && mount {device} {mount} && head -c {8 * MIB} /dev/zero >{mount}/file && sync -f {mount}")
        self.a.fault(SLOW)
        last = self.sync_scribbled(f"{mount}/file", 8 * MIB)
        self.a.fault()
        shell(f"umount {mount} && mount {device} {mount}")
        with open(f"{mount}/file", "rb") as file:
            self.assertTrue(file.read() == last, "the file is not what it was last")
        shell(f"umount {mount}")
        self.ended_equal()

    # ---- The tests' own test ----

    def test_without_a_copy_of_its_own_the_two_differ(self):
        """Or all the others would prove nothing: who sends the client's pages twice has two versions."""
        scribbler = self.scribbler(MIB)
        paths = [f"{self.PLACE}/naive{number}" for number in (1, 2)]
        for path in paths:
            shell(f"truncate -s {MIB} {path}")
        disks = [DirectDisk(path) for path in paths]
        deadline = time.monotonic() + 20
        differ = False
        while not differ and time.monotonic() < deadline:
            for disk in disks:
                disk.write(0, scribbler.view[:MIB])
            differ = shell(f"cmp {paths[0]} {paths[1]}", check=False).returncode != 0
        for disk in disks:
            disk.close()
        self.assertTrue(differ)


if __name__ == "__main__":
    sys.exit(mirror_test.run(__name__, InflightTest))
