#!/usr/bin/env python3
"""A rolling upgrade from the previous version to this one, in the lab with corosync and PostgreSQL: one server at a time, a
client writing all the time; the group moves between the versions, by hand and after a power cut, and there is a way back. And
batond alone is upgraded on the server that has the group, under the former version's other programs."""
import os
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "script", "lib"))
import previous_version
from cluster_test import OTHER, ClusterTest, run_tests
from lab_cluster import BIN, GROUP, now_ns, started_on

SKIPPED = 77  # exit status, for script/test
OF_BATON = ("batond", "baton-guard", "baton-mirrord", "corosync")
STAY = ("baton-guard", "baton-mirrord", "baton-shim")  # what goes on while batond is replaced
UNDISTURBED_MS = 250


class Upgrade(ClusterTest):
    def change(self, server, programs):
        """As a person does it: shut down in order, another version installed, started again."""
        self.say(f"{server} gets {os.path.relpath(programs)}")
        if server != "witness":  # which has nothing to move away, and is just stopped
            self.cluster.baton(server, "server", "shutdown", server, "--timeout", "60 s")
            self.cluster.wait_until(lambda: not any(self.cluster.processes(server, program) for program in OF_BATON), 45,
                                    f"Baton to have ended on {server}")
        self.rows_go_on()
        self.cluster.power_off(server)
        self.cluster.power_on(server, programs)
        self.cluster.wait_for(lambda status: status["database"]["serving"], 60, f"{server} to be back", [server])
        self.cluster.wait_normal(120)
        self.assertEqual(self.runs(server), programs)
        self.rows_go_on()

    def runs(self, server):
        """The directory of the programs that a server runs."""
        return os.path.dirname(os.readlink(f"/proc/{self.cluster.processes(server, 'batond')[0]}/exe"))

    def level(self):
        return self.cluster.any_status()["format_level"]

    def move_to(self, server):
        self.cluster.baton("witness", "group", "move", GROUP, server)
        self.cluster.wait_for(started_on(server), 30, f"the group on {server}")
        self.cluster.wait_normal(120)
        self.rows_go_on()

    def test_one_server_at_a_time(self):
        old, new = self.servers_run, BIN
        self.assertEqual(self.runs("server1"), old)
        before = self.level()
        self.change("server2", new)
        self.move_to("server2")  # from the old to the new
        self.move_to("server1")  # and back
        self.cluster.power_off("server1")
        self.cluster.wait_for(started_on("server2"), 60, "the new version to take over from the old")
        self.cluster.power_on("server1")
        self.cluster.wait_normal(120)
        self.change("server2", old)  # the way back: its group goes to the old one, and it returns as one
        self.assertEqual(self.level(), before)  # while one of the old version votes
        self.change("server2", new)
        self.change("witness", new)
        self.change("server1", new)
        for server in (*OTHER, "witness"):
            self.assertEqual(self.runs(server), new)
        self.cluster.wait_for(lambda status: status["format_level"] > before, 20, "the level of the new version to be used")
        self.move_to(OTHER[self.owner()])
        self.end_and_check()
        self.check_copies()

    def running(self, server):
        return {name: self.cluster.processes(server, name) for name in STAY}

    def is_new(self, server):
        """Its batond is of the file that this version has built."""
        batonds = self.cluster.processes(server, "batond")
        try:
            return len(batonds) == 1 and os.path.samestat(os.stat(f"/proc/{batonds[0]}/exe"), os.stat(os.path.join(BIN, "batond")))
        except FileNotFoundError:
            return False  # it has ended in this moment

    def test_batond_alone_on_the_owner(self):
        owner = self.owner()
        others, postmaster = self.running(owner), self.cluster.postmaster(owner)
        batond = self.cluster.processes(owner, "batond")[0]
        # A package puts the new file in the old one's place, and batond is started again.
        self.cluster.inside(owner, "mount", "--bind", os.path.join(BIN, "batond"), os.path.join(self.servers_run, "batond"))
        before = now_ns()
        os.kill(batond, signal.SIGTERM)
        self.cluster.wait_until(lambda: self.is_new(owner), 30, f"{owner} to run the new batond")
        self.cluster.wait_for(lambda status: status["database"]["serving"], 60, "the new batond to serve", [owner])
        self.cluster.wait_normal(120)
        self.rows_go_on(500)
        gap = self.ledger.longest_gap(before).ms
        self.say(f"longest gap between two commits: {gap:.0f} ms")
        self.assertLess(gap, UNDISTURBED_MS)
        self.assertEqual(self.owner(), owner)
        self.assertEqual(self.cluster.postmaster(owner), postmaster, "PostgreSQL was restarted")
        self.assertEqual(self.running(owner), others, "the other programs were replaced, too")
        # It steers what the former version began: the group stops there in order, and starts elsewhere.
        self.move_to(OTHER[owner])
        self.change(owner, BIN)
        self.end_and_check()
        self.check_copies()


if __name__ == "__main__":
    try:
        Upgrade.servers_run = previous_version.programs(lambda text: print(f"  {text}", flush=True))
        sys.exit(run_tests(9))
    except previous_version.NoHistory as why:
        print(f"not run: {why}")
        sys.exit(SKIPPED)
    except subprocess.SubprocessError as why:
        sys.exit(f"the previous version cannot be built: {why}; see {previous_version.PLACE}/build.log")
