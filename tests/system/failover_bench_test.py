#!/usr/bin/env python3
"""`script/bench failover`, a short slice of it: the figures are there and could be true. And the overlap probe that it
uses: it sees one owner as one, and an address that two servers hold as two."""
import json
import os
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "script", "lib"))
from address_probe import COARSEST_MS, AddressProbe, answered, complaints, lan_link, resolution_ms
from cluster_test import OTHER, ClusterTest, run_tests
from lab_cluster import ADDRESS, BIN, ROOT, now_ns

FAULTS = ("power_cut", "app_kill", "standby_loss")
PLANNER_LIMITS_US = {(64, 16): 1000, (1000, 64): 20000}


class Probe(ClusterTest):
    with_client = False

    def watch(self, held_up=False, **options):
        """What a probe sees while nothing else happens."""
        probe = AddressProbe(self.cluster, **options)
        self.addCleanup(probe.abandon)
        self.let_pass(500, "the probe to have asked")
        if held_up:
            os.kill(probe.process.pid, signal.SIGSTOP)
            self.let_pass(2 * COARSEST_MS, "the probe to have been held up")
            os.kill(probe.process.pid, signal.SIGCONT)
            self.let_pass(COARSEST_MS, "the probe to have asked again")
        return probe.stop()

    def let_pass(self, milliseconds, what):
        wanted = now_ns() + milliseconds * 1000000
        self.cluster.wait_until(lambda: now_ns() > wanted, 30, what)

    def assert_blind(self, report, owner, words):
        found = complaints(report, owner)
        self.assertEqual(len(found), 1, found)
        self.assertIn(words, found[0])

    def test_overlap(self):
        owner = self.owner()
        one = self.watch()
        self.assertEqual(one["overlap_us"], 0)
        self.assertGreater(answered(one, owner), 50, one)
        self.assertEqual(answered(one, OTHER[owner]), 0, one)
        self.assertEqual(complaints(one, owner), [])
        self.assert_blind(one, OTHER[owner], "has not answered it ever")
        self.assert_blind(self.watch(address="10.88.0.51"), owner, "has not answered it ever")
        self.assert_blind(self.watch(held_up=True), owner, "it asked nothing for")

        interface = lan_link(self.cluster, OTHER[owner])["name"]
        self.cluster.inside(OTHER[owner], "ip", "address", "add", f"{ADDRESS}/24", "dev", interface)
        both = self.watch()
        self.assertGreater(both["overlap_ms"], 300, both)
        self.assertIn("two servers answered", complaints(both, owner)[0])
        self.assertGreater(answered(both, OTHER[owner]), 50, both)
        self.assertLess(resolution_ms(both, 0, 1 << 62), 300, both)
        self.cluster.inside(OTHER[owner], "ip", "address", "delete", f"{ADDRESS}/24", "dev", interface)
        self.assertEqual(self.watch()["overlap_us"], 0)

        # An address that answers no ARP is still seen: the kernel takes what comes to its MAC.
        self.cluster.inside(OTHER[owner], "ip", "address", "add", f"{ADDRESS}/24", "dev", interface)
        self.cluster.inside(OTHER[owner], "sh", "-c", f"echo 8 >/proc/sys/net/ipv4/conf/{interface}/arp_ignore")
        silent = self.watch()
        self.assertGreater(silent["overlap_ms"], 300, silent)


class Bench(ClusterTest):
    def setUp(self):  # the benchmark makes a lab of its own
        pass

    def test_planner(self):
        for (groups, servers), limit in PLANNER_LIMITS_US.items():
            for options in ([], ["--cold"]):
                done = subprocess.run([os.path.join(BIN, "baton-bench-planner"), str(groups), str(servers), *options],
                                      stdout=subprocess.PIPE, text=True, timeout=60, check=True)
                figures = json.loads(done.stdout)
                self.assertLess(figures["median_us"], limit, figures)

    def test_a_slice(self):
        done = subprocess.run([os.path.join(ROOT, "script", "bench"), "failover", "--quick", "--json", "--only",
                               ",".join(f"lan.{fault}" for fault in FAULTS)],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=170,
                              env={**os.environ, "BATON_BIN": BIN})
        self.assertEqual(done.returncode, 0, done.stderr)
        print("\n".join("  " + line for line in done.stdout.splitlines()[:-1]), flush=True)
        results = json.loads(done.stdout.splitlines()[-1])["results"]["lan"]
        self.assertEqual(sorted(results), sorted(FAULTS))
        for fault, result in results.items():
            self.assertEqual(result["n"], 2)
            self.assertEqual(result["overlap_ms"], 0, fault)
            self.assertGreater(result["max_ms"], 0)
            self.assertLessEqual(result["median_ms"], result["max_ms"])
        cut, killed, standby = (results[fault] for fault in FAULTS)
        # Generous: other things may run beside a test. The limits are for the benchmark.
        self.assertTrue(700 < cut["median_ms"] < 4000, cut)
        self.assertLess(killed["median_ms"], 2000, killed)
        self.assertAlmostEqual(sum(cut["parts"].values()), cut["median_ms"], delta=0.2 * cut["median_ms"])
        self.assertEqual(standby["failed"], 0, standby)


if __name__ == "__main__":
    sys.exit(run_tests(minutes=6))
