"""What the system tests of a whole cluster share: a lab for each test, logs of a failed one, the closing line."""
import os
import signal
import sys
import unittest

from address_probe import AddressProbe, coarsest_ms, complaints
from lab_cluster import (GROUP, ROOT, LabCluster, LabFailure, example_configuration, group_of, mirror_of, started_on)

LOGS = os.path.join(ROOT, "build", "test-logs")
OTHER = {"server1": "server2", "server2": "server1"}


class ClusterTest(unittest.TestCase):
    """Each test gets a formed cluster, its group started and in sync, and a client that commits rows."""
    maxDiff = None
    configuration_replacements = ()
    with_client = True
    asked = ("witness", "server1", "server2")  # who knows where the group is: the first that answers is believed
    machines = 2
    with_witness = True
    servers_run = None  # the directory of another version that the servers run
    watched = True  # from there to end_and_check() a probe sees who has the address
    two_owners_documented = False  # the way of deciding that is tried does not promise one owner: what was seen is only told

    def bring_up(self, configuration):
        self.cluster = LabCluster(self.say)
        self.addCleanup(self.cluster.down)
        self.addCleanup(self.keep_logs)
        self.cluster.up(configuration, servers=self.machines, witness=self.with_witness, programs=self.servers_run)

    def setUp(self):
        self.bring_up(example_configuration(self.configuration_replacements))
        self.cluster.wait_for(started_on("server1"), 120, "the group to be started on server1")
        self.cluster.wait_normal(300)
        self.ledger = self.probe = None
        if self.with_client:
            self.ledger = self.cluster.start_ledger()
            self.ledger.wait_rows(100, 60)
            if self.watched:
                self.watch_owners(interval_us=2000)

    def say(self, text):
        print(f"  {text}", flush=True)

    def keep_logs(self):
        result = self._outcome.result  # `_outcome.success` is about the clean-up itself by now
        if not any(test is self for test, _ in result.errors + result.failures):
            return
        target = os.path.join(LOGS, self.id().rpartition("__main__.")[2])
        self.cluster.save_logs(target)
        self.say(f"logs, states and events are in {target}; the ends of the logs:\n{self.cluster.last_words()}")

    def owner(self):
        """The server on which the group is started; waits until it is on one."""
        return group_of(self.cluster.wait_for(started_on(), 60, "the group to be started", self.asked))["owner"]

    def watch_owners(self, **options):
        """From now on the client asks every server all the time whether it has the address."""
        self.probe = AddressProbe(self.cluster, **options)
        self.addCleanup(self.probe.abandon)

    def end_watch(self):
        """REQUIRES: the group is up, and has been for a moment. Gives what the probe saw, and what of that must not be."""
        owner = self.owner()
        report, self.probe = self.probe.stop(), None
        return report, complaints(report, owner, not self.two_owners_documented)

    def judge_owners(self):
        """Never two owners, in the whole test."""
        report, wrong = self.end_watch()
        self.say(f"the longest time in which two servers answered for the address: {report['overlap_ms']:.1f} ms "
                 f"(seen to {coarsest_ms(report):.0f} ms)")
        self.assertEqual(wrong, [])

    def end_and_check(self):
        """Ends the client and checks that nothing is lost, nothing is there twice, and never two servers had the address."""
        if self.probe:
            self.judge_owners()
        summary = self.ledger.stop(120)
        rows = self.cluster.check_ledger(self.ledger)
        self.say(f"{rows['committed']} rows, longest outage {summary['longest_gap_ms']:.0f} ms")
        self.assertEqual(rows["lost"], 0, rows)
        self.assertEqual(rows["duplicated"], 0, rows)
        self.assertEqual(rows["unacknowledged_extra"], 0, rows)
        return summary

    def check_copies(self):
        """Stops the group and compares the copies byte for byte. Comes last."""
        size = mirror_of(self.cluster.wait_normal(120))["size_bytes"]
        self.cluster.baton("server1", "group", "stop", GROUP)
        self.cluster.wait_for(lambda status: group_of(status)["phase"] == "stopped", 60, "the group to be stopped")
        identical, difference = self.cluster.compare_stores(size)
        self.assertTrue(identical, difference)

    def rows_go_on(self, more=100, seconds=60):
        self.ledger.wait_rows(more, seconds)


def run_tests(minutes):
    """Runs the tests of the main module (or those named on the command line) within a time."""
    if os.geteuid() != 0:
        print("the system tests need root")
        return 1
    name = os.path.basename(sys.argv[0])

    def out_of_time(*_):
        raise LabFailure(f"{name} took longer than {minutes} minutes")

    signal.signal(signal.SIGALRM, out_of_time)
    signal.alarm(minutes * 60)
    loader, module = unittest.defaultTestLoader, sys.modules["__main__"]
    names = sys.argv[1:]
    suite = loader.loadTestsFromNames(names, module) if names else loader.loadTestsFromModule(module)
    result = unittest.TextTestRunner(stream=sys.stdout, verbosity=2).run(suite)
    failed = len({str(test) for test, _ in result.failures + result.errors})
    signal.alarm(0)
    print(f"{result.testsRun - failed} passed, {failed} failed", flush=True)
    return 1 if failed else 0
