#!/usr/bin/env python3
"""Ten power cuts in a row under write load, at random moments and at named points: nothing is lost, and nobody has to
do anything but switch the power on again. BATON_SEED repeats a run's random moments."""
import os
import random
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "script", "lib"))
from cluster_test import OTHER, ClusterTest, run_tests
from lab_cluster import GROUP, api_call, group_of, primary_copy, started_on


def link_is(*states):
    """A predicate: the primary's mirror connect is in one of these states."""
    def predicate(status):
        primary = primary_copy(status)
        return bool(primary and primary["reported"] and primary["link"] in states)
    return predicate


PSQL = "/usr/lib/postgresql/15/bin/psql"

class Failover(ClusterTest):
    def setUp(self):
        seed = int(os.environ.get("BATON_SEED", random.SystemRandom().randrange(1 << 32)))
        self.say(f"BATON_SEED={seed}")
        self.random = random.Random(seed)
        super().setUp()

    def at_a_random_moment(self):
        self.rows_go_on(self.random.randrange(50, 1000))

    def cut(self, server, point):
        self.say(f"power cut of {server}: {point}")
        return self.cluster.power_off(server)

    def takes_over(self, server):
        self.cluster.wait_for(started_on(server), 60, f"{server} to take over")
        self.rows_go_on(50)

    def rejoins(self, *servers):
        for server in servers:
            self.cluster.power_on(server)
        self.cluster.wait_normal(180)
        self.rows_go_on(50)

    def cut_at_a_random_moment(self):
        owner = self.owner()
        self.at_a_random_moment()
        self.cut(owner, "at a random moment")
        self.takes_over(OTHER[owner])
        self.at_a_random_moment()
        self.rejoins(owner)

    def write_much(self, server):
        """100 MB on the mirror, so that a copy takes long enough to be met; unlogged, so that the disk does not fill."""
        self.cluster.lab("exec", server, "--", PSQL, "-q", "-h", "/tmp", "-U", "postgres", "-c",
                         "DROP TABLE IF EXISTS filler", "-c",
                         "CREATE UNLOGGED TABLE filler AS SELECT g, repeat(md5(g::text), 10) FROM generate_series(1, 280000) g",
                         "-c", "CHECKPOINT", timeout_s=60)

    def cut_target_during_copy(self):
        """The standby goes again while it is brought up; the service must not notice."""
        owner = self.owner()
        standby = OTHER[owner]
        self.cut(standby, "the standby, to have something to copy")
        self.write_much(owner)
        self.cluster.power_on(standby)
        self.cluster.wait_for(link_is("copying"), 60, "the fast copy to begin")
        self.cut(standby, "the target, during the fast copy")
        self.rows_go_on(100)
        self.rejoins(standby)

    def cut_source_during_copy(self):
        """The only complete copy goes: the group waits for it, and nothing else may become the data."""
        owner = self.owner()
        standby = OTHER[owner]
        self.cut(owner, "to have something to copy")
        self.takes_over(standby)
        self.write_much(standby)
        self.cluster.power_on(owner)
        self.cluster.wait_for(link_is("copying"), 60, "the fast copy to begin")
        self.cut(standby, "the source, during the fast copy")
        self.rejoins(standby)

    def cut_during_readmission(self):
        owner = self.owner()
        standby = OTHER[owner]
        self.cut(owner, "to have somebody to readmit")
        self.takes_over(standby)
        self.cluster.power_on(owner)
        self.cluster.wait_for(link_is("readmitting", "connected"), 120, "the readmission")
        self.cut(standby, "the primary, during the readmission or right after it")
        self.rejoins(standby)

    def cut_during_move(self):
        owner = self.owner()
        target = OTHER[owner]
        # The API answers when the wish is written down, not when it is fulfilled.
        api_call(self.cluster.init_pid(owner), "POST", f"/v1/groups/{GROUP}/move", {"server": target, "author": "test"})
        self.cluster.wait_for(lambda status: group_of(status)["owner"] != owner or
                              group_of(status)["phase"] in ("stopping", "stopped"), 60, "the move to begin")
        victim = self.random.choice([owner, target])
        self.cut(victim, "during a move " + ("from it" if victim == owner else "to it"))
        self.cluster.wait_for(started_on(OTHER[victim]), 90, f"{OTHER[victim]} to run the group")
        self.rows_go_on(50)
        self.rejoins(victim)

    def cut_right_after_failover(self):
        """Both are gone then; the last primary goes first when the power is back."""
        owner = self.owner()
        survivor = OTHER[owner]
        self.cut(owner, "the first of two")
        self.cluster.wait_for(started_on(survivor), 60, f"{survivor} to take over")
        self.cut(survivor, "right after it took over")
        self.rejoins(owner, survivor)

    def test_ten_power_cuts(self):
        """Thirteen, with those that prepare a named point."""
        for _ in range(3):
            self.cut_at_a_random_moment()
        self.cut_target_during_copy()
        self.cut_source_during_copy()
        self.cut_during_readmission()
        self.cut_during_move()
        self.cut_right_after_failover()
        self.cut_at_a_random_moment()
        self.end_and_check()
        self.check_copies()


if __name__ == "__main__":
    sys.exit(run_tests(minutes=8))
