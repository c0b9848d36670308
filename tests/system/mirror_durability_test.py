#!/usr/bin/env python3
"""Both servers lose power at once, then one of them loses its disk: every flushed write is there, on either. Their disks are
the lab's volatile ones (build/bin/baton-lab-disk), which forget what was not synced. Needs root, /dev/fuse, loop devices,
build/bin/baton-mirrord and build/bin/baton-lab-disk.
"""
import json
import os
import socket
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "script", "lib"))
import mirror_test  # noqa: E402
from block_exerciser import Exerciser, LoopDisk  # noqa: E402
from mirror_pair import BIN, own_loops  # noqa: E402
from mirror_test import MIB, shell, wait_for  # noqa: E402


class VolatileDisk:
    """A server's disk, for its store and its metadata. Its program wants two pipes, as the lab gives it."""

    def __init__(self, place, number):
        self.mount, self.control = f"{place}/disk{number}", f"{place}/disk{number}.sock"
        os.makedirs(self.mount)
        os.makedirs(f"{place}/backing{number}")
        ready, told = os.pipe()
        held, self.go = os.pipe()

        def pipes():  # at 3 and 4, whatever their numbers here
            told_high, held_high = os.dup2(told, 100), os.dup2(held, 101)
            os.dup2(told_high, 3)
            os.dup2(held_high, 4)
        self.process = subprocess.Popen(
            [f"{BIN}/baton-lab-disk", "--backing", f"{place}/backing{number}", "--mount", self.mount, "--control",
             self.control], preexec_fn=pipes, close_fds=False, stderr=subprocess.DEVNULL)
        os.close(told)
        os.close(held)
        with os.fdopen(ready) as said:
            line = said.readline()
        if line != "ready\n":
            raise AssertionError(f"baton-lab-disk: {line}")
        os.write(self.go, b"g")

    def command(self, text):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(self.control)
            connection.sendall(text.encode() + b"\n")
            return json.loads(connection.makefile().readline())

    def end(self):
        shell(f"umount -l {self.mount}", check=False)
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(5)
        os.close(self.go)


