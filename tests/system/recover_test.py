#!/usr/bin/env python3
"""Owner and witness are lost for good while PostgreSQL runs: the last server freezes, a person recovers the cluster on it, and it
runs the group with every row; the lost ones that come back are refused, and say so themselves, also while the survivor's batond
is away; cleared, they are taken in again. docs/protocol.md, "Recovery"."""
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "script", "lib"))
from cluster_test import OTHER, ClusterTest, run_tests
from lab_cluster import group_of, started_on
from lab_faults import LabFaults


def has_problem(text):
    return lambda status: any(text in problem for problem in status["problems"])


class Recover(ClusterTest):
    def facts(self, survivor):
        return json.loads(self.cluster.baton(survivor, "--json", "cluster", "recover", "--show").stdout)

    def lose_majority(self):
        owner = self.owner()
        survivor = OTHER[owner]
        self.cluster.power_off("witness")
        self.cluster.power_off(owner)
        self.cluster.wait_for(lambda status: not status["database"]["serving"], 60, "the database to stop serving",
                              servers=(survivor,))
        return owner, survivor

    def recover(self):
        owner, survivor = self.lose_majority()
        self.cluster.wait_until(lambda: self.facts(survivor)["possible"], 30, "a recovery to be possible")
        facts = self.facts(survivor)
        self.assertEqual(sorted(facts["lost"]), sorted([owner, "witness"]))
        self.assertTrue(all(mirror["survives"] for mirror in facts["mirrors"]), facts)
        self.assertTrue(facts["survivors"][0]["written_ms"] > 0 and facts["mirrors"][0]["copies"], facts)
        unnamed = self.cluster.baton(survivor, "cluster", "recover", "--yes", "--give-up", owner, check=False)
        self.assertNotEqual(unnamed.returncode, 0, "recovered although the witness was not named")
        self.cluster.baton(survivor, "cluster", "recover", "--yes", "--give-up", owner, "--give-up", "witness", timeout_s=90)
        self.cluster.wait_for(started_on(survivor), 60, f"the group to be started on {survivor}", servers=(survivor,))
        self.rows_go_on(200)
        return owner, survivor

    def clear(self, server):
        """As docs/operations.md says: its database goes aside, and batond is started anew."""
        self.cluster.inside(server, "sh", "-c", "mkdir /var/lib/baton/old && mv /var/lib/baton/database.sqlite* /var/lib/baton/old")
        LabFaults(self.cluster).kill(server, "batond")

    def test_the_last_one_goes_on_and_the_lost_are_refused(self):
        refused = self.cluster.baton("server2", "cluster", "recover", "--yes", "--give-up", "server1", check=False)
        self.assertNotEqual(refused.returncode, 0, "recovered although nothing is lost")
        self.assertIn("the cluster database serves", refused.stderr)
        owner, survivor = self.recover()
        for lost in (owner, "witness"):
            self.cluster.power_on(lost)
        for lost in (owner, "witness"):
            self.cluster.wait_for(has_problem("given up"), 60, f"{lost} to learn that it was given up", servers=(lost,))
        self.cluster.wait_for(lambda status: sum("it is refused" in text for text in status["problems"]) == 2, 30,
                              f"{survivor} to say whom it refuses", servers=(survivor,))
        self.rows_go_on(200)
        for lost in (owner, "witness"):
            self.assertFalse(self.cluster.status(lost)["database"]["serving"], f"{lost} serves")
        self.assertEqual(group_of(self.cluster.status(survivor))["owner"], survivor)
        for lost in (owner, "witness"):
            self.clear(lost)
        self.cluster.wait_normal(120)
        self.cluster.baton(survivor, "group", "move", "db", owner)
        self.cluster.wait_for(started_on(owner), 60, f"the group to be started on {owner}")
        self.rows_go_on(200)
        self.end_and_check()

    def test_the_guard_holds_them_while_the_survivors_batond_stands_still(self):
        owner, survivor = self.recover()
        go_on = LabFaults(self.cluster).stop(survivor, "batond")
        for lost in (owner, "witness"):
            self.cluster.power_on(lost)
        for lost in (owner, "witness"):
            status = self.cluster.wait_for(has_problem("baton-guard knows of a recovery"), 60, f"{lost} to be held", servers=(lost,))
            self.assertFalse(status["database"]["serving"], f"{lost} serves")
        self.rows_go_on(200)
        go_on()
        for lost in (owner, "witness"):
            self.cluster.wait_for(has_problem("given up"), 60, f"{lost} to learn that it was given up", servers=(lost,))
        self.rows_go_on(200)
        self.asked = (survivor,)  # the others work for nobody any more
        self.end_and_check()


if __name__ == "__main__":
    sys.exit(run_tests(6))
