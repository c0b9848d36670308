#!/usr/bin/env python3
"""The active server is cut off from everything, its power on: once the other server has the group, its own PostgreSQL
acknowledges nothing any more, not even to a client on the same server; after the cut is mended it rejoins by itself."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "script", "lib"))
from cluster_test import OTHER, ClusterTest, run_tests
from lab_cluster import GROUP, now_ns, started_on


class Isolation(ClusterTest):
    def isolate(self, *cut_options):
        """Cuts the owner off while a client on it goes on committing; gives what is needed to judge."""
        owner = self.owner()
        local = self.cluster.start_ledger(owner, "127.0.0.1", "ledger_local")
        local.wait_rows(100, 60)
        before = now_ns()
        self.cluster.lab("cut", owner, *cut_options)
        self.cluster.wait_for(started_on(OTHER[owner]), 60, f"{OTHER[owner]} to take over")
        self.rows_go_on(100)
        return owner, local, before

    def assigned_at_ns(self, server, since_ns):
        events = self.cluster.events(server)
        return next(event["monotonic_us"] * 1000 for event in events
                    if event["kind"] == "transition" and event["group"] == GROUP
                    and "assign to server" in event["text"] and event["monotonic_us"] * 1000 > since_ns)

    def judge(self, owner, local, before):
        survivor = OTHER[owner]
        assigned = self.assigned_at_ns(survivor, before)
        # It had the time from the takeover until now to acknowledge something that it must not.
        local.read()
        self.assertLess(local.times[-1], assigned,
                        f"{owner} acknowledged a row {(local.times[-1] - assigned) / 1e6:.0f} ms after {survivor} had "
                        "been given the group")
        self.say(f"{owner}'s last acknowledgement came {(assigned - local.times[-1]) / 1e6:.0f} ms before {survivor} "
                 f"was given the group; outage {self.ledger.longest_gap(before).ms:.0f} ms")
        self.cluster.lab("heal", owner)
        self.cluster.wait_normal(180)
        local.read()
        self.assertLess(local.times[-1], assigned, f"{owner} acknowledged a row after the cut was mended")
        local.abandon()
        rows = self.cluster.check_ledger(local, table="ledger_local")
        self.assertEqual((rows["lost"], rows["duplicated"]), (0, 0), rows)
        self.assertLessEqual(rows["unacknowledged_extra"], 1, rows)  # the row under way when it ended
        self.assertEqual(self.owner(), survivor)
        self.end_and_check()
        self.check_copies()

    def test_all_links_cut(self):
        self.judge(*self.isolate("--all"))

    def test_all_links_silent(self):
        self.judge(*self.isolate("--all", "--silent"))

    def test_paused_server(self):
        """A server that stood still for a while holds nothing any more when it goes on."""
        owner = self.owner()
        before = now_ns()
        self.cluster.lab("pause", owner)
        self.cluster.wait_for(started_on(OTHER[owner]), 60, f"{OTHER[owner]} to take over")
        self.rows_go_on(100)
        self.cluster.lab("resume", owner)
        self.cluster.wait_normal(180)
        self.say(f"outage {self.ledger.longest_gap(before).ms:.0f} ms")
        self.assertEqual(self.owner(), OTHER[owner])
        self.end_and_check()
        self.check_copies()


if __name__ == "__main__":
    sys.exit(run_tests(minutes=5))
