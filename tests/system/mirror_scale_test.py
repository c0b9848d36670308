#!/usr/bin/env python3
"""Large mirrors and many of them: 16 TiB in sparse files, eight mirrors between the same two servers, stores that are larger
than the mirror. Needs root, /dev/fuse, loop devices and build/bin/baton-mirrord.
"""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "script", "lib"))
import mirror_pair  # noqa: E402
import mirror_test  # noqa: E402
from block_exerciser import Exerciser, LoopDisk  # noqa: E402
from mirror_test import MIB, shell, wait_for  # noqa: E402

TIB = 1 << 40


def resident_mib(server):
    with open(f"/proc/{server.process.pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1024


class ScaleTest(mirror_test.PairTest):
    PLACE = "/var/tmp/baton-mirror-scale-test"
    KEY = "mirror.scales"
    port = 18000

    def roomy_place(self, filesystem_gib):
        """16 TiB is the most that a file of ext4 may have: the stores stand on btrfs, sparse, on a sparse file."""
        os.makedirs(f"{self.PLACE}/large")
        shell(f"truncate -s {filesystem_gib}G {self.PLACE}/large.img && mkfs.btrfs -q {self.PLACE}/large.img && "
              f"mount -o loop {self.PLACE}/large.img {self.PLACE}/large")
        return f"{self.PLACE}/large"

    def test_16_tib(self):
        self.SIZE = 16 * TIB
        place = self.roomy_place(8)
        self.make()
        for server in self.cluster.servers:
            server.store = f"{place}/store{server.number}"
            server.choose(store=server.store)
        begun = time.monotonic()
        self.a.start()
        start = time.monotonic() - begun
        self.b.start()
        begun = time.monotonic()
        device = self.a.promote()
        self.a.linked()
        ready = time.monotonic() - begun
        empty = resident_mib(self.a)
        last = self.SIZE // MIB - 4
        data = self.fill(device, last, 4)
        # The secondary is away while blocks all over the disk are written: a page of the bitmap for each.
        self.b.kill()
        self.alone(self.a)
        disk = LoopDisk(device)
        for at in range(1000):
            disk.write(at * (self.SIZE // 4096 // 1000), b"x" * 4096)
        disk.close()
        used = resident_mib(self.a)
        metadata = os.stat(f"{self.a.directory}/{self.KEY}.meta")
        self.b.start()
        begun = time.monotonic()
        self.both()
        self.a.linked()
        rejoin = time.monotonic() - begun
        self.assertEqual(self.a.report["copy"], "fast", self.a.report)
        self.assertLess(self.a.report["copy_sent_bytes"], 16 * MIB)
        for server in (self.a, self.b):  # both crash: the journal is read anew
            server.kill()
        wait_for("the loop device is gone", lambda: not mirror_pair.own_loops(self.KEY))
        begun = time.monotonic()
        self.a.start()
        again = time.monotonic() - begun
        self.b.start()
        with self.cluster.lock:
            self.cluster.commit(permit=self.cluster.state["permit"] + 1, holder=1,
                                in_sync={"1": self.a.report["incarnation"]})
        self.a.send({"request": "promote", "permit": self.cluster.state["permit"]})
        device = self.a.notice("promoted")["device"]
        self.both()
        self.has(device, last, data)
        print(f"\n  16 TiB: first start {start:.2f} s, exported and in sync {ready:.2f} s, later start {again:.2f} s, rejoin "
              f"{rejoin:.2f} s; resident {empty:.1f} MiB, {used:.1f} MiB after 1000 blocks all over it; metadata "
              f"{metadata.st_size / MIB:.0f} MiB, {metadata.st_blocks * 512 / MIB:.0f} MiB of it on disk ", end="", flush=True)
        self.assertLess(max(start, again), 10)
        self.assertLess(used, 18 + 16 * 32)
        self.a.demote()
        for server in self.cluster.servers:
            server.stop()
        shell(f"umount {place}")

    def test_eight_mirrors(self):
        pairs = []
        for number in range(8):
            cluster = mirror_pair.Cluster(f"{self.PLACE}/{number}", f"{self.KEY}{number}", 32 * MIB)
            os.makedirs(cluster.place)
            cluster.servers = [mirror_pair.Server(cluster, each, self.port + 100 + number) for each in (1, 2)]
            pairs.append(cluster)
        try:
            exercisers = []
            for cluster in pairs:
                for server in cluster.servers:
                    server.start()
                device = cluster.servers[0].promote()
                exercisers.append((cluster, device, Exerciser(cluster.size // 4096, threads=2, seed=len(exercisers))))
            for cluster, device, exerciser in exercisers:
                cluster.servers[0].linked()
                exerciser.start(lambda device=device: LoopDisk(device))
            for cluster, device, exerciser in exercisers:
                wait_for("work", lambda e=exerciser: e.operations > 200 or e.errors, 30)
            pairs[3].servers[1].kill()
            wait_for("mirror 3 alone", lambda: pairs[3].state["in_sync"].keys() == {"1"})
            pairs[3].servers[1].start()
            wait_for("mirror 3 in sync", lambda: len(pairs[3].state["in_sync"]) == 2, 30)
            for cluster, device, exerciser in exercisers:
                self.assertTrue(exerciser.stop(), exerciser.errors)
                self.assertEqual((exerciser.verify(lambda: LoopDisk(device)), exerciser.mismatches), (0, []))
                cluster.servers[0].linked()
                cluster.servers[0].demote()
                shell(f"cmp -n {cluster.size} {cluster.servers[0].store} {cluster.servers[1].store}")
                self.assertEqual(len(cluster.servers[0].links), len(set(cluster.servers[0].links)))
        finally:
            for cluster in pairs:
                for server in cluster.servers:
                    if server.running():
                        server.kill()

    def test_stores_of_different_sizes(self):
        """What is beyond the mirror's size is left alone."""
        shell(f"head -c {self.SIZE + 8 * MIB} /dev/urandom >{self.a.store}; head -c {self.SIZE + 4096} /dev/urandom >{self.b.store}; "
              f"tail -c +{self.SIZE + 1} {self.a.store} | sha256sum >{self.PLACE}/beyond")
        device = self.begin()
        self.assertEqual(self.a.report["size_bytes"], self.SIZE)
        self.assertEqual(int(shell(f"blockdev --getsize64 {device}").stdout), self.SIZE)
        self.fill(device, self.SIZE // MIB - 2, 2)
        self.a.demote()
        self.equal()
        self.assertEqual(shell(f"tail -c +{self.SIZE + 1} {self.a.store} | sha256sum").stdout,
                         open(f"{self.PLACE}/beyond").read())

    def test_a_smaller_peer_is_refused(self):
        """The servers' configurations differ: nothing is copied, and it says so."""
        self.b.choose(size_bytes=self.SIZE - 4 * MIB)
        self.a.start()
        self.b.start()
        self.a.promote()
        self.a.wait("it says why", lambda: "smaller" in self.a.report["problem"] or "size" in self.a.report["problem"])
        self.assertEqual(self.a.report["link"], "refused")

    @classmethod
    def clean_up(cls):
        for number in range(8):
            mirror_pair.clean_up(f"{cls.PLACE}/{number}", f"{cls.KEY}{number}")
        super().clean_up()


if __name__ == "__main__":
    sys.exit(mirror_test.run(__name__, ScaleTest))
