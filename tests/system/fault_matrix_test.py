#!/usr/bin/env python3
"""The fault matrix, with the real corosync and PostgreSQL: each fault is made under write load, met as expected, and made
good; nothing is lost, nobody answers twice, and `baton explain` tells why. With --all also the long and rare ones; words like
--parts=links,power choose parts. What was seen is in build/fault-matrix.md, as the table of docs/fault-matrix.md."""
import itertools
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "script", "lib"))
from address_probe import coarsest_ms
from cluster_test import OTHER, ClusterTest, run_tests
from lab_cluster import GROUP, MIRROR, ROOT, LabFailure, api_call, group_of, normal, now_ns, started_on
from lab_faults import LabFaults

ALL = "--all" in sys.argv
PARTS = ("links", "pauses", "programs", "disks", "power")
CHOSEN = next((word.partition("=")[2].split(",") for word in sys.argv if word.startswith("--parts=")), PARTS)
if set(CHOSEN) - set(PARTS):
    sys.exit(f"--parts={','.join(CHOSEN)}: there are {', '.join(PARTS)}")
SERVERS = ("server1", "server2", "witness")
SLOW_MS = 200
PATIENCE_MS = 500  # of the ledger's client, for one answer
NOTICED_MS = 1000  # token + consensus of profile "lan" is 836
NO_MAJORITY = ("no majority of servers and witness is within reach",)  # what `baton explain` says on a server that is alone
LOST = ("lost", "storage was not up any more", "failed")  # what a reason for a move has at least one of


