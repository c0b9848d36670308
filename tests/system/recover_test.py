#!/usr/bin/env python3
"""Owner and witness are lost for good while PostgreSQL runs: the last server freezes, a person recovers the cluster on it, and it
runs the group with every row; the lost ones that come back are refused, and say so themselves. docs/protocol.md, "Recovery"."""
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "script", "lib"))
from cluster_test import OTHER, ClusterTest, run_tests
from lab_cluster import group_of, started_on


class Recover(ClusterTest):
    def lose_majority(self):
        owner = self.owner()
        survivor = OTHER[owner]
        self.cluster.power_off("witness")
        self.cluster.power_off(owner)
        self.cluster.wait_for(lambda status: not status["database"]["serving"], 60, "the database to stop serving",
                              servers=(survivor,))
        return owner, survivor

    def test_the_last_one_goes_on_and_the_lost_are_refused(self):
        refused = self.cluster.baton("server2", "cluster", "recover", "--yes", check=False)
        self.assertNotEqual(refused.returncode, 0, "recovered although nothing is lost")
        self.assertIn("the cluster database serves", refused.stderr)
        owner, survivor = self.lose_majority()
        facts = json.loads(self.cluster.baton(survivor, "--json", "cluster", "recover", "--show").stdout)
        self.assertEqual(sorted(facts["lost"]), sorted([owner, "witness"]))
        self.assertTrue(all(mirror["survives"] for mirror in facts["mirrors"]), facts)
        self.cluster.baton(survivor, "cluster", "recover", "--yes", timeout_s=90)
        self.cluster.wait_for(started_on(survivor), 60, f"the group to be started on {survivor}", servers=(survivor,))
        self.rows_go_on(200)
        for lost in (owner, "witness"):
            self.cluster.power_on(lost)
        for lost in (owner, "witness"):
            self.cluster.wait_for(lambda status: any("given up" in text for text in status["problems"]), 60,
                                  f"{lost} to learn that it was given up", servers=(lost,))
        self.cluster.wait_for(lambda status: sum("it is refused" in text for text in status["problems"]) == 2, 30,
                              f"{survivor} to say whom it refuses", servers=(survivor,))
        self.rows_go_on(200)
        for lost in (owner, "witness"):
            self.assertFalse(self.cluster.status(lost)["database"]["serving"], f"{lost} serves")
        self.assertEqual(group_of(self.cluster.status(survivor))["owner"], survivor)
        self.end_and_check()


if __name__ == "__main__":
    sys.exit(run_tests(4))
