#!/usr/bin/env python3
"""What an operator asks of a mirror, on a pair of daemons: verify and repair, discard, growing in use, a backup of
the broken-off copy, forcing a copy, keeping one away, coming with data and leaving with it. Needs root, /dev/fuse, loop
devices, btrfs-progs and build/bin/baton-mirrord.
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "script", "lib"))
import mirror_test  # noqa: E402
from block_exerciser import Exerciser, LoopDisk  # noqa: E402
from mirror_test import MIB, shell, wait_for  # noqa: E402


class MaintenanceTest(mirror_test.PairTest):
    PLACE = "/var/tmp/baton-mirror-maintenance-test"
    KEY = "mirror.upkeep"
    port = 17960

    def mount(self, device, options=""):
        shell(f"mount {options} {device} {self.PLACE}/mount")

    def unmount(self):
        shell(f"umount {self.PLACE}/mount")

    # ---- Verify ----

    def test_verify_finds_and_repairs(self):
        device = self.begin()
        data = self.fill(device, 0, 16)
        with open(self.b.store, "r+b") as store:
            for block in (100, 101, 3000):
                store.seek(block * 4096 + 17)
                store.write(b"rot")
            os.fsync(store.fileno())
        found = self.a.ask("verify")
        self.assertEqual((found["notice"], found.get("different"), found.get("repaired")), ("verified", 3, 0), found)
        mended = self.a.ask("verify", repair=True)
        self.assertEqual((mended["different"], mended["repaired"]), (3, 3), mended)
        again = self.a.ask("verify")
        self.assertEqual((again["blocks"], again["different"]), (self.SIZE // 4096, 0), again)
        self.has(device, 0, data)
        self.assertEqual(self.b.ask("verify")["notice"], "failed")  # only where the disk is in use
        self.a.demote()
        self.equal()

    def test_verify_under_load(self):
        """Blocks that are being written are not different."""
        exerciser = Exerciser(self.SIZE // 4096)
        device = self.begin()
        exerciser.start(lambda: LoopDisk(device))
        for _ in range(3):
            found = self.a.ask("verify")
            self.assertEqual((found["notice"], found.get("different")), ("verified", 0), found)
        self.assertTrue(exerciser.stop(), exerciser.errors)
        self.assertEqual(exerciser.mismatches, [])
        self.a.demote()
        self.equal()

    # ---- Discard ----

    def test_discard(self):
        device = self.begin()
        data = self.fill(device, 0, 4)
        refused = self.a.ask("discard")
        self.assertEqual((refused["notice"], refused["request"]), ("failed", "discard"), refused)
        self.assertEqual(self.b.ask("discard")["notice"], "done")
        self.a.says("note", "full copy begun")
        self.both()
        self.a.linked()
        self.assertEqual(self.a.report["copy"], "full", self.a.report)
        self.b.kill()
        self.alone(self.a)
        self.a.demote()
        refused = self.a.ask("discard")  # nobody uses it, but nobody else has the data
        self.assertIn("only one in sync", refused.get("reason", ""), refused)
        self.has(self.a.promote(), 0, data)

    # ---- Growing ----

    def grow(self, server, size):
        answer = server.ask("grow", size_bytes=size)
        self.assertEqual((answer["notice"], answer.get("request")), ("done", "grow"), answer)

    def test_grow_in_use(self):
        self.SIZE = 320 * MIB  # as XFS wants it
        self.make()
        device = self.begin()
        shell(f"mkfs.xfs -q {device}")
        self.mount(device)
        shell(f"head -c 20000000 /dev/urandom >{self.PLACE}/mount/before && sync {self.PLACE}/mount/before")
        size = self.SIZE + 128 * MIB
        self.assertIn("less than", self.a.ask("grow", size_bytes=self.SIZE - 4096).get("reason", ""))
        self.grow(self.b, size)
        self.grow(self.a, size)
        self.assertEqual(int(shell(f"blockdev --getsize64 {device}").stdout), size)
        shell(f"xfs_growfs {self.PLACE}/mount && test $(df -B1 --output=size {self.PLACE}/mount | tail -1) -gt {self.SIZE}")
        shell(f"head -c 70000000 /dev/urandom >{self.PLACE}/mount/after && sync {self.PLACE}/mount/after && "
              f"cd {self.PLACE}/mount && sha256sum before after >{self.PLACE}/sums")
        self.both()
        self.a.linked()
        self.unmount()
        self.a.demote()
        shell(f"cmp -n {size} {self.a.store} {self.b.store}")
        device = self.b.promote()
        self.assertEqual(int(shell(f"blockdev --getsize64 {device}").stdout), size)
        self.mount(device)
        shell(f"cd {self.PLACE}/mount && sha256sum -c {self.PLACE}/sums")
        self.unmount()

    def test_grown_while_it_was_off(self):
        device = self.begin()
        data = self.fill(device, 0, 4)
        self.a.demote()
        size = self.SIZE + 32 * MIB
        for server in self.cluster.servers:
            server.stop()
            server.choose(size_bytes=size)
        for server in self.cluster.servers:
            server.start()
            server.wait("grown", lambda server=server: server.report["size_bytes"] == size)
        device = self.a.promote()
        self.both()
        self.a.linked()
        self.assertEqual(int(shell(f"blockdev --getsize64 {device}").stdout), size)
        self.has(device, 0, data)
        self.fill(device, self.SIZE // MIB + 30, 2)
        self.a.demote()
        shell(f"cmp -n {size} {self.a.store} {self.b.store}")

    def test_grown_while_the_peer_was_away(self):
        """It is refused while it is smaller, and gets everything when it has grown, too."""
        device = self.begin()
        self.b.kill()
        self.alone(self.a)
        size = self.SIZE + 32 * MIB
        self.grow(self.a, size)
        data = self.fill(device, size // MIB - 2, 2)
        self.b.start()
        self.a.wait("refused", lambda: "smaller" in self.a.report["problem"], 20)
        self.grow(self.b, size)
        self.both()
        self.a.linked()
        self.has(device, size // MIB - 2, data)
        self.a.demote()
        shell(f"cmp -n {size} {self.a.store} {self.b.store}")

    # ---- Restrict, replace ----

    def test_a_restricted_copy_is_not_promoted(self):
        self.begin()
        self.a.demote()
        self.cluster.commit(permit=self.cluster.state["permit"] + 1, holder=2, restricted=[2])
        self.b.send({"request": "promote", "permit": self.cluster.state["permit"]})
        self.assertIn("restrict", self.b.notice("promoted", "failed").get("reason", ""))
        self.cluster.commit(restricted=[])
        self.b.send({"request": "promote", "permit": self.cluster.state["permit"]})
        self.assertEqual(self.b.notice("promoted", "failed")["notice"], "promoted")

    def test_what_is_needed_is_not_replaced(self):
        device = self.begin()
        data = self.fill(device, 0, 4)
        self.assertIn("primary", self.a.ask("replace").get("reason", ""))
        self.b.kill()
        self.alone(self.a)
        self.a.demote()
        self.assertIn("only one in sync", self.a.ask("replace").get("reason", ""))
        self.has(self.a.promote(), 0, data)

    # ---- Break, backup, rejoin ----

    def test_backup_of_the_broken_off_copy(self):
        device = self.begin()
        shell(f"mkfs.ext4 -q {device}")
        self.mount(device)
        shell(f"echo before >{self.PLACE}/mount/file && sync -f {self.PLACE}/mount")
        self.assertIn("not broken off", self.b.ask("backup", wanted=True).get("reason", ""))
        self.cluster.commit(broken=True)
        self.alone(self.a)
        self.b.wait("broken", lambda: self.b.report["broken"])
        shell(f"echo after >{self.PLACE}/mount/file && sync -f {self.PLACE}/mount")
        backup = self.b.ask("backup", wanted=True)
        self.assertEqual(backup["notice"], "done", backup)
        os.makedirs(f"{self.PLACE}/backup")
        shell(f"mount -o ro,noload {backup['text']} {self.PLACE}/backup")
        self.assertEqual(shell(f"cat {self.PLACE}/backup/file").stdout, "before\n")
        self.assertEqual(shell(f"blockdev --getro {backup['text']}").stdout.strip(), "1")
        refused = shell(f"dd if=/dev/zero of={backup['text']} bs=4k count=1 oflag=direct conv=notrunc 2>&1", check=False)
        self.assertNotEqual(refused.returncode, 0)
        self.assertTrue(self.b.report["backup"])
        busy = self.b.ask("backup", wanted=False)
        self.assertEqual(busy["notice"], "failed", busy)  # it is mounted
        shell(f"umount {self.PLACE}/backup")
        self.assertEqual(self.b.ask("backup", wanted=False)["notice"], "done")
        self.cluster.commit(broken=False)
        self.both()
        self.a.linked()
        self.assertEqual(self.a.report["copy"], "fast", self.a.report)
        self.unmount()
        self.a.demote()
        self.equal()

    def test_backup_copy_serves_nobody(self):
        self.fill(self.begin(), 0, 4)
        self.cluster.commit(broken=True)
        self.alone(self.a)
        self.assertEqual(self.b.ask("backup", wanted=True)["notice"], "done")
        permit = self.cluster.state["permit"]
        self.cluster.commit(permit=permit + 1, holder=2)
        self.b.send({"request": "promote", "permit": permit + 1})
        self.assertEqual(self.b.notice("promoted", "failed")["notice"], "failed")
        self.a.notice("aborted")
        self.a.promote()
        self.cluster.commit(broken=False)
        self.a.wait("refused", lambda: "backup" in self.a.report["problem"], 20)
        self.assertEqual(self.b.ask("backup", wanted=False)["notice"], "done")
        self.both()
        self.a.demote()
        self.equal()

    # ---- Force ----

    def half_copied(self, stores):
        """B is in the middle of a fast copy when A's server dies for good. What B had before, and what A has since."""
        self.make(rate_limit=MIB)
        for server in self.cluster.servers:
            server.choose(store=f"{stores}/store{server.number}")
            server.store = server.chosen["store"]
        device = self.begin()
        before = self.fill(device, 0, 24)
        self.b.kill()
        self.alone(self.a)
        since = self.fill(device, 8, 16)
        self.b.start()
        self.a.wait("the copy is half done", lambda: self.a.report["copy_done_bytes"] > 3 * MIB)
        self.a.kill()
        self.b.wait("it knows that it is half copied", lambda: not self.b.report["consistent"])
        wait_for("the loop device is gone", lambda: not mirror_test.mirror_pair.own_loops(self.KEY))
        return before, since

    def force(self):
        with self.cluster.lock:
            self.cluster.commit(permit=self.cluster.state["permit"] + 1, holder=2,
                                in_sync={"2": self.b.report["incarnation"]})
        permit = {"request": "promote", "permit": self.cluster.state["permit"]}
        self.b.send(permit)
        refused = self.b.notice("promoted", "failed")
        self.assertIn("not consistent", refused.get("reason", ""), refused)
        self.cluster.commit(forced=2)
        self.b.send(permit)
        answer = self.b.notice("promoted", "failed", seconds=30)
        self.assertEqual(answer["notice"], "promoted", answer)
        return answer["device"]

    def rejoin_discarding(self):
        """The other copy has diverged, and gets everything when it is told to give up its own."""
        self.a.start()
        self.b.wait("diverged", lambda: self.b.report["link"] == "refused", 20)
        self.cluster.commit(forced=0)
        self.b.send({"request": "set_rate", "bytes_per_second": 0})
        self.assertEqual(self.a.ask("discard")["notice"], "done")
        self.both()
        self.b.linked()
        self.assertEqual(self.b.report["copy"], "full", self.b.report)
        self.b.demote()
        self.equal()

    def test_force_goes_back_to_the_snapshot(self):
        os.makedirs(f"{self.PLACE}/reflink")
        shell(f"truncate -s 1G {self.PLACE}/reflink.img && mkfs.btrfs -q {self.PLACE}/reflink.img && "
              f"mount -o loop {self.PLACE}/reflink.img {self.PLACE}/reflink")
        before, _ = self.half_copied(f"{self.PLACE}/reflink")
        self.assertTrue(self.b.report["snapshot"], self.b.report)
        device = self.force()
        self.has(device, 0, before)
        self.assertFalse(self.b.report["snapshot"])
        self.rejoin_discarding()
        wait_for("the snapshot is gone", lambda: len(os.listdir(f"{self.PLACE}/reflink")) == 2)
        shell(f"umount {self.PLACE}/reflink")

    def test_force_without_a_snapshot(self):
        os.makedirs(f"{self.PLACE}/plain")
        before, since = self.half_copied(f"{self.PLACE}/plain")
        self.assertFalse(self.b.report["snapshot"], self.b.report)
        device = self.force()
        self.has(device, 0, before[:8 * MIB])  # what was not under copy; the rest is a mixture
        disk = LoopDisk(device)
        for block in range(2048, 6144, 64):
            data = disk.read(block, 64)
            at, place = (block - 2048) * 4096, block * 4096
            self.assertIn(data, (before[place:place + len(data)], since[at:at + len(data)]))
        disk.close()
        self.rejoin_discarding()

    # ---- Coming and going with data ----

    def test_adopt_and_leave(self):
        shell(f"mkdir {self.PLACE}/files && head -c 9000000 /dev/urandom >{self.PLACE}/files/one && "
              f"echo two >{self.PLACE}/files/two && truncate -s {self.SIZE} {self.a.store} && "
              f"mkfs.ext4 -q -b 4096 -d {self.PLACE}/files {self.a.store}")
        shell(f"head -c {self.SIZE} /dev/urandom >{self.b.store}")
        total = shell(f"sha256sum <{self.a.store}").stdout
        device = self.begin()
        self.assertEqual(shell(f"sha256sum <{self.a.store}").stdout, total)
        self.assertEqual(self.a.report["copy"], "full")
        self.assertEqual(shell(f"sha256sum <{self.b.store}").stdout, total)
        self.mount(device)
        shell(f"cmp {self.PLACE}/files/one {self.PLACE}/mount/one && echo three >{self.PLACE}/mount/three")
        self.unmount()
        self.a.demote()
        for server in self.cluster.servers:
            server.stop()
        for server in self.cluster.servers:
            self.mount(server.store, "-o loop")
            shell(f"cmp {self.PLACE}/files/one {self.PLACE}/mount/one && grep three {self.PLACE}/mount/three")
            self.unmount()


if __name__ == "__main__":
    sys.exit(mirror_test.run(__name__, MaintenanceTest))
