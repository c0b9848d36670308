#!/usr/bin/env python3
"""Two servers without a witness that have a disk in common (np = "disk"), with the real corosync and PostgreSQL: whichever is lost, the
other one goes on by nobody's word, whom the disk names goes on when it returns alone, and the other one never does. No row that a client was
told is committed is ever lost. The disk is a file that both servers of the lab see, read and written past the page cache."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "script", "lib"))
from cluster_test import ClusterTest, run_tests
from lab_cluster import ROOT, example_configuration, group_of, normal, now_ns, started_on, write_configuration

WITNESS = """[server.witness]
id = 3
role = "witness"                    # votes and remembers, runs no group
interconnects = ["10.88.1.9", "10.88.0.9"]
"""
DISK = os.path.join(ROOT, "build", "np-disk-of-the-lab")


def disk_of(status):
    return status["partition"]["disk"] or {}


def together(status):
    """Both vote, the copies are equal, and the disk names nobody."""
    return (normal(status) and sorted(status["voters"]["now"]) == ["server1", "server2"] and not status["voters"]["before"]
            and disk_of(status).get("answers") and disk_of(status)["names"] == "" and disk_of(status)["standing"] == "")


class SharedDisk(ClusterTest):
    configuration_replacements = ((WITNESS, ""),)
    with_witness = False

    def setUp(self):
        super().setUp()
        if os.path.exists(DISK):
            os.remove(DISK)
        self.addCleanup(lambda: os.path.exists(DISK) and os.remove(DISK))
        cluster = self.cluster
        cluster.baton("server1", "cluster", "np-disk", DISK)
        again = cluster.baton("server2", "cluster", "np-disk", DISK, check=False)
        self.assertIn("is prepared already", again.stderr)
        text = example_configuration(self.configuration_replacements)
        path = write_configuration(text.replace("[cluster]\n", f'[cluster]\nnp = "disk"\nnp_disk = "{DISK}"\n', 1), "np-disk.toml")
        cluster.baton("server1", "apply", path)
        for server in ("server1", "server2"):
            cluster.wait_for(together, 60, f"{server} to see the other one write to the disk", [server])

    def goes_on(self, server, begun, what, most_ms):
        """By nobody's word."""
        cluster = self.cluster
        status = cluster.wait_for(lambda status: status["database"]["serving"] and status["partition"]["taken_over"], 20,
                                  f"{server} to decide alone", [server])
        cluster.wait_for(started_on(server), 30, f"the group to be started on {server}", [server])
        self.rows_go_on()
        gap = self.ledger.longest_gap(begun)
        self.say(f"{what}: the longest time without a row was {gap.ms:.0f} ms; the disk names {disk_of(status).get('names')}")
        self.assertLess(gap.ms, most_ms)

    def test_whichever_is_lost_the_other_goes_on(self):
        cluster = self.cluster
        for lost, other in (("server1", "server2"), ("server1", "server2"), ("server2", "server1")):
            owner = self.owner()
            begun = now_ns()
            cluster.power_off(lost)
            self.goes_on(other, begun, f"{lost} lost its power ({'it was the owner' if owner == lost else 'the standby'})", 5000)
            self.assertEqual(disk_of(cluster.status(other))["names"], other)
            cluster.power_on(lost)
            for server in (lost, other):
                cluster.wait_for(together, 90, f"{server} to find everything well, and the disk free", [server])
        self.end_and_check()

    def test_all_links_cut_one_goes_on(self):
        cluster = self.cluster
        owner = self.owner()
        self.assertEqual(owner, "server1")
        begun = now_ns()
        cluster.lab("cut", "server2")
        self.goes_on("server1", begun, "every link between the servers is cut", 5000)
        status = cluster.wait_for(lambda status: not status["database"]["serving"] and disk_of(status).get("names") == "server1", 20,
                                  "server2 to say whom the disk names", ["server2"])
        self.say(f"server2 says: {status['partition']['waiting']}")
        self.assertTrue(disk_of(status)["other_lives"])
        cluster.wait_until(lambda: "which writes to it" in " ".join(
            cluster.baton("server2", "cluster", "takeover", "--yes", check=False).stderr.split()), 20,
            "a takeover to be refused because server1 lives, by the disk")
        cluster.lab("heal")
        for server in ("server1", "server2"):
            cluster.wait_for(together, 90, f"{server} to find everything well, and the disk free", [server])
        self.assertEqual(self.owner(), "server1")
        self.end_and_check()

    def test_whom_the_disk_names_returns_alone(self):
        cluster = self.cluster
        begun = now_ns()
        cluster.power_off("server1")
        self.goes_on("server2", begun, "the owner lost its power", 5000)
        cluster.power_off("server2")
        cluster.power_on("server1")
        status = cluster.wait_for(lambda status: not status["database"]["serving"] and disk_of(status).get("names") == "server2", 30,
                                  "server1 to say whom the disk names", ["server1"])
        self.say(f"server1 says: {status['partition']['waiting']}")
        self.assertNotEqual(group_of(status).get("owner"), "server1")
        cluster.power_off("server1")
        cluster.power_on("server2")
        cluster.wait_for(started_on("server2"), 60, "server2 to go on alone after its start", ["server2"])
        self.rows_go_on()
        cluster.power_on("server1")
        for server in ("server1", "server2"):
            cluster.wait_for(together, 90, f"{server} to find everything well, and the disk free", [server])
        self.end_and_check()


if __name__ == "__main__":
    sys.exit(run_tests(8))
