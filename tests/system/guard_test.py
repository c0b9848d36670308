#!/usr/bin/env python3
"""baton-guard keeps the lease: batond is killed or stopped for a minute on the active server and the service does not notice; the
guard is killed or stopped and replaced within the lease; with both gone the server gives up, without a row lost."""
import os
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "script", "lib"))
from cluster_test import OTHER, ClusterTest, run_tests
from lab_cluster import ADDRESS, now_ns, started_on

UNDISTURBED_MS = 200
AWAY_S = float(os.environ.get("BATON_GUARD_AWAY_S", "60"))
CONFIGURATION = "/etc/baton/cluster.toml"


class Guard(ClusterTest):
    def one(self, server, name):
        pids = self.cluster.processes(server, name)
        self.assertEqual(len(pids), 1, f"{name} on {server}: {pids}")
        return pids[0]

    def stay_away(self, server):
        """batond is not started again there until come_back()."""
        self.cluster.inside(server, "mv", CONFIGURATION, CONFIGURATION + ".away")

    def come_back(self, server):
        self.cluster.inside(server, "mv", CONFIGURATION + ".away", CONFIGURATION)

    def undisturbed(self, server, postmaster, before, limit_ms=UNDISTURBED_MS):
        gap = self.ledger.longest_gap(before).ms
        self.say(f"longest gap between two commits: {gap:.0f} ms")
        self.assertEqual(self.cluster.postmaster(server), postmaster, "PostgreSQL was restarted")
        self.assertLess(gap, limit_ms)

    def commits_for(self, seconds):
        """The client goes on committing all the time: each look finds more rows."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.rows_go_on(10, 5)
            time.sleep(min(1.0, max(0.0, end - time.monotonic())))

    def test_batond_killed_for_a_minute(self):
        server = self.owner()
        postmaster = self.cluster.postmaster(server)
        guard = self.one(server, "baton-guard")
        self.stay_away(server)
        before = now_ns()
        os.kill(self.one(server, "batond"), signal.SIGKILL)
        self.commits_for(AWAY_S)
        self.undisturbed(server, postmaster, before)
        self.come_back(server)
        self.cluster.wait_normal(120)
        self.commits_for(3)
        self.undisturbed(server, postmaster, before)
        self.assertEqual(self.owner(), server)
        self.assertEqual(self.one(server, "baton-guard"), guard, "the guard was replaced")
        self.end_and_check()
        self.check_copies()

    def test_batond_stopped_for_a_minute(self):
        server = self.owner()
        postmaster = self.cluster.postmaster(server)
        batond = self.one(server, "batond")
        before = now_ns()
        os.kill(batond, signal.SIGSTOP)
        try:
            self.commits_for(AWAY_S)
        finally:
            os.kill(batond, signal.SIGCONT)
        self.cluster.wait_normal(120)
        self.commits_for(3)
        self.undisturbed(server, postmaster, before)
        self.assertEqual(self.owner(), server)
        self.end_and_check()

    def test_guard_killed_and_guard_stopped(self):
        server = self.owner()
        postmaster = self.cluster.postmaster(server)
        for how, name in ((signal.SIGKILL, "killed"), (signal.SIGSTOP, "stopped")):
            guard = self.one(server, "baton-guard")
            before = now_ns()
            self.say(f"the guard is {name}")
            os.kill(guard, how)
            self.cluster.wait_until(lambda: self.cluster.processes(server, "baton-guard") not in ([], [guard]), 10,
                                    "another guard to run")
            self.commits_for(3)
            self.undisturbed(server, postmaster, before)
        self.end_and_check()

    def test_guard_and_batond_stopped(self):
        """Nobody renews the lease: the other server takes over, and the woken one gives way."""
        server = self.owner()
        stopped = [self.one(server, "batond"), self.one(server, "baton-guard")]
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        before = now_ns()
        self.cluster.wait_for(started_on(OTHER[server]), 60, f"{OTHER[server]} to take over")
        self.say(f"taken over after {(now_ns() - before) / 1e6:.0f} ms")
        for pid in reversed(stopped):
            os.kill(pid, signal.SIGCONT)
        self.rows_go_on(100)
        self.cluster.wait_normal(180)
        self.assertEqual(self.owner(), OTHER[server])
        self.say(f"outage {self.ledger.longest_gap(before).ms:.0f} ms")
        self.end_and_check()
        self.check_copies()

    def test_owner_cut_off_with_batond_dead(self):
        """The guard alone drops the address and ends the processes; the other server has taken over."""
        server = self.owner()
        self.stay_away(server)
        os.kill(self.one(server, "batond"), signal.SIGKILL)
        self.rows_go_on(100)
        before = now_ns()
        self.cluster.lab("cut", server, "--all")
        self.cluster.wait_until(lambda: ADDRESS not in self.addresses(server), 10, "the guard to drop the address")
        self.say(f"address dropped after {(now_ns() - before) / 1e6:.0f} ms")
        self.cluster.wait_for(started_on(OTHER[server]), 60, f"{OTHER[server]} to take over",
                              servers=("witness", OTHER[server]))
        self.cluster.wait_until(lambda: not self.cluster.processes(server, "postgres"), 60,
                                "the guard to end PostgreSQL")
        self.say(f"processes ended after {(now_ns() - before) / 1e6:.0f} ms")
        self.rows_go_on(100)
        self.cluster.lab("heal", server)
        self.come_back(server)
        self.cluster.wait_normal(180)
        self.assertEqual(self.owner(), OTHER[server])
        self.end_and_check()
        self.check_copies()

    def addresses(self, server):
        return self.cluster.inside(server, "ip", "-4", "addr").stdout


if __name__ == "__main__":
    sys.exit(run_tests(minutes=14))
