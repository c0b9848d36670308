#!/usr/bin/env python3
"""Orderly work with servers in the lab, with corosync and PostgreSQL: drain, shutdown and start again, suspension, return by
hand, shutdown of the whole cluster and start in another order; a client writes all the time and nothing is lost."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "script", "lib"))
from cluster_test import OTHER, ClusterTest, run_tests
from lab_cluster import GROUP, group_of, started_on

OF_BATON = ("batond", "baton-guard", "baton-mirrord", "corosync")


def server_of(status, name):
    return next(server for server in status["servers"] if server["name"] == name)


def stands(name, standing):
    """A predicate: the server is in that state."""
    return lambda status: server_of(status, name)["standing"] == standing


class ServerStates(ClusterTest):
    configuration_replacements = (('timing = "lan"', 'timing = "lan"\nreturn = "manual"\nstartup_wait = "40 s"'),)

    def ask(self, *words, timeout_s=60, check=True):
        """At the witness, which stays up whatever is asked for."""
        return self.cluster.baton("witness", *words, timeout_s=timeout_s, check=check)

    def look_at_witness(self, predicate, seconds, what):
        return self.cluster.wait_for(predicate, seconds, what, servers=("witness",))

    def wait_ended(self, name):
        """Baton has ended there: nothing of it is left, and batond is not started again by itself."""
        self.cluster.wait_until(lambda: not any(self.cluster.processes(name, program) for program in OF_BATON), 45,
                                f"Baton to have ended on {name}")

    def restart(self, *names):
        for name in names:
            self.cluster.power_off(name)
        for name in names:
            self.cluster.power_on(name)

    def assert_never_lost(self, *names):
        """Who was shut down in order has left, and was neither lost nor fenced."""
        said = [event["text"] for event in self.cluster.events("witness")]
        for name in names:
            self.assertTrue([text for text in said if f"{name} has left: it was shut down in order" in text], said[-40:])
            self.assertFalse([text for text in said if text.startswith(f"fencing {name}")], said)

    def test_drain_and_shutdown(self):
        drained = self.ask("server", "drain", "server1", "--reason", "new disks", "--timeout", "40 s")
        self.assertIn("done", drained.stdout)
        status = self.look_at_witness(started_on("server2"), 20, "the drained server's group on server2")
        self.assertEqual(server_of(status, "server1")["drain"]["reason"], "new disks")
        refused = self.ask("group", "move", GROUP, "server1", check=False)
        self.assertIn("is being drained", refused.stderr)
        self.ask("server", "undrain", "server1")
        self.cluster.wait_normal(60)
        self.ask("server", "shutdown", "server2", "--timeout", "40 s")
        self.look_at_witness(stands("server2", "stopped"), 10, "server2 to be stopped (X)")
        self.look_at_witness(started_on("server1"), 30, "the group back on server1")
        self.wait_ended("server2")
        self.rows_go_on()
        self.assert_never_lost("server2")
        self.restart("server2")
        self.look_at_witness(stands("server2", "normal"), 40, "server2 to be normal at once, for it was stopped in order")
        self.cluster.wait_normal(60)
        self.end_and_check()

    def test_suspension_and_return_by_hand(self):
        self.ask("group", "suspend", GROUP, "--reason", "look at it")
        self.cluster.power_off("server1")
        self.look_at_witness(lambda status: "suspended by" in group_of(status)["waiting"], 30, "the suspension to be shown")
        self.assertNotEqual(group_of(self.cluster.any_status())["owner"], "server2")
        self.ask("group", "resume", GROUP)
        self.look_at_witness(started_on("server2"), 30, "the group on server2")
        self.cluster.power_on("server1")
        self.look_at_witness(stands("server1", "isolated"), 40, "server1 to be kept apart")
        self.cluster.wait_normal(90)  # its copy is brought up to date all the same
        refused = self.ask("group", "move", GROUP, "server1", check=False)
        self.assertIn("isolated (Od)", refused.stderr)
        self.ask("server", "return", "server1")
        self.ask("group", "move", GROUP, "server1")
        self.look_at_witness(started_on("server1"), 30, "the group on server1")
        self.rows_go_on()
        self.end_and_check()

    def test_cluster_shutdown_and_start_in_another_order(self):
        self.rows_go_on()
        self.ask("cluster", "shutdown", "--timeout", "40 s")
        for name in OTHER:
            self.wait_ended(name)
        self.assert_never_lost(*OTHER)
        for name in OTHER:
            self.cluster.power_off(name)
        self.cluster.power_on("server2")
        status = self.look_at_witness(lambda status: "waits for server1" in group_of(status)["waiting"], 30,
                                      "the start to wait for server1")
        self.assertEqual(server_of(status, "server2")["standing"], "normal")
        self.cluster.power_on("server1")
        self.look_at_witness(started_on("server1"), 40, "the group to start by itself where it belongs")
        self.assertFalse(self.look_at_witness(lambda _: True, 5, "a status")["shut_down"])
        self.cluster.wait_normal(60)
        self.rows_go_on()
        self.end_and_check()
        self.check_copies()


if __name__ == "__main__":
    sys.exit(run_tests(minutes=8))
