#!/usr/bin/env python3
"""For hours, by hand: the block exerciser on a pair of mirror daemons while either or both are killed, their copies
interrupted, disks slow or unreadable in places, the disk handed over, and the copies compared. A line a minute; the last
one ends with `N mismatches`. Needs root, /dev/fuse, loop devices, python3-libnbd and build/bin/baton-mirrord.

  mirror_soak.py [--minutes 30] [--seed N] [--protocol A|B|C] [--size MIB] [--power] [--tls]
  --power: a killed daemon's disk loses what was not synced (build/bin/baton-lab-disk).
"""
import argparse
import os
import random
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "script", "lib"))
import debian_python  # noqa: E402

debian_python.need_nbd()
import mirror_pair  # noqa: E402
from block_exerciser import Exerciser, LoopDisk, NbdDisk  # noqa: E402
from mirror_durability_test import VolatileDisk  # noqa: E402
from mirror_pair import own_loops, shell, wait_for  # noqa: E402

PLACE, KEY, PORT = "/var/tmp/baton-mirror-soak", "mirror.soaked", 18190
MIB = 1 << 20


class Soak:
    def __init__(self, options):
        self.options = options
        self.chance = random.Random(options.seed)
        self.counts = {}
        self.size = options.size * MIB
        mirror_pair.clean_up(PLACE, KEY)
        os.makedirs(PLACE)
        self.cluster = mirror_pair.Cluster(PLACE, KEY, self.size)
        self.servers = self.cluster.servers = [
            mirror_pair.Server(self.cluster, number, PORT, protocol=options.protocol, encrypt=options.tls,
                               fault_file=f"{PLACE}/server{number}/faults", nbd_socket=f"{PLACE}/nbd{number}")
            for number in (1, 2)]
        self.disks = {}
        if options.power:
            for server in self.servers:
                disk = self.disks[server] = VolatileDisk(PLACE, server.number)
                server.store = f"{disk.mount}/store"
                server.choose(store=server.store, metadata=f"{disk.mount}/meta")
        self.exerciser = Exerciser(self.size // 4096, seed=options.seed, flushes=0.04)
        self.primary, self.other = self.servers
        self.device = ""

    def end(self):
        for server in self.servers:
            if server.running():
                server.kill()
        for disk in self.disks.values():
            disk.end()
        mirror_pair.clean_up(PLACE, KEY)

    # ---- The client ----

    def open_disk(self):
        if self.chance.random() < 0.5:
            return LoopDisk(self.device)
        return NbdDisk(self.primary.details["nbd_socket"])

    def go_on(self):
        self.exerciser.start(self.open_disk)

    def work(self, operations):
        done = self.exerciser.operations
        wait_for("the client's requests to be answered",
                 lambda: self.exerciser.operations > done + operations or self.exerciser.errors or
                 self.exerciser.mismatches, 60)

    def rest(self):
        """The client ends, and has met no error."""
        if not self.exerciser.stop(60):
            raise AssertionError(f"the client met errors: {self.exerciser.errors}")

    # ---- What happens ----

    def count(self, what):
        self.counts[what] = self.counts.get(what, 0) + 1

    def kill(self, *servers):
        for server in servers:
            server.process.kill()
        for server in servers:
            server.kill()
            wait_for("the dead daemon's last word to be read", lambda server=server: server.ended)
            if server in self.disks:
                self.disks[server].command(f"lose {self.chance.randrange(1 << 30)}")

    def promote(self, server):
        """The server that may: its copy is all that is needed of the set."""
        with self.cluster.lock:
            in_sync = self.cluster.state["in_sync"]
            if len(in_sync) != 2 or not all(each.running() for each in self.servers):
                in_sync = {str(server.number): server.report["incarnation"]}
            self.cluster.commit(permit=self.cluster.state["permit"] + 1, holder=server.number, in_sync=in_sync)
        server.notices.clear()
        server.send({"request": "promote", "permit": self.cluster.state["permit"]})
        answer = server.notice("promoted", "failed", seconds=30)
        if answer["notice"] != "promoted":
            raise AssertionError(f"server {server.number} refuses: {answer}; {self.cluster.state}; {server.report}")
        self.device = answer["device"]
        self.primary, self.other = server, next(each for each in self.servers if each is not server)
        wait_for("its report", lambda: server.details.get("nbd_socket") and server.report.get("exported"))

    def verify(self, lost_power):
        wrong = self.exerciser.verify(lambda: LoopDisk(self.device), after_loss=lost_power and self.options.power)
        if wrong:
            print(f"  {wrong} wrong blocks: {self.exerciser.mismatches[-5:]}", flush=True)

    def in_sync(self):
        self.primary.linked(seconds=120)
        if self.options.protocol != "A":
            wait_for("both in the set", lambda: len(self.cluster.state["in_sync"]) == 2, 60)

    def secondary_dies(self):
        self.kill(self.other)
        self.work(self.chance.choice((0, 50, 300)))
        self.other.start()

    def primary_dies(self):
        dead = self.primary
        self.kill(dead)
        self.exerciser.join(60)
        wait_for("the loop device to be gone", lambda: not own_loops(KEY))
        listed = self.cluster.state["in_sync"].get(str(self.other.number))
        if listed == self.other.report["incarnation"]:
            self.promote(self.other)
            self.verify(lost_power=False)
        else:  # it lacks writes: the dead one must come back
            self.count("primary again")
            dead.start()
            self.promote(dead)
            self.verify(lost_power=True)
        self.go_on()
        self.work(self.chance.choice((0, 50, 300)))
        if not dead.running():
            dead.start()

    def both_die(self):
        self.kill(*self.servers)
        self.exerciser.join(60)
        wait_for("the loop device to be gone", lambda: not own_loops(KEY))
        first = next(each for each in self.servers if each.number == self.cluster.state["holder"])
        for server in self.servers:
            server.start()
        in_sync = {str(first.number): first.report["incarnation"]}
        self.cluster.commit(in_sync=in_sync)
        self.promote(first)
        self.verify(lost_power=True)
        self.go_on()

    def faults(self):
        self.in_sync()  # a read that fails has to be on the other copy
        first = self.chance.randrange(self.size // 4096 - 300)
        self.primary.fault(f"read-error-once {first} 300")
        self.other.fault(f"slow {self.chance.choice((1, 20))}")
        self.work(100)
        self.primary.fault()
        self.other.fault()

    def hand_over(self):
        """In order; and both stores are the same then."""
        self.in_sync()
        self.rest()
        self.primary.demote()
        shell(f"cmp -n {self.size} {self.primary.store} {self.other.store}")
        self.promote(self.other)
        self.verify(lost_power=False)
        self.go_on()

    def run(self):
        for server in self.servers:
            server.start()
        self.promote(self.primary)
        self.go_on()
        begun = told = time.monotonic()
        actions = [self.secondary_dies, self.primary_dies, self.both_die, self.faults, self.hand_over]
        while time.monotonic() < begun + self.options.minutes * 60:
            if self.chance.random() < 0.7:  # else: in the middle of a copy
                self.in_sync()
            self.work(self.chance.choice((0, 100, 500)))
            action = self.chance.choice(actions)
            self.count(action.__name__)
            action()
            if self.exerciser.mismatches:
                break
            if time.monotonic() > told + 60:
                told = time.monotonic()
                self.tell(begun)
        else:
            self.hand_over()
            self.rest()
        self.tell(begun)

    def tell(self, begun):
        what = ", ".join(f"{name} {count}" for name, count in sorted(self.counts.items()))
        print(f"{(time.monotonic() - begun) / 60:.1f} minutes, seed {self.options.seed}: {self.exerciser.operations} requests; "
              f"{what}; {self.exerciser.torn} blocks torn; {len(self.exerciser.mismatches)} mismatches", flush=True)
        for text in self.exerciser.mismatches[:10]:
            print("  " + text, flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--protocol", default="C", choices=("A", "B", "C"))
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--power", action="store_true")
    parser.add_argument("--tls", action="store_true")
    options = parser.parse_args()
    mirror_pair.own_mounts()
    soak = Soak(options)
    try:
        soak.run()
    except BaseException:
        soak.tell(time.monotonic())
        for server in soak.servers:
            print(f"server {server.number}: {server.report}\n{server.log_text()}", flush=True)
        raise
    finally:
        soak.end()
    return 1 if soak.exerciser.mismatches else 0


if __name__ == "__main__":
    sys.exit(main())
