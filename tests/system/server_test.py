#!/usr/bin/env python3
"""Orderly work with servers in the lab: drain, shutdown and start again, suspension, return by hand, shutdown of the whole
cluster; a client writes all the time and nothing is lost."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "script", "lib"))
from cluster_test import OTHER, ClusterTest, run_tests
from lab_cluster import GROUP, group_of, started_on


def server_of(status, name):
    return next(server for server in status["servers"] if server["name"] == name)


def stands(name, *standings):
    """A predicate: the server is in one of these states."""
    return lambda status: server_of(status, name)["standing"] in standings


class Servers(ClusterTest):
    configuration_replacements = (('timing = "lan"', 'return = "manual"\ntiming = "lan"'),)

    def ask(self, *words, timeout_s=90):
        """At the witness, which stays up whatever is asked for."""
        return self.cluster.baton("witness", *words, timeout_s=timeout_s)

    def is_there(self, name):
        return lambda status: server_of(status, name)["state"] == "up"

    def drain_and_shut_down(self):
        self.ask("server", "drain", "server1", "--reason", "new disks")
        self.cluster.wait_for(started_on("server2"), 60, "the drained server's group on server2")
        self.assertIsNotNone(server_of(self.cluster.any_status(), "server1")["drain"])
        self.ask("server", "undrain", "server1")
        self.ask("server", "shutdown", "server2")
        self.cluster.wait_for(lambda status: stands("server2", "stopped")(status) and not self.is_there("server2")(status), 60,
                              "server2 to have ended in order", servers=("witness", "server1"))
        self.cluster.wait_for(started_on("server1"), 60, "the group back on server1", servers=("witness", "server1"))
        self.assertEqual(self.cluster.processes("server2", "corosync"), [])
        self.assertEqual(self.cluster.processes("server2", "baton-mirrord"), [])
        self.rows_go_on()
        self.restart("server2")
        self.cluster.wait_for(stands("server2", "normal"), 60, "server2 to be normal at once, for it was stopped in order")
        self.cluster.wait_normal(120)

    def restart(self, name):
        self.cluster.power_off(name)
        self.cluster.power_on(name)

    def suspend_and_return(self):
        self.ask("group", "suspend", GROUP, "--reason", "look at it")
        self.cluster.power_off("server1")
        self.cluster.wait_for(lambda status: "suspended by" in group_of(status)["waiting"], 60, "the suspension to be shown",
                              servers=("witness", "server2"))
        self.assertNotEqual(group_of(self.cluster.any_status())["owner"], "server2")
        self.ask("group", "resume", GROUP)
        self.cluster.wait_for(started_on("server2"), 60, "the group on server2", servers=("witness", "server2"))
        self.cluster.power_on("server1")
        self.cluster.wait_for(stands("server1", "isolated"), 60, "server1 to be kept apart")
        self.cluster.wait_normal(120)  # its copy is brought up to date all the same
        refused = self.cluster.baton("witness", "group", "move", GROUP, "server1", check=False)
        self.assertIn("isolated (Od)", refused.stderr)
        self.ask("server", "return", "server1")
        self.ask("group", "move", GROUP, "server1")
        self.rows_go_on()

    def shut_the_cluster_down(self):
        self.ask("cluster", "shutdown")
        for name in OTHER:
            self.cluster.wait_until(lambda name=name: not self.cluster.processes(name, "batond"), 60, f"{name} to have ended")
        for name in OTHER:
            self.restart(name)
        self.cluster.wait_for(started_on("server1"), 90, "the group to start by itself")
        self.cluster.wait_normal(120)

    def test_orderly_work(self):
        self.drain_and_shut_down()
        self.suspend_and_return()
        self.shut_the_cluster_down()
        self.rows_go_on()
        self.end_and_check()


if __name__ == "__main__":
    sys.exit(run_tests(minutes=8))
