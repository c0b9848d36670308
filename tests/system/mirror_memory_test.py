#!/usr/bin/env python3
"""Memory is short where a mirror is mounted (trap 16 of docs/traps.md): whoever needs memory waits until dirty pages of the
mirror's filesystem are written back, by the very daemons that may need memory, too. Nothing may wait for ever. Needs root,
/dev/fuse, loop devices, a memory control group and build/bin/baton-mirrord.

The daemons have a group of their own here. In one group with the writers they may hang in the kernel's reclaim under
control groups of version 1 (open: trap 16); tests/vm/short_memory_test.py asks for that with BATON_SLOW_MACHINE.
"""
import glob
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "script", "lib"))
import mirror_test  # noqa: E402
from memory_limit import MemoryLimit  # noqa: E402
from mirror_test import MIB, shell, wait_for  # noqa: E402

DATA_MIB = 160
SLOW_MACHINE = "BATON_SLOW_MACHINE" in os.environ  # an emulated one: tests/vm/short_memory_test.py
LIMIT_S = 100 if SLOW_MACHINE else 60  # takes one, there twenty

MAPPED_WRITER = """
import mmap, sys
with open(sys.argv[1], "rb") as source, open(sys.argv[2], "w+b") as target:
    target.truncate(int(sys.argv[3]))
    memory = mmap.mmap(target.fileno(), 0)
    for at in range(0, len(memory), 1 << 16):
        memory[at:at + (1 << 16)] = source.read(1 << 16)
    memory.flush()
"""


class Connections:
    """The FUSE connections that came since: whoever hangs behind one is set free by aborting it."""

    def __init__(self, place):
        self.place = f"{place}/connections"
        os.makedirs(self.place)
        shell(f"mount -t fusectl fusectl {self.place}")
        self.before = set(os.listdir(self.place))

    def abort(self):
        for number in set(os.listdir(self.place)) - self.before:
            with open(f"{self.place}/{number}/abort", "w") as file:
                file.write("1")

    def end(self):
        shell(f"umount {self.place}")


class MemoryTest(mirror_test.PairTest):
    PLACE = "/var/tmp/baton-mirror-memory-test"
    KEY = "mirror.tight"
    SIZE = 512 * MIB
    port = 18140
    settings = {"encrypt": not SLOW_MACHINE}

    def setUp(self):
        super().setUp()
        self.mount, self.data = f"{self.PLACE}/mount", f"{self.PLACE}/data"
        self.writers, self.limits, self.noise = [], [], None
        shell(f"head -c {DATA_MIB * MIB} /dev/urandom >{self.data} && sync {self.data}")
        self.connections = Connections(self.PLACE)

    def tearDown(self):
        for process in filter(None, [*self.writers, self.noise]):
            if process.poll() is None:
                process.kill()
                process.wait(20)
        shell(f"mountpoint -q {self.mount} && umount {self.mount}", check=False)
        self.connections.end()
        super().tearDown()
        for limit in self.limits:
            limit.remove()

    def group(self, name, size):
        self.limits.append(MemoryLimit(f"baton-memory-test-{name}", size))
        return self.limits[-1]

    def write_all(self, group, *commands):
        """In this group, at once, before the deadline. A deadlock is told with where the daemons wait, and ended."""
        self.writers = [subprocess.Popen([*group.inside(), *command]) for command in commands]
        deadline = time.monotonic() + LIMIT_S
        try:
            for writer in self.writers:
                self.assertEqual(writer.wait(max(0.1, deadline - time.monotonic())), 0)
        except subprocess.TimeoutExpired:
            where = self.stacks()
            self.connections.abort()
            self.fail(f"not written within {LIMIT_S} s; the daemons:\n{where}")

    def stacks(self):
        found = []
        for server in self.cluster.servers:
            for path in glob.glob(f"/proc/{server.process.pid}/task/*/stack"):
                with open(path) as file:
                    found.append(f"server {server.number}:\n{file.read()}")
        return "".join(found)

    def short_of_memory(self, device, writers):
        """Files of several times the memory that there is, three ways at once. The peer's disk is slow, so that much is
        under way and the daemons need memory for it."""
        shell(f"mkfs.ext4 -q {device} && mount {device} {self.mount}")
        self.b.fault("slow 5")
        begun, before = time.monotonic(), [limit.times_full() for limit in self.limits]
        self.write_all(writers, ["dd", f"if={self.data}", f"of={self.mount}/written", "bs=1M", "conv=fsync", "status=none"],
                       [sys.executable, "-c", MAPPED_WRITER, self.data, f"{self.mount}/mapped", str(DATA_MIB * MIB)],
                       ["bash", "-c", f"for i in {{1..40}}; do head -c 500000 {self.data} >{self.mount}/small$i && "
                                      f"sync {self.mount}/small$i || exit; done"])
        self.b.fault()
        short = [limit.times_full() - full for limit, full in zip(self.limits, before)]
        print(f"  {time.monotonic() - begun:.1f} s, {short} times short of memory ", end="", flush=True)
        self.assertGreater(min(short), 100)
        self.both()  # neither copy was given up as dead meanwhile
        shell(f"umount {self.mount} && mount {device} {self.mount} && cmp {self.data} {self.mount}/written && "
              f"cmp {self.data} {self.mount}/mapped && for i in {{1..40}}; do cmp -n 500000 {self.data} {self.mount}/small$i || "
              f"exit; done; umount {self.mount}", timeout=120)
        self.a.linked()
        self.a.demote()
        self.equal()

    def test_trap_16_the_writers_are_short_of_memory(self):
        self.short_of_memory(self.begin(), self.group("writers", 40 * MIB))

    def test_trap_16_the_daemons_are_short_of_memory_too(self):
        """A group of their own that is always full, of what somebody reads. In the virtual machine one group of all: the
        daemons' own requests for memory meet the pages that only they can write back."""
        daemons = self.group("daemons", 192 * MIB)  # two buffer pools at their largest, and the programs
        for server in self.cluster.servers:
            server.enter = daemons.inside()
        if SLOW_MACHINE:
            return self.short_of_memory(self.begin(), daemons)
        shell(f"truncate -s 1G {self.PLACE}/noise")
        self.noise = subprocess.Popen([*daemons.inside(), "bash", "-c", f"while :; do cat {self.PLACE}/noise; done >/dev/null"])
        full = daemons.times_full()
        wait_for("the daemons' group is full", lambda: daemons.times_full() > full + 100)
        self.short_of_memory(self.begin(), self.group("writers", 40 * MIB))


if __name__ == "__main__":
    sys.exit(mirror_test.run(__name__, MemoryTest))
