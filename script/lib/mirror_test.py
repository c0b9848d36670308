"""What the mirror daemon's system tests share: a pair of daemons per test, its disk as clients use it, comparing stores,
and the last line `N passed, N failed`. Each test file has a place, a mirror key and ports of its own.
"""
import os
import signal
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tests", "system"))
import mirror_pair
from block_exerciser import LoopDisk
from mirror_pair import Server, own_mounts, shell, wait_for

MIB = 1 << 20


class PairTest(unittest.TestCase):
    PLACE = KEY = ""
    SIZE = 64 * MIB
    port = 0
    settings = {}  # of both daemons, of every test in the class

    def setUp(self):
        self.clean_up()
        os.makedirs(f"{self.PLACE}/mount")
        type(self).port += 1
        self.make()

    def make(self, **settings):
        """Two servers that have not been started. A test that wants other settings calls it again."""
        shell(f"rm -rf {self.PLACE}/server*")
        self.cluster = mirror_pair.Cluster(self.PLACE, self.KEY, self.SIZE)
        self.a, self.b = (self.server(number, **{**self.settings, **settings}) for number in (1, 2))
        self.cluster.servers = [self.a, self.b]

    def server(self, number, **settings):
        return Server(self.cluster, number, self.port,
                      **{"fault_file": f"{self.PLACE}/server{number}/faults", **settings})

    def tearDown(self):
        for server in self.cluster.servers:
            if server.running():
                server.kill()
        self.clean_up()

    @classmethod
    def clean_up(cls):
        mirror_pair.clean_up(cls.PLACE, cls.KEY)

    def begin(self):
        """Both running, A exported, B in sync."""
        self.a.start()
        self.b.start()
        device = self.a.promote()
        self.a.linked()
        return device

    def alone(self, server, seconds=15):
        """Waits until the set is this copy alone."""
        server.wait("alone", lambda: self.cluster.state["in_sync"].keys() == {str(server.number)}, seconds)

    def both(self, seconds=30):
        wait_for("both copies in sync", lambda: len(self.cluster.state["in_sync"]) == 2, seconds)

    def goes_first(self, server, **change):
        """Every member of the set has crashed, or a person wants it (`change`: forced): this copy goes on alone
        (docs/protocol.md, S5). Its device."""
        with self.cluster.lock:
            self.cluster.commit(permit=self.cluster.state["permit"] + 1, holder=server.number,
                                in_sync={str(server.number): server.report["incarnation"]}, **change)
        server.send({"request": "promote", "permit": self.cluster.state["permit"]})
        answer = server.notice("promoted", "failed")
        self.assertEqual(answer["notice"], "promoted", answer)
        return answer["device"]

    def equal(self):
        """REQUIRES: handed over, or stopped: everything is on both disks."""
        shell(f"cmp -n {self.SIZE} {self.a.store} {self.b.store}")

    def fill(self, device, first_mib, count_mib):
        """Random data at a place of the device, flushed. Its copy, for has()."""
        data = os.urandom(count_mib * MIB)
        with open(f"{self.PLACE}/data", "wb") as file:
            file.write(data)
        shell(f"dd if={self.PLACE}/data of={device} bs=1M seek={first_mib} oflag=direct conv=fsync,notrunc 2>&1",
              timeout=60)
        return data

    def has(self, device, first_mib, data):
        disk = LoopDisk(device)
        step = 64
        try:
            for at in range(0, len(data) // 4096, step):
                wanted = data[at * 4096:(at + step) * 4096]
                if disk.read(first_mib * 256 + at, len(wanted) // 4096) != wanted:
                    self.fail(f"{device} holds other data at {first_mib} MiB + {at} blocks")
        finally:
            disk.close()


class ProtocolPairTest(PairTest):
    """A pair under a protocol that each test chooses, offered through NBD, too."""

    def make(self, **settings):
        super().make(**settings)
        for server in self.cluster.servers:
            server.choose(nbd_socket=f"{server.directory}/nbd.sock")

    def begin(self, protocol):
        self.make(protocol=protocol)
        device = super().begin()
        if protocol == "A":
            self.alone(self.a)
        return device


class FailingDiskTest(PairTest):
    """A pair with data that does not wait for long when a disk fails."""
    settings = {"disk_timeout_ms": 2000, "peer_timeout_ms": 1500}

    def begin(self):
        device = super().begin()
        self.data = self.fill(device, 0, 16)
        return device


def run(module, test_class, minutes=5):
    """`main` of a test file. An argument names one test."""
    name = os.path.basename(sys.argv[0])
    if os.geteuid() != 0:
        print(f"{name} needs root")
        return 1
    own_mounts()
    signal.signal(signal.SIGALRM, lambda *_: sys.exit(f"{name}: took longer than {minutes} minutes"))
    signal.alarm(minutes * 60)
    wanted = f"{test_class.__name__}.{sys.argv[1]}" if len(sys.argv) > 1 else test_class.__name__
    suite = unittest.defaultTestLoader.loadTestsFromName(wanted, sys.modules[module])
    try:
        result = unittest.TextTestRunner(verbosity=2).run(suite)
    finally:
        test_class.clean_up()
    failed = len({getattr(test, "test_case", test).id() for test, _ in result.failures + result.errors})
    print(f"{result.testsRun - failed} passed, {failed} failed", flush=True)
    return 1 if failed else 0
