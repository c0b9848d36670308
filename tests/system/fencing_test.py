#!/usr/bin/env python3
"""Fencing end to end: the owner is cut off from everything, its power on, and fencing is "required". As long as the agent fails the
group waits, and says why; then the server is switched off, seen to be off, and only then the group starts elsewhere."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "script", "lib"))
from cluster_test import OTHER, ClusterTest, run_tests
from lab_cluster import GROUP, group_of, now_ns, started_on
from lab_power import AGENT, SOCKET, LabPower

NO_LOGIN = "unable to connect or login to the fencing device"


def fenced(server):
    return f'[server.{server}.fence]\nagent = "{AGENT}"\ntimeout = "15 s"\nrestart = true\n' \
           f'options = {{ socket = "{SOCKET}", plug = "{server}" }}\n'


def fence_of(status, name):
    return next(server["fence"] for server in status["servers"] if server["name"] == name)


class Fencing(ClusterTest):
    configuration_replacements = (("[cluster]\n", '[cluster]\nfencing = "required"\n'),
                                  ("[server.server2]\n", fenced("server1") + "[server.server2]\n"),
                                  ("[server.witness]\n", fenced("server2") + "[server.witness]\n"))

    def test_a_server_that_is_cut_off_is_switched_off_first(self):
        cluster = self.cluster
        power = LabPower(cluster)
        self.addCleanup(power.end)
        power.broken = NO_LOGIN
        power.busy_after_off = 2
        owner = self.owner()
        survivor = OTHER[owner]
        others = ("witness", survivor)
        before = now_ns()
        cluster.lab("cut", owner, "--all")
        cluster.wait_for(lambda status: fence_of(status, owner)["state"] == "fencing failed", 30, "the first attempt to fail", others)
        self.waits_and_says_why(owner, survivor)
        self.assertTrue(cluster.processes(owner, "batond"), "it is alive, only cut off")

        power.broken = ""  # somebody has mended the controller; Baton tries again by itself
        cluster.wait_for(started_on(survivor), 60, f"{survivor} to take over after {owner} was switched off", others)
        self.rows_go_on()
        self.say(f"outage {self.ledger.longest_gap(before).ms:.0f} ms; asked: "
                 f"{', '.join(f'{action}: {answer}' for _, action, _, answer in power.record)}")
        seen_off = power.moments("status", "off")[0]
        self.assertGreater(seen_off, power.moments("off", "off")[0])
        self.assertEqual(len(power.moments("status", "the controller is busy")), 2)
        self.assertEqual(power.problems, [])
        for event in cluster.events(survivor):
            if event["group"] == GROUP and event["monotonic_us"] * 1000 > before:
                self.assertFalse("assign to server" in event["text"] and event["monotonic_us"] * 1000 < seen_off
                                 and "(refused" not in event["text"], event)
                self.assertFalse(event["kind"] == "step" and event["monotonic_us"] * 1000 < seen_off, event)

        cluster.lab("heal", owner)  # `restart`: its power is back by the agent, too
        cluster.wait_until(lambda: power.moments("on", "on"), 30, f"{owner} to be switched on again")
        cluster.refresh()
        cluster.wait_normal(120)
        self.assertEqual(self.owner(), survivor)
        cluster.wait_for(lambda status: fence_of(status, owner)["state"] == "not fenced", 30, "the record of the fencing to end")
        self.end_and_check()

    def waits_and_says_why(self, owner, survivor):
        """After a failed attempt, before the next one."""
        said = self.cluster.wait_until(lambda: (lambda text: text if NO_LOGIN in text else None)(
            " ".join(self.cluster.baton(survivor, "explain", GROUP).stdout.split())), 20, "`baton explain` to tell why it waits")
        for word in (f"{owner} must be fenced first", "fencing failed", f"baton server fence {owner} --confirm"):
            self.assertIn(word, said)
        self.say(said[said.index(f"{owner} must"):][:200])
        self.assertEqual(group_of(self.cluster.status(survivor))["owner"], owner)


if __name__ == "__main__":
    sys.exit(run_tests(3))
