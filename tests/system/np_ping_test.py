#!/usr/bin/env python3
"""Two servers without a witness that ask a ping target (np = "ping"; it is the lab's client), with the real corosync and PostgreSQL: the
owner's power is cut; it loses every link, the target with them; the links between the two are cut and the public LAN carries the rest; both
reach no target. One goes on where one may, nobody where nobody may, and no row that a client was told is committed is lost."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "script", "lib"))
from cluster_test import ClusterTest, run_tests
from lab_cluster import example_configuration, group_of, normal, now_ns, started_on, write_configuration
from lab_faults import ADDRESSES, LabFaults

WITNESS = """[server.witness]
id = 3
role = "witness"                    # votes and remembers, runs no group
interconnects = ["10.88.1.9", "10.88.0.9"]
"""
TARGET = "10.88.0.100"
STEADY_MS = 1500
NP = f'[cluster]\nnp = "ping"\nping_targets = ["{TARGET}"]\n'


def ping_of(status):
    return status["partition"]["ping"] or {}


def hears(status, at_least_ms=0):
    targets = ping_of(status).get("targets", [])
    return (len(targets) == 1 and targets[0]["address"] == TARGET and targets[0]["answers"]
            and targets[0]["since_ms"] >= at_least_ms)


def together(status):
    """Both vote, the copies are equal, and the target has answered for a while: who hears it only since the loss does not go on."""
    return (normal(status) and sorted(status["voters"]["now"]) == ["server1", "server2"] and not status["voters"]["before"]
            and not status["partition"]["taken_over"] and hears(status, STEADY_MS) and ping_of(status)["standing"] == "")


class PingTargets(ClusterTest):
    configuration_replacements = ((WITNESS, ""),)
    with_witness = False
    two_owners_documented = True  # docs/protocol.md: both may go on where the target answers both and they do not hear each other

    def setUp(self):
        super().setUp()
        self.faults = LabFaults(self.cluster)
        path = write_configuration(example_configuration(self.configuration_replacements).replace("[cluster]\n", NP, 1), "np-ping.toml")
        said = self.cluster.baton("server1", "apply", path).stdout
        self.assertIn("does not promise one owner", " ".join(said.split()))
        self.all_together()

    def all_together(self):
        for server in ("server1", "server2"):
            self.cluster.wait_for(together, 90, f"{server} to find everything well", [server])

    def goes_on(self, server, begun, what, most_ms):
        """By nobody's word."""
        self.cluster.wait_for(lambda status: status["database"]["serving"] and status["partition"]["taken_over"], 20,
                              f"{server} to decide alone", [server])
        self.cluster.wait_for(started_on(server), 30, f"the group to be started on {server}", [server])
        self.rows_go_on()
        gap = self.ledger.longest_gap(begun)
        self.say(f"{what}: the longest time without a row was {gap.ms:.0f} ms")
        self.assertLess(gap.ms, most_ms)

    def waits(self, server, why):
        """It decides nothing, has no lease, and says why."""
        status = self.cluster.wait_for(
            lambda status: not status["database"]["serving"] and not status["lease"]["valid"] and why in status["partition"]["waiting"], 20,
            f'{server} to wait and to say "{why}"', [server])
        self.say(f"{server} says: {status['partition']['waiting']}")
        return status

    def test_who_reaches_the_target_goes_on(self):
        cluster = self.cluster
        self.assertEqual(self.owner(), "server1")
        begun = now_ns()
        cluster.power_off("server1")
        self.goes_on("server2", begun, "the owner lost its power", 5000)
        cluster.power_on("server1")
        self.all_together()

        begun = now_ns()
        cluster.lab("cut", "server2")
        self.waits("server2", "no ping target answered")
        cluster.wait_for(lambda status: not hears(status), 10, "server2 to show that the target does not answer", ["server2"])
        self.goes_on("server1", begun, "the owner lost every link, the target with them", 5000)
        cluster.lab("heal")
        self.all_together()
        self.assertEqual(self.owner(), "server1")
        self.end_and_check()

    def test_the_links_between_the_two_are_cut(self):
        cluster = self.cluster
        self.assertEqual(self.owner(), "server1")
        begun = now_ns()
        mend = [self.cut_interconnects("server1", "server2"), self.cut_interconnects("server2", "server1")]
        self.goes_on("server1", begun, "only the links between the two are cut", 5000)
        status = self.waits("server2", "still answers")
        self.assertTrue(hears(status))
        for again in mend:
            again()
        self.all_together()

        mend = [self.deaf_to_the_target(server) for server in ("server1", "server2")]
        for server in ("server1", "server2"):
            cluster.wait_for(lambda status: "no target answers" in ping_of(status).get("standing", ""), 20, f"{server} to say so", [server])
        self.assertTrue(cluster.status("server1")["database"]["serving"])
        cluster.lab("cut", "server2")
        for server in ("server1", "server2"):
            self.waits(server, "no ping target answered")
        cluster.lab("heal")
        for again in mend:
            again()
        self.all_together()
        self.rows_go_on()
        self.end_and_check()

    def cut_interconnects(self, server, other):
        """One of them is the public LAN here: what corosync and the mirror send there is lost, an echo gets through."""
        table, addresses = "table inet interconnects", ", ".join(ADDRESSES[other])
        self.faults.nft(server, f"{table} {{ chain way {{ type filter hook input priority -10; ip saddr {{ {addresses} }} "
                                "meta l4proto { tcp, udp } drop; }; }")
        return lambda: self.faults.nft(server, f"delete {table}")

    def deaf_to_the_target(self, server):
        table = "table inet ping_target"
        self.faults.nft(server, f"{table} {{ chain answers {{ type filter hook input priority -10; icmp type echo-reply drop; }}; }}")
        return lambda: self.faults.nft(server, f"delete {table}")


if __name__ == "__main__":
    sys.exit(run_tests(8))