class DurabilityTest(mirror_test.PairTest):
    PLACE = "/var/tmp/baton-mirror-durability-test"
    KEY = "mirror.lasting"
    SIZE = 32 * MIB
    maxDiff = None
    port = 17980

    def make(self, **settings):
        super().make(**settings)
        self.disks = {}
        for server in self.cluster.servers:
            disk = self.disks[server.number] = VolatileDisk(self.PLACE, server.number)
            server.store = f"{disk.mount}/store"
            server.choose(store=server.store, metadata=f"{disk.mount}/meta")

    def tearDown(self):
        for server in self.cluster.servers:
            if server.running():
                server.kill()
        for disk in self.disks.values():
            disk.end()
        super().tearDown()

    def power_loss(self, exerciser, seed):
        """Both at once, under load. What their disks had not synced is lost, or torn, or kept, as the seed says."""
        for server in self.cluster.servers:
            server.process.kill()
        for server in self.cluster.servers:
            server.kill()
        exerciser.join()
        wait_for("the loop device is gone", lambda: not own_loops(self.KEY))
        lost = {number: disk.command(f"lose {seed + number}") for number, disk in self.disks.items()}
        self.assertNotIn("error", lost[1])
        return lost

    def worked(self, exerciser, count=400):
        done = exerciser.operations
        wait_for("some work", lambda: exerciser.operations > done + count or exerciser.errors, 20)

    def double_power_loss(self, first, protocol="C", rounds=3):
        """`first`: the one whose disk is left; the other comes back later, and is brought up to date."""
        self.make_again(protocol)
        device = self.begin()
        exerciser = Exerciser(self.SIZE // 4096, seed=first, flushes=0.02)
        lost = 0
        for turn in range(rounds):
            exerciser.start(lambda: LoopDisk(device))
            self.worked(exerciser)
            lost += sum(each["dropped"] + each["torn"] for each in self.power_loss(exerciser, 100 * turn).values())
            self.assertEqual(exerciser.mismatches, [])
            left, other = (self.a, self.b) if first == 1 else (self.b, self.a)
            left.start()
            device = self.goes_first(left)
            self.assertEqual((exerciser.verify(lambda: LoopDisk(device), after_loss=True), exerciser.mismatches[:5]), (0, []))
            exerciser.start(lambda: LoopDisk(device))  # it goes on alone, and while the other one catches up
            self.worked(exerciser, 100)
            other.start()
            self.both()
            left.linked()
            self.assertEqual(left.report["copy"], "fast", left.report)
            self.assertTrue(exerciser.stop(), exerciser.errors)
            found = left.ask("verify")
            self.assertEqual((found["notice"], found.get("different")), ("verified", 0), found)
        print(f"  {lost} unsynced writes lost, {exerciser.torn} blocks torn ", end="", flush=True)
        self.assertGreater(lost, 0)
        left.demote()
        self.equal()

    def make_again(self, protocol):
        for server in self.cluster.servers:
            server.choose(protocol=protocol)

    def test_then_the_peers_disk_dies(self):
        self.double_power_loss(first=1)

    def test_then_the_primarys_disk_dies(self):
        self.double_power_loss(first=2)

    def test_protocol_b(self):
        self.double_power_loss(first=2, protocol="B", rounds=2)

    def test_the_secondary_alone_loses_power(self):
        device = self.begin()
        exerciser = Exerciser(self.SIZE // 4096, seed=3)
        exerciser.start(lambda: LoopDisk(device))
        for turn in range(3):
            self.worked(exerciser, 300)
            self.b.kill()
            self.disks[2].command(f"lose {turn}")
            self.alone(self.a)
            self.worked(exerciser, 100)
            self.b.start()
            self.both()
            self.a.linked()
        self.assertTrue(exerciser.stop(), exerciser.errors)
        self.assertEqual((exerciser.verify(lambda: LoopDisk(device)), exerciser.mismatches), (0, []))
        self.a.demote()
        self.equal()

    def test_the_primary_alone_loses_power(self):
        """What was acknowledged, flushed or not, is at the peer."""
        device = self.begin()
        exerciser = Exerciser(self.SIZE // 4096, seed=4)
        primary, other = self.a, self.b
        for turn in range(2):
            exerciser.start(lambda: LoopDisk(device))
            self.worked(exerciser)
            primary.kill()
            exerciser.join()
            wait_for("the loop device is gone", lambda: not own_loops(self.KEY))
            self.disks[primary.number].command(f"lose {turn}")
            device = other.promote()
            self.assertEqual((exerciser.verify(lambda: LoopDisk(device)), exerciser.mismatches), (0, []))
            primary.start()
            self.both()
            other.linked()
            self.assertEqual(other.report["copy"], "fast", other.report)
            primary, other = other, primary
        primary.demote()
        self.equal()

    # ---- The metadata's disk ----

    def metadata_fails(self, server):
        """Writes wait and it says why; when the metadata can be written again, they go on."""
        device = self.begin()
        self.fill(device, 0, 1)
        self.disks[server.number].command("eio meta on")
        writer = subprocess.Popen(["dd", "if=/dev/urandom", f"of={device}", "bs=64k", "count=64", "seek=100", "oflag=direct"],
                                  stderr=subprocess.DEVNULL)
        server.wait("it says so", lambda: "meta" in server.report["problem"], 20)
        self.disks[server.number].command("eio meta off")
        self.assertEqual(writer.wait(20), 0)
        server.wait("well again", lambda: not server.report["problem"], 20)
        self.both()
        self.a.linked()
        self.a.demote()
        self.equal()

    def test_the_primarys_metadata_cannot_be_written(self):
        self.metadata_fails(self.a)

    def test_the_secondarys_metadata_cannot_be_written(self):
        """It takes part in nothing until it can say so on its disk; the primary goes on."""
        device = self.begin()
        self.disks[2].command("eio meta on")
        self.cluster.commit(broken=True)
        self.alone(self.a)
        data = self.fill(device, 0, 2)
        self.cluster.commit(broken=False)
        self.b.wait("it says so", lambda: "meta" in self.b.report["problem"], 20)
        self.assertEqual(self.cluster.state["in_sync"].keys(), {"1"})
        self.disks[2].command("eio meta off")
        self.both()
        self.a.linked()
        self.has(device, 0, data)
        self.a.demote()
        self.equal()


if __name__ == "__main__":
    sys.exit(mirror_test.run(__name__, DurabilityTest))