class FaultMatrix(ClusterTest):
    watched = False  # each fault has a probe of its own

    def setUp(self):
        super().setUp()
        self.faults = LabFaults(self.cluster)
        self.table = []  # (fault, what became of it, outage ms, overlap ms, resolution ms)
        self.wrong = []

    # One fault each. `expected`: "stays", "moves", "any" (where only safety is promised).

    def meet(self, name, expected, fault, *arguments, lasts_s=0, noticed=None, told=(), rows=200, unfelt=False, because=LOST, **options):
        """`lasts_s`: how long the fault is (part of the fault, no waiting for something); else until it is dealt with, or so many
        `rows` were written meanwhile. `told`: what `baton explain` says on the former owner as long as it lasts. `unfelt`: no
        request fails, nor waits for longer than the loss of a link takes to be noticed; but the client itself gives one up and asks
        again after its patience."""
        owner = self.owner()
        before = now_ns()
        self.ledger.read()
        failed = self.ledger.resolved
        self.watch_owners()
        mend = fault(*arguments, **options)
        try:
            if lasts_s:
                time.sleep(lasts_s)
            if expected == "moves":
                self.cluster.wait_for(started_on(OTHER[owner]), 60, f"{OTHER[owner]} to take over",
                                      (OTHER[owner], "witness"))
                self.rows_go_on(50)
            elif noticed:
                self.cluster.wait_for(noticed, 60, f"the others to notice: {name}", (owner,))
                self.rows_go_on(50)
            elif not lasts_s:
                self.rows_go_on(rows)
            if told:
                self.explained(name, owner, *told)
        finally:
            mend()
            self.cluster.refresh()
        self.settle()
        self.judge(name, expected, owner, before, because)
        outage = self.ledger.longest_gap(before).ms
        if unfelt and (outage > NOTICED_MS or self.ledger.resolved != failed and outage < PATIENCE_MS):
            self.complain(f"{name}: {self.ledger.resolved - failed} requests failed, the longest wait was {outage:.0f} ms")

    def settle(self):
        """Until all is well and the cluster has nothing more to write down about it: who comes back from a pause may be in
        sync for a moment before it learns that its group went elsewhere."""
        deadline = now_ns() + 180e9
        while now_ns() < deadline:
            committed = self.cluster.wait_normal(180)["database"]["committed"]
            self.rows_go_on(100)
            status = self.cluster.any_status()
            if normal(status) and status["database"]["committed"] == committed:
                return
        self.fail("the cluster finds no rest after the fault")

    def judge(self, name, expected, owner, before, because=LOST):
        report, wrong = self.end_watch()
        place = "stays" if self.owner() == owner else "moves"
        outage = self.ledger.longest_gap(before).ms
        overlap = report["overlap_ms"]
        coarse = coarsest_ms(report)
        self.table.append((name, place, outage, overlap, coarse))
        self.say(f"{name:<52} {place}  outage {outage:7.0f} ms, two answered {overlap:.1f} ms (to {coarse:.0f} ms)")
        if expected not in ("any", place):
            self.complain(f"{name}: it {place}, expected: it {expected}")
        for each in wrong:
            self.complain(f"{name}: {each}")
        if place == "moves":
            reason = self.last_assignment(self.owner())
            if not any(word in reason for word in because):
                self.complain(f"{name}: explain does not tell why it moved: {reason}")

    def complain(self, text):
        """Told at once; the test fails when all faults are done."""
        self.say(f"WRONG: {text}")
        self.wrong.append(text)

    def explained(self, name, server, *words):
        """What a person who asks there is told while it lasts: each of the words."""
        said = ""

        def tells():
            nonlocal said
            said = " ".join(self.cluster.baton(server, "explain", GROUP, check=False).stdout.split())
            return all(word in said for word in words)
        try:
            self.cluster.wait_until(tells, 20, f"`baton explain` on {server} to tell why")
        except LabFailure:
            self.complain(f"{name}: `baton explain` on {server} does not say {words}, but: {said[:300]}")

    def explain(self, server):
        return api_call(self.cluster.init_pid(server), "GET", f"/v1/explain?group={GROUP}")

    def last_assignment(self, server):
        """The newest transition that gave the group to a server, with its causes."""
        transitions = self.explain(server)["transitions"]
        found = next((each for each in sorted(transitions, key=lambda each: -each["index"])
                      if "assign to server" in each["text"]), None)
        return " ".join([found["text"], *found["causes"]]) if found else "nothing"

    def down(self, *servers):
        """A predicate: these are not there."""
        return lambda status: all(server["state"] != "up" for server in status["servers"] if server["name"] in servers)

    def another_epoch(self):
        """A predicate: the members were judged anew, even if all of them are there again by now."""
        epoch = self.cluster.any_status()["database"]["epoch"]
        return lambda status: status["database"]["serving"] and status["database"]["epoch"] != epoch

    # The parts of the matrix

    def links(self):
        owner = self.owner()
        standby = OTHER[owner]
        cut = self.faults.cut
        self.meet("interconnect of the owner out", "stays", cut, owner, "--link", "0")
        self.meet("interconnect of the standby silent", "stays", cut, standby, "--link", "0", "--silent")
        self.meet("all links of the standby out", "stays", cut, standby, "--all", noticed=self.down(standby))
        self.meet("all links of the witness silent", "stays", cut, "witness", "--all", "--silent",
                  noticed=self.down("witness"))
        mute, deaf = self.faults.mute, self.faults.deaf
        self.meet("interconnect of the owner mute", "stays", mute, owner, standby, "witness", links=[0], unfelt=True)
        self.meet("interconnect of the owner deaf", "stays", deaf, owner, standby, "witness", links=[0], unfelt=True)
        self.meet("all links of the owner silent", "moves", cut, owner, "--all", "--silent", told=NO_MAJORITY)
        owner, standby = standby, owner
        self.meet("nobody hears the owner", "moves", mute, owner, standby, "witness", told=NO_MAJORITY)
        owner = self.owner()
        self.meet("the owner hears nobody", "moves", deaf, owner, OTHER[owner], "witness", told=NO_MAJORITY)
        if not ALL:
            return
        owner = self.owner()
        self.meet("the standby does not hear the owner", "any", deaf, OTHER[owner], owner, lasts_s=6)
        self.meet("public LAN of the owner silent for 3 s", "any", cut, self.owner(), "--link", "1", "--silent", lasts_s=3)
        self.meet("the witness does not hear the owner", "any", deaf, "witness", self.owner(), lasts_s=10)
        self.meet("nobody hears the standby", "stays", mute, OTHER[self.owner()], self.owner(), "witness", lasts_s=5)
        for server in SERVERS:
            for link in ("0", "1"):
                self.meet(f"link {link} of {server} out", "any", cut, server, "--link", link, lasts_s=3)

    def pauses(self):
        for seconds in (1, 2, 10, 30) if ALL else (1, 5):
            self.meet(f"the owner stands still for {seconds} s", "any" if seconds <= 2 else "moves",
                      self.faults.pause, self.owner(), lasts_s=seconds)
        for server in (("standby", "witness") if ALL else ("standby",)):
            name = OTHER[self.owner()] if server == "standby" else server
            self.meet(f"the {server} stands still for 3 s", "stays", self.faults.pause, name, lasts_s=3)

    def programs(self):
        kill, stop = self.faults.kill, self.faults.stop
        self.meet("kill -9 of the owner's batond", "stays", kill, self.owner(), "batond")
        self.meet("SIGSTOP of the owner's batond for 6 s", "stays", stop, self.owner(), "batond", lasts_s=6)
        self.meet("kill -9 of the owner's guard", "any", kill, self.owner(), "baton-guard")
        self.meet("kill -9 of the standby's corosync", "stays", kill, OTHER[self.owner()], "corosync",
                  noticed=self.another_epoch())
        self.meet("SIGSTOP of the owner's corosync for 4 s", "moves", stop, self.owner(), "corosync", lasts_s=4)
        self.meet("SIGSTOP of the standby's mirror daemon for 2 s", "stays", stop, OTHER[self.owner()], "baton-mirrord",
                  lasts_s=2)
        self.meet("kill -9 of the service's baton-shim", "stays", kill, self.owner(), "baton-shim")
        for name in ("baton-guard", "baton-mirrord", "baton-shim", "corosync"):
            self.meet(f"SIGSTOP of the owner's {name} for 1 s", "any" if name == "corosync" else "stays", stop, self.owner(), name,
                      lasts_s=1)
        if not ALL:
            return
        self.meet("SIGSTOP of the service's baton-shim for 20 s", "stays", stop, self.owner(), "baton-shim", lasts_s=20)
        for name in ("batond", "baton-guard", "corosync"):
            for server in (OTHER[self.owner()], "witness"):
                self.meet(f"SIGSTOP of {name} on {server} for 1 s", "stays", stop, server, name, lasts_s=1)
        for server, name in itertools.product(SERVERS, ("batond", "corosync", "baton-guard")):
            expected = "stays" if name == "batond" else "any"
            self.meet(f"kill -9 of {name} on {server}", expected, kill, server, name,
                      noticed=self.another_epoch() if name == "corosync" else None)
            self.meet(f"SIGSTOP of {name} on {server} for 8 s", expected, stop, server, name, lasts_s=8)
        self.meet("SIGSTOP of the owner's batond for 60 s", "stays", stop, self.owner(), "batond", lasts_s=60)
        for server in SERVERS[:2]:
            self.meet(f"kill -9 of baton-mirrord on {server}", "any", kill, server, "baton-mirrord")
            self.meet(f"SIGSTOP of baton-mirrord on {server} for 8 s", "any", stop, server, "baton-mirrord", lasts_s=8)
        self.meet("kill -9 of the owner's PostgreSQL", "any", kill, self.owner(), "postgres")

    def disks(self):
        self.meet("the standby's disk is full for 3 s", "stays", self.faults.disk_full, OTHER[self.owner()], lasts_s=3)
        self.meet("the owner's disk stands still for 2 s", "any", self.faults.disk_stands_still, self.owner(), lasts_s=2)
        for whose, server in (("owner", self.owner()), ("standby", OTHER[self.owner()])):
            self.meet(f"each write to the {whose}'s disk takes {SLOW_MS} ms", "stays", self.faults.disk_slow, server, SLOW_MS, rows=10)
        if not ALL:
            return
        # It stays (protocol, D1), until a person moves it to replace the disk.
        self.meet("the owner's disk is full for 5 s, and replaced", "any", self.full_then_replaced, self.owner(), lasts_s=5,
                  because=("an operator wants it",))
        self.meet("the witness's disk is full for 5 s", "stays", self.faults.disk_full, "witness", lasts_s=5)
        for server in SERVERS:
            self.meet(f"the disk of {server} stands still for 8 s", "any", self.faults.disk_stands_still, server, lasts_s=8)

    def full_then_replaced(self, server):
        """A primary whose disk failed to write goes on by the other copy; what it holds itself is taken by a person's word."""
        mend = self.faults.disk_full(server)

        def mend_and_replace():
            mend()
            self.cluster.baton(server, "group", "move", GROUP, OTHER[server])
            self.cluster.baton(server, "mirror", "replace", MIRROR, server)
        return mend_and_replace

    def last_server_freezes(self, back):
        """The witness is lost, then the standby: the owner freezes, says why, and goes on when `back` returns."""
        owner = self.owner()
        standby = OTHER[owner]
        name = f"witness, then standby lost; the {back} returns"
        before = now_ns()
        self.watch_owners()
        self.cluster.power_off("witness")
        self.cluster.wait_for(self.down("witness"), 30, "the loss of the witness to be noticed", (owner,))
        self.rows_go_on(50)
        self.cluster.power_off(standby)
        self.cluster.wait_for(lambda status: not status["lease"]["valid"] and not status["database"]["serving"], 30,
                              f"{owner} to freeze", (owner,))
        self.explained(name, owner, "The group is frozen", *NO_MAJORITY, "the cluster database waits: no majority")
        first = standby if back == "standby" else "witness"
        self.cluster.power_on(first)
        self.rows_go_on(50)
        self.cluster.power_on("witness" if first == standby else standby)
        self.cluster.wait_normal(180)
        self.judge(name, "stays", owner, before)

    def total_power_loss(self, order):
        owner = self.owner()
        roles = {"owner": owner, "standby": OTHER[owner], "witness": "witness"}
        name = f"all power lost; back: {', '.join(order)}"
        before = now_ns()
        self.watch_owners()
        for server in SERVERS:
            self.cluster.power_off(server)
        for place, role in enumerate(order):
            self.cluster.power_on(roles[role])
            self.cluster.wait_until(lambda name=roles[role]: self.cluster.processes(name, "batond"), 30,
                                    f"batond to run on {roles[role]}")
            if place == 0:
                self.explained(name, roles[role], "the cluster database waits: no majority")
            if place == 1:  # two of three: what becomes of it is decided before the third is there
                self.cluster.wait_for(lambda status: status["database"]["serving"], 30, "a majority to serve",
                                      [roles[each] for each in order[:2]])
        self.rows_go_on(50, 120)
        self.cluster.wait_normal(180)
        self.judge(name, "any", owner, before)

    def power(self):
        self.last_server_freezes("standby")
        self.last_server_freezes("witness")
        orders = itertools.permutations(("owner", "standby", "witness"))
        for order in orders if ALL else (("standby", "witness", "owner"), ("owner", "witness", "standby")):
            self.total_power_loss(order)

    def write_table(self):
        with open(os.path.join(ROOT, "build", "fault-matrix.md"), "w") as file:
            file.write("| fault | the group | outage, ms | two answered, ms | seen to, ms |\n|---|---|---|---|---|\n")
            for name, place, outage, overlap, coarse in self.table:
                file.write(f"| {name} | {place} | {outage:.0f} | {overlap:.1f} | {coarse:.0f} |\n")

    def test_matrix(self):
        for part in PARTS:
            if part in CHOSEN:
                getattr(self, part)()
        self.write_table()
        self.end_and_check()
        self.check_copies()
        self.assertEqual(self.wrong, [])


if __name__ == "__main__":
    sys.argv = [word for word in sys.argv if not word.startswith("--")]
    sys.exit(run_tests(minutes=40 if ALL else 9))
