#!/usr/bin/env python3
"""What an operator does with a mirror, said to any server of a running cluster: restrict, change settings while it is in
use, verify from the witness, force a copy, swap. What only the mirror daemon can do is tested with it."""
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "script", "lib"))
from cluster_test import ClusterTest, run_tests
from lab_cluster import GROUP, MIRROR, LabFailure, copy_of, group_of, mirror_of, started_on


class MirrorControl(ClusterTest):
    def baton(self, server, *arguments):
        return self.cluster.baton(server, *arguments).stdout

    def refused(self, words, server, *arguments):
        with self.assertRaises(LabFailure) as caught:
            self.baton(server, *arguments)
        for word in words:
            self.assertIn(word, str(caught.exception))

    def mirror(self):
        return mirror_of(self.cluster.any_status())

    def test_an_operators_verbs(self):
        self.restricts()
        self.verifies_from_the_witness()
        self.changes_settings_in_use()
        self.forces_a_copy()

    def restricts(self):
        self.say("restrict")
        self.refused(["move it first"], "witness", "mirror", "restrict", "data", "server1")
        self.baton("witness", "mirror", "restrict", "data", "server2")
        self.cluster.wait_for(lambda status: mirror_of(status)["restricted"] == ["server2"], 30, "the restriction to be seen")
        self.refused(["restrict db.data server2 --lift"], "server1", "group", "move", GROUP, "server2")
        self.baton("server2", "mirror", "restrict", "data", "server2", "--lift")
        self.rows_go_on(20)

    def verifies_from_the_witness(self):
        self.say("verify from the witness")
        told = json.loads(self.baton("witness", "mirror", "verify", "data", "--json"))
        self.assertEqual((told["server"], told["different"]), ("server1", 0))

    def changes_settings_in_use(self):
        self.say("settings of a mirror in use")
        told = json.loads(self.baton("server2", "mirror", "rate", "data", "200MB/s", "--json"))
        self.assertIn("200 MB/s (at once)", told["changes"][0])
        self.refused(["cannot shrink"], "server2", "mirror", "grow", "data", "4 MiB")
        text = json.loads(self.baton("server1", "config", "show", "--json"))["text"]
        text = text.replace('rate = "200MB/s"', 'peer_timeout = "5 s"')
        with open(f"/proc/{self.cluster.init_pid('server1')}/root/tmp/changed.toml", "w") as file:
            file.write(text)
        self.assertIn("the secondary at once", self.baton("server1", "plan", "/tmp/changed.toml"))
        self.baton("server1", "apply", "/tmp/changed.toml")
        self.cluster.wait_for(lambda status: "peer_timeout" in copy_of(status, "server1").get("details", {}).get("pending", ""),
                              30, "the primary to say what waits")
        self.cluster.wait_normal(60)
        self.rows_go_on(20)
        self.say("swap")
        self.baton("witness", "mirror", "swap", "data")
        self.cluster.wait_for(started_on("server2"), 60, "server2 to take over")
        self.cluster.wait_for(lambda status: not copy_of(status, "server1").get("details", {}).get("pending", ""),
                              30, "server1's mirror daemon to be restarted")
        self.cluster.wait_normal(60)
        self.rows_go_on(20)

    def forces_a_copy(self):
        self.say("force")
        self.refused(["baton group stop db"], "server1", "mirror", "force", "data", "server1", "--yes-lose-data")
        self.end_and_check()
        self.baton("server1", "group", "stop", GROUP)
        self.cluster.power_off("server2")
        self.cluster.wait_for(lambda status: not copy_of(status, "server2")["reported"], 30, "server2 to be missed",
                              servers=("witness",))
        self.refused(["does not report"], "witness", "mirror", "force", "data", "server2", "--yes-lose-data")
        told = json.loads(self.baton("witness", "mirror", "force", "data", "server1", "--yes-lose-data", "--json"))
        self.assertEqual([copy["server"] for copy in told["copies"]], ["server1", "server2"])
        self.assertEqual(self.mirror()["in_sync"], ["server1"])
        self.assertEqual(self.mirror()["forced"], "server1")
        self.baton("witness", "group", "start", GROUP, "server1")
        self.cluster.power_on("server2")
        self.cluster.wait_normal(120)
        self.assertEqual(group_of(self.cluster.any_status())["owner"], "server1")


if __name__ == "__main__":
    sys.exit(run_tests(minutes=6))
