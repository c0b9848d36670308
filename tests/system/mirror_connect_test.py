#!/usr/bin/env python3
"""The mirror connect of a pair of daemons in two network namespaces, joined by two cables: failover from one to the
other, silence, both gone; TLS and compression. Needs root, /dev/fuse, loop devices, iproute2, nftables and
build/bin/baton-mirrord.
"""
import json
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "script", "lib"))
import mirror_test  # noqa: E402
from block_exerciser import Exerciser, LoopDisk  # noqa: E402
from mirror_test import MIB, shell, wait_for  # noqa: E402

NETWORKS = {1: "baton-mc-1", 2: "baton-mc-2"}


def inside(number, command, check=True):
    shell(f"nsenter --net=/run/netns/{NETWORKS[number]} {command}", check=check)


class ConnectTest(mirror_test.PairTest):
    PLACE = "/var/tmp/baton-mirror-connect-test"
    KEY = "mirror.connects"
    port = 17940

    @classmethod
    def clean_up(cls):
        super().clean_up()
        for name in NETWORKS.values():
            shell(f"ip netns del {name} || rm -f /run/netns/{name}", check=False)

    def make(self, **settings):
        if not os.path.exists(f"/run/netns/{NETWORKS[1]}"):
            self.lay_cables()
        super().make(**settings)

    def lay_cables(self):
        for name in NETWORKS.values():
            shell(f"ip netns add {name}")
            shell(f"ip -n {name} link set lo up")
        for cable in (1, 2):
            shell(f"ip link add cable{cable} netns {NETWORKS[1]} type veth peer name cable{cable} netns {NETWORKS[2]}")
            for number, name in NETWORKS.items():
                shell(f"ip -n {name} address add 10.98.{cable}.{number}/24 dev cable{cable}")
                shell(f"ip -n {name} link set cable{cable} up")

    def server(self, number, **settings):
        return super().server(number, namespace=NETWORKS[number], **{
            "listen_address": f"10.98.1.{number}", "more_listen_addresses": [f"10.98.2.{number}"],
            "peer_addresses": [f"10.98.1.{3 - number}", f"10.98.2.{3 - number}"], **settings})

    def begin(self):
        device = super().begin()
        self.a.wait("both paths", lambda: self.paths_up() == [True, True])
        self.a.wait("the first one is active", lambda: self.active() == [True, False])
        return device

    def paths_up(self):
        return [path["up"] for path in self.a.paths]

    def active(self):
        return [path["active"] for path in self.a.paths]

    def exercise(self, device, **options):
        exerciser = Exerciser(self.SIZE // 4096, **options)
        exerciser.start(lambda: LoopDisk(device))
        wait_for("some work", lambda: exerciser.operations > 200 or exerciser.errors)
        return exerciser

    def longest_pause(self, exerciser, until, seconds=15):
        """Until then, the longest time in which nothing was answered."""
        longest, last, count = 0, time.monotonic(), exerciser.operations
        deadline = last + seconds
        while True:
            now = time.monotonic()
            if exerciser.operations != count:
                count, last = exerciser.operations, now
            longest = max(longest, now - last)
            if until():
                return longest
            if now > deadline:
                self.fail(f"not within {seconds} s; paths {self.a.paths}")
            time.sleep(0.002)

    def fails_over(self, cut, mend):
        """No error, at most a second without an answer, and the mirror stays in sync."""
        exerciser = self.exercise(self.begin())
        before = len(self.a.links)
        cut()
        pause = self.longest_pause(exerciser, lambda: self.active() == [False, True])
        done = exerciser.operations
        pause = max(pause, self.longest_pause(exerciser, lambda: exerciser.operations > done + 300))
        print(f"  longest pause {pause * 1000:.0f} ms ", end="", flush=True)
        self.assertLess(pause, 1)
        self.a.wait("the first path is down", lambda: self.paths_up() == [False, True])
        self.assertTrue(self.a.paths[0]["problem"], self.a.paths)
        mend()
        pause = self.longest_pause(exerciser, lambda: self.active() == [True, False], 30)
        self.assertLess(pause, 1)
        self.assertEqual(len(self.a.links), before, self.a.links[before:])
        self.assertEqual(len(self.cluster.state["in_sync"]), 2)
        self.assertTrue(exerciser.stop(), exerciser.errors)
        self.assertEqual(exerciser.mismatches, [])
        self.a.demote()
        self.equal()

    def test_cable_pulled(self):
        self.fails_over(lambda: inside(1, "ip link set cable1 down"), lambda: inside(1, "ip link set cable1 up"))

    def test_silence(self):
        def cut():
            inside(2, "nft add table inet cut")
            inside(2, "nft 'add chain inet cut in { type filter hook input priority 0 ; }'")
            inside(2, "nft add rule inet cut in iifname cable1 drop")
        self.fails_over(cut, lambda: inside(2, "nft delete table inet cut"))

    def test_both_cables_gone(self):
        device = self.begin()
        exerciser = self.exercise(device)
        for cable in (1, 2):
            inside(1, f"ip link set cable{cable} down")
        done = exerciser.operations
        begun = time.monotonic()
        self.alone(self.a)
        print(f"  alone after {time.monotonic() - begun:.1f} s ", end="", flush=True)
        wait_for("it goes on alone", lambda: exerciser.operations > done + 300 or exerciser.errors)
        for cable in (1, 2):
            inside(1, f"ip link set cable{cable} up")
        self.both()
        self.a.linked()
        self.assertEqual(self.a.report["copy"], "fast")
        self.a.wait("both paths", lambda: self.paths_up() == [True, True])
        self.assertTrue(exerciser.stop(), exerciser.errors)
        self.assertEqual((exerciser.verify(lambda: LoopDisk(device)), exerciser.mismatches), (0, []))
        self.a.demote()
        self.equal()

    def test_one_cable_from_the_start(self):
        inside(1, "ip link set cable1 down")
        device = super().begin()
        self.a.wait("the second path", lambda: self.active() == [False, True])
        self.fill(device, 0, 4)
        inside(1, "ip link set cable1 up")
        self.a.wait("both paths", lambda: self.paths_up() == [True, True])
        self.assertEqual(self.a.report["link"], "connected")

    def test_tls(self):
        self.make(encrypt=True)
        device = self.begin()
        self.assertEqual([path["encryption"] for path in self.a.paths], ["TLS 1.3", "TLS 1.3"])
        exerciser = self.exercise(device)
        inside(1, "ip link set cable1 down")
        pause = self.longest_pause(exerciser, lambda: self.active() == [False, True])
        self.assertLess(pause, 1)
        self.assertTrue(exerciser.stop(), exerciser.errors)
        self.assertEqual(exerciser.mismatches, [])
        self.a.demote()
        self.equal()

    def mismatch(self, encrypted, plain):
        """One side wants TLS and the other does not: nothing is connected, and both say why."""
        encrypted.choose(encrypt=True)
        self.a.start()
        self.b.start()
        self.a.promote()
        for server in (self.a, self.b):
            server.says("note", "encrypt")
        self.alone(self.a)
        self.assertNotIn(self.a.report["link"], ("connected", "copying"))
        self.assertTrue(any("encrypt" in path["problem"] or "TLS" in path["problem"] for path in self.a.paths), self.a.paths)
        plain.kill()
        plain.choose(encrypt=True)
        plain.start()
        if plain is self.b:
            self.both()

    def test_tls_wanted_by_the_primary_only(self):
        self.mismatch(self.a, self.b)

    def test_tls_wanted_by_the_secondary_only(self):
        self.mismatch(self.b, self.a)

    def test_compression(self):
        self.make(compress=True)
        device = self.begin()
        shell(f"head -c {16 * MIB} /dev/zero | tr '\\0' x | dd of={device} bs=1M iflag=fullblock oflag=direct conv=fsync 2>&1")
        told = json.loads(shell(f"ip -j -s -n {NETWORKS[1]} link show cable1").stdout)
        sent = told[0]["stats64"]["tx"]["bytes"]
        print(f"  16 MiB written, {sent >> 10} KiB sent ", end="", flush=True)
        self.assertLess(sent, 4 * MIB)
        self.fill(device, 20, 8)
        self.assertEqual(self.a.report["link"], "connected")
        self.a.demote()
        self.equal()

    def test_compression_and_tls_under_load(self):
        self.make(compress=True, encrypt=True)
        device = self.begin()
        exerciser = self.exercise(device)
        wait_for("more work", lambda: exerciser.operations > 1500 or exerciser.errors, 20)
        self.assertTrue(exerciser.stop(), exerciser.errors)
        self.assertEqual(exerciser.mismatches, [])
        self.a.demote()
        self.equal()


if __name__ == "__main__":
    sys.exit(mirror_test.run(__name__, ConnectTest))
