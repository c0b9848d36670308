#!/usr/bin/env python3
"""kill -9 of each of Baton's programs, and of PostgreSQL, on the active server: the service is up afterwards and
nothing is lost; without batond it is not even interrupted."""
import os
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "script", "lib"))
from cluster_test import ClusterTest, run_tests
from lab_cluster import now_ns

UNDISTURBED_MS = 500


class Kill(ClusterTest):
    def kill(self, name):
        """Kills a program on the active server; gives the moment before."""
        server = self.owner()
        pids = self.cluster.processes(server, name)
        self.assertTrue(pids, f"no {name} runs on {server}")
        before = now_ns()
        self.say(f"kill -9 of {name} ({pids[0]}) on {server}")
        os.kill(pids[0], signal.SIGKILL)
        return server, pids[0], before

    def comes_back(self, server, name, old_pid):
        return self.cluster.wait_until(
            lambda: next((pid for pid in self.cluster.processes(server, name) if pid != old_pid), None), 30,
            f"{name} to run on {server} again")

    def back_to_normal(self):
        self.rows_go_on(200)
        self.cluster.wait_normal(120)
        self.rows_go_on(200)

    def test_batond_does_not_interrupt_the_service(self):
        server = self.owner()
        postmaster = self.cluster.postmaster(server)
        for _ in range(3):
            server, pid, before = self.kill("batond")
            self.comes_back(server, "batond", pid)
            self.back_to_normal()
            self.assertLess(self.ledger.longest_gap(before).ms, UNDISTURBED_MS)
            self.assertEqual(self.cluster.postmaster(server), postmaster, "PostgreSQL was restarted")
        self.end_and_check()
        self.check_copies()

    def test_corosync(self):
        server, pid, before = self.kill("corosync")
        self.comes_back(server, "corosync", pid)
        self.back_to_normal()
        self.say(f"outage {self.ledger.longest_gap(before).ms:.0f} ms")
        self.end_and_check()

    def test_mirror_daemon(self):
        server, pid, before = self.kill("baton-mirrord")
        self.comes_back(server, "baton-mirrord", pid)
        self.back_to_normal()
        self.say(f"outage {self.ledger.longest_gap(before).ms:.0f} ms")
        self.end_and_check()
        self.check_copies()

    def test_mirror_daemon_of_the_standby(self):
        standby = "server2" if self.owner() == "server1" else "server1"
        pid = self.cluster.processes(standby, "baton-mirrord")[0]
        os.kill(pid, signal.SIGKILL)
        self.comes_back(standby, "baton-mirrord", pid)
        self.back_to_normal()
        self.end_and_check()
        self.check_copies()

    def test_postgresql(self):
        server, pid, before = self.kill("postgres")
        self.comes_back(server, "postgres", pid)
        self.back_to_normal()
        self.say(f"outage {self.ledger.longest_gap(before).ms:.0f} ms")
        self.end_and_check()


if __name__ == "__main__":
    sys.exit(run_tests(minutes=8))
