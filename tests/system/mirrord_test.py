#!/usr/bin/env python3
"""The mirror daemon, two of them on this machine: real stores, real loop devices, and a small stand-in for batond that
commits what they propose. Needs root, /dev/fuse, loop devices and build/bin/baton-mirrord.

Everything waits for events with a deadline. The last line is `N passed, N failed`.
"""
import ctypes
import fcntl
import glob
import json
import mmap
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BIN = os.environ.get("BATON_BIN", os.path.join(ROOT, "build", "bin"))
MIRRORD = os.path.join(BIN, "baton-mirrord")
PLACE = "/var/tmp/baton-mirrord-test"
KEY = "test.disk"
SIZE = 64 << 20
MIB = 1 << 20
LOOP_GET_STATUS64 = 0x4C05


def lease_magic():
    with open(os.path.join(ROOT, "src/os/lease_page.h")) as header:
        return int(re.search(r"kLeasePageMagic = (0x[0-9a-f]+)", header.read()).group(1), 16)


def shell(command, check=True, timeout=60):
    done = subprocess.run(["bash", "-c", command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=timeout)
    if check and done.returncode != 0:
        raise AssertionError(f"{command}: status {done.returncode}: {done.stdout}")
    return done


def wait_for(what, condition, seconds=10):
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.01)


def clean_up():
    """What this test, or a crashed earlier run of it, left on the machine."""
    for line in open("/proc/mounts"):
        if line.split()[1].startswith(PLACE):
            shell(f"umount -l {line.split()[1]}", check=False)
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            arguments = open(path, "rb").read().split(b"\0")
        except OSError:
            continue
        if any(argument.startswith(f"{PLACE}/".encode()) and argument.endswith(b".json") for argument in arguments):
            try:
                os.kill(int(path.split("/")[2]), signal.SIGKILL)
            except ProcessLookupError:
                pass
    wait_for("loop devices of this test are gone", lambda: not own_loops(), 10)
    shutil.rmtree(PLACE, ignore_errors=True)


def own_loops():
    """Loop devices that carry our mirror's name: the kernel's own text for the backing file says only "/disk"."""
    found = []
    for name in glob.glob("/dev/loop[0-9]*"):
        try:
            device = os.open(name, os.O_RDONLY)
        except OSError:
            continue
        try:
            information = bytearray(232)
            fcntl.ioctl(device, LOOP_GET_STATUS64, information)
            if KEY.encode() in information[56:120]:
                found.append(name)
        except OSError:
            pass
        finally:
            os.close(device)
    return found


class Lease:
    def __init__(self, path, server):
        with open(path, "wb") as page:
            page.write(struct.pack("<QIIq", lease_magic(), 1, server, 0).ljust(4096, b"\0"))
        with open(path, "r+b") as page:
            self.memory = mmap.mmap(page.fileno(), 4096)
        self.give()

    def give(self, seconds=3600):
        self.memory[16:24] = struct.pack("<q", time.monotonic_ns() + int(seconds * 1e9))

    def end(self):
        self.memory[16:24] = struct.pack("<q", 0)


class Server:
    """One mirror daemon and the connection to its control socket."""

    def __init__(self, cluster, number, port, key="ab" * 64, store_size=None, label=""):
        self.cluster, self.number = cluster, number
        self.directory = f"{PLACE}/server{number}{label}"
        os.makedirs(self.directory)
        self.store = f"{self.directory}/store"
        if store_size is not None:
            shell(f"truncate -s {store_size} {self.store}")
        with open(f"{self.directory}/key", "w") as file:
            file.write(key + "\n")
        self.lease = Lease(f"{self.directory}/lease", number)
        self.settings = f"{self.directory}/mirror.json"
        with open(self.settings, "w") as file:
            json.dump({"key": KEY, "self": number, "peer": 3 - number, "store": self.store,
                       "metadata": f"{self.directory}/{KEY}.meta", "size_bytes": SIZE,
                       "listen_address": f"127.0.0.{number}", "peer_addresses": [f"127.0.0.{3 - number}"],
                       "port": port, "cluster_key_file": f"{self.directory}/key",
                       "lease_page": f"{self.directory}/lease", "socket": f"{self.directory}/control.sock",
                       "export_directory": f"{self.directory}/export"}, file)
        self.process = None
        self.notices, self.report, self.device = [], {}, ""
        self.changed = threading.Condition()

    def start(self):
        self.notices, self.report, self.device = [], {}, ""
        self.log = open(f"{self.directory}/log", "a")
        self.process = subprocess.Popen([MIRRORD, "--settings", self.settings], stderr=self.log)
        self.connect()
        return self

    def connect(self):
        def attempt():
            if self.process.poll() is not None:
                raise AssertionError("the daemon ended: " + self.log_text())
            connection = socket.socket(socket.AF_UNIX)
            try:
                connection.connect(f"{self.directory}/control.sock")
                return connection
            except OSError:
                connection.close()
                return None
        # A killed daemon's socket may accept for another moment, until the kernel has taken its ring apart.
        while True:
            self.connection = wait_for("the control socket", attempt)
            self.ended = False
            threading.Thread(target=self.read, args=(self.connection,), daemon=True).start()
            self.send({"request": "state", "state": self.cluster.state})
            self.wait("a report", lambda: self.ended or self.report.get("incarnation", 0) > 0)
            if self.report:
                return

    def read(self, connection):
        try:
            for line in connection.makefile():
                notice = json.loads(line)
                with self.changed:
                    if notice["notice"] == "report":
                        self.report, self.device = notice["report"], notice["device"]
                    else:
                        self.notices.append(notice)
                    self.changed.notify_all()
                if notice["notice"] == "propose":
                    self.cluster.propose(notice["change"])
        except (OSError, ValueError):
            pass
        with self.changed:
            if connection is self.connection:
                self.ended = True
            self.changed.notify_all()

    def send(self, request):
        try:
            self.connection.sendall((json.dumps(request) + "\n").encode())
        except OSError:
            pass

    def wait(self, what, condition, seconds=15):
        deadline = time.monotonic() + seconds
        with self.changed:
            while not condition():
                left = deadline - time.monotonic()
                if left <= 0 or not self.changed.wait(left):
                    raise AssertionError(f"server {self.number}: not within {seconds} s: {what}; report {self.report}; "
                                         f"notices {self.notices[-5:]}; log: {self.log_text()}")

    def notice(self, *kinds, seconds=15):
        """The next notice of one of these kinds; what came before is taken away with it."""
        found = []

        def take():
            for place, notice in enumerate(self.notices):
                if notice["notice"] in kinds:
                    found.append(notice)
                    del self.notices[:place + 1]
                    return True
            return False
        self.wait(f"a notice of {kinds}", take, seconds)
        return found[0]

    def promote(self):
        self.cluster.assign(self)
        self.send({"request": "promote", "permit": self.cluster.state["permit"]})
        answer = self.notice("promoted", "failed")
        assert answer["notice"] == "promoted", answer
        return answer["device"]

    def demote(self, succeeds=True):
        self.send({"request": "demote"})
        answer = self.notice("demoted", "failed", seconds=30)
        assert (answer["notice"] == "demoted") == succeeds, f"{answer}; log: {self.log_text()}"
        return answer

    def linked(self, link="connected", seconds=30):
        self.wait(f"link {link}", lambda: self.report.get("link") == link, seconds)

    def kill(self):
        self.process.kill()
        self.process.wait(10)
        self.connection.close()

    def log_text(self):
        with open(f"{self.directory}/log") as file:
            return file.read()[-1500:]


class Cluster:
    """The committed record, as batond and its database would keep it."""

    def __init__(self):
        self.state = {"version": 1, "permit": 0, "holder": 0, "in_sync": {}}
        self.servers = []
        self.lock = threading.RLock()
        self.deaf = False

    def commit(self, **change):
        with self.lock:
            self.state = dict(self.state, version=self.state["version"] + 1, **change)
            for server in self.servers:
                if server.process and server.process.poll() is None:
                    server.send({"request": "state", "state": self.state})

    def propose(self, change):
        with self.lock:
            if (not self.deaf and change["expected_version"] == self.state["version"]
                    and change["permit"] == self.state["permit"]):
                self.commit(in_sync=change["in_sync"])

    def assign(self, server):
        me = str(server.number)
        with self.lock:
            alone = not self.state["in_sync"] or any(
                not other.process or other.process.poll() is not None for other in self.servers)
            in_sync = {me: server.report["incarnation"]} if alone else self.state["in_sync"]
            self.commit(permit=self.state["permit"] + 1, holder=server.number, in_sync=in_sync)


class Mirrord(unittest.TestCase):
    port = 17850

    def setUp(self):
        clean_up()
        os.makedirs(f"{PLACE}/mount")
        Mirrord.port += 1
        self.cluster = Cluster()
        self.a = Server(self.cluster, 1, self.port)
        self.b = Server(self.cluster, 2, self.port)
        self.cluster.servers = [self.a, self.b]

    def tearDown(self):
        for server in self.cluster.servers:
            if server.process and server.process.poll() is None:
                server.kill()
        clean_up()

    def begin(self):
        """Both running, A exported, B a full copy in sync."""
        self.a.start()
        self.b.start()
        device = self.a.promote()
        self.a.linked()
        return device

    def mount(self, device, make=True):
        if make:
            shell(f"mkfs.ext4 -q {device}")
        shell(f"mount {device} {PLACE}/mount")

    def equal(self):
        shell(f"cmp -n {SIZE} {self.a.store} {self.b.store}")

    def test_1_full_copy_filesystem_and_hand_over(self):
        device = self.begin()
        self.assertEqual(self.a.report["copy"], "full", self.a.report)
        self.assertEqual(shell(f"cat /sys/block/{device[5:]}/loop/dio").stdout.strip(), "1")
        self.mount(device)
        shell(f"head -c 20000000 /dev/urandom >{PLACE}/mount/file && sync {PLACE}/mount/file && "
              f"cp {PLACE}/mount/file {PLACE}/original")
        self.assertIn(f"{PLACE}/mount", self.a.demote(succeeds=False)["reason"])
        shell(f"umount {PLACE}/mount")
        self.a.demote()
        self.equal()
        device = self.b.promote()
        self.mount(device, make=False)
        shell(f"cmp {PLACE}/mount/file {PLACE}/original && umount {PLACE}/mount")
        self.b.linked()
        self.b.demote()
        self.equal()

    def test_2_the_secondary_dies_and_comes_back(self):
        device = self.begin()
        shell(f"dd if=/dev/urandom of={device} bs=1M count=32 oflag=direct conv=fsync 2>&1")
        self.b.kill()
        self.a.wait("alone", lambda: self.cluster.state["in_sync"].keys() == {"1"})
        shell(f"dd if=/dev/urandom of={device} bs=1M count=2 seek=40 oflag=direct conv=fsync 2>&1", timeout=20)
        self.b.start()
        self.a.wait("in sync again", lambda: self.cluster.state["in_sync"].keys() == {"1", "2"})
        self.a.linked()
        self.assertEqual(self.a.report["copy"], "fast", self.a.report)
        self.assertGreaterEqual(self.a.report["copy_sent_bytes"], 2 * MIB)
        self.assertLess(self.a.report["copy_sent_bytes"], 8 * MIB, self.a.report)
        self.a.demote()
        self.equal()

    def test_3_the_primary_dies_and_comes_back(self):
        device = self.begin()
        self.mount(device)
        shell(f"head -c 8000000 /dev/urandom >{PLACE}/mount/file && sync {PLACE}/mount/file && "
              f"cp {PLACE}/mount/file {PLACE}/original")
        writer = subprocess.Popen(["bash", "-c", f"while dd if=/dev/urandom of={PLACE}/mount/more bs=64k count=40 "
                                                 f"oflag=direct 2>/dev/null; do :; done"])
        wait_for("writing", lambda: os.path.exists(f"{PLACE}/mount/more"))
        self.a.kill()
        writer.wait(10)  # its disk gives errors at once
        shell(f"umount {PLACE}/mount")
        wait_for("the loop device is gone", lambda: not own_loops())
        device = self.b.promote()
        self.mount(device, make=False)
        shell(f"cmp {PLACE}/mount/file {PLACE}/original && echo new >{PLACE}/mount/new && sync {PLACE}/mount/new")
        self.a.start()
        self.b.wait("in sync again", lambda: self.cluster.state["in_sync"].keys() == {"1", "2"})
        self.b.linked()
        self.assertEqual(self.b.report["copy"], "fast", self.b.report)
        self.assertLess(self.b.report["copy_read_bytes"], 48 * MIB, self.b.report)
        shell(f"umount {PLACE}/mount")
        self.b.demote()
        self.equal()

    def test_3_killed_with_writes_in_the_page_cache(self):
        device = self.begin()
        shell(f"dd if=/dev/zero of={device} bs=1M count=32 2>&1")
        self.a.process.kill()
        self.assertEqual(self.a.process.wait(5), -signal.SIGKILL)
        wait_for("the loop device is gone", lambda: not own_loops())

    def test_4_a_wrong_cluster_key_is_refused(self):
        self.b = Server(self.cluster, 2, self.port, key="cd" * 64, label="-wrong")
        self.cluster.servers = [self.a, self.b]
        self.a.start()
        self.b.start()
        self.a.promote()
        note = self.b.notice("note")
        while "127.0.0.1" not in note["text"]:
            note = self.b.notice("note")
        self.assertIn("key", note["text"])
        self.assertNotEqual(self.a.report["link"], "connected")

    def test_5_without_a_lease_nothing_completes(self):
        device = self.begin()
        self.a.lease.end()
        writer = subprocess.Popen(["dd", "if=/dev/zero", f"of={device}", "bs=4k", "count=1", "oflag=direct"],
                                  stderr=subprocess.DEVNULL)
        self.a.wait("it says that it waits for the lease", lambda: "lease" in self.a.report.get("waiting", ""))
        with self.assertRaises(subprocess.TimeoutExpired):
            writer.wait(0.5)
        self.a.lease.give()
        self.assertEqual(writer.wait(5), 0)
        self.a.linked()

    def test_6_an_abort_gives_errors_at_once(self):
        device = self.begin()
        self.mount(device)
        self.a.lease.end()
        writer = subprocess.Popen(["dd", "if=/dev/zero", f"of={PLACE}/mount/file", "bs=4k", "count=100", "oflag=direct"],
                                  stderr=subprocess.DEVNULL)
        self.a.wait("it waits for the lease", lambda: "lease" in self.a.report.get("waiting", ""))
        begun = time.monotonic()
        self.a.send({"request": "abort", "reason": "test"})
        self.a.notice("demoted")
        self.assertNotEqual(writer.wait(5), 0)
        self.assertLess(time.monotonic() - begun, 1)
        shell(f"umount {PLACE}/mount")
        wait_for("the loop device is gone", lambda: not own_loops())
        self.a.lease.give()
        device = self.b.promote()
        shell(f"fsck.ext4 -p -f {device} || test $? = 1")
        self.b.linked()
        self.b.demote()
        self.equal()

    def test_7_a_freeze_without_end_is_aborted(self):
        device = self.begin()
        self.a.lease.end()
        writer = subprocess.Popen(["dd", "if=/dev/zero", f"of={device}", "bs=4k", "count=1", "oflag=direct"],
                                  stderr=subprocess.DEVNULL)
        self.a.notice("aborted", seconds=20)
        self.assertNotEqual(writer.wait(5), 0)

    def test_8_a_newer_permit_elsewhere_ends_the_export(self):
        device = self.begin()
        with self.cluster.lock:
            self.cluster.commit(permit=self.cluster.state["permit"] + 1, holder=2)
        self.a.notice("aborted")
        wait_for("the device is gone", lambda: not own_loops())
        self.assertEqual(shell(f"blockdev --getsize64 {device}", check=False).stdout.strip(), "0")
        self.b.send({"request": "promote", "permit": self.cluster.state["permit"]})
        self.assertEqual(self.b.notice("promoted", "failed")["notice"], "promoted")
        self.b.linked()

    def test_9_stop_in_order_keeps_the_incarnation(self):
        self.begin()
        self.a.demote()
        before = self.b.report["incarnation"]
        self.b.send({"request": "stop"})
        self.assertEqual(self.b.process.wait(10), 0)
        self.assertFalse(os.path.exists(f"{self.b.directory}/control.sock"))
        self.b.start()
        self.assertEqual(self.b.report["incarnation"], before)
        self.b.kill()
        self.b.start()
        self.assertEqual(self.b.report["incarnation"], before + 1)
        self.b.process.terminate()
        self.assertEqual(self.b.process.wait(10), 0)

    def test_a_verify_and_reconnection_of_batond(self):
        device = self.begin()
        shell(f"dd if=/dev/urandom of={device} bs=1M count=8 oflag=direct conv=fsync 2>&1")
        self.a.connection.close()
        self.a.report = {}
        self.a.connect()  # another batond: nothing has changed for the disk
        self.a.wait("a report", lambda: self.a.report.get("exported"))
        self.assertEqual(self.a.device, device)
        self.a.send({"request": "promote", "permit": self.cluster.state["permit"]})
        self.assertEqual(self.a.notice("promoted", "failed"),
                         {"notice": "promoted", "permit": self.cluster.state["permit"], "device": device})
        self.a.send({"request": "verify"})
        verified = self.a.notice("verified", "failed", seconds=30)
        self.assertEqual((verified.get("blocks"), verified.get("different")), (SIZE // 4096, 0), verified)

    def test_b_stores_that_cannot_be_right_are_refused(self):
        small = Server(self.cluster, 1, self.port, store_size=SIZE - 4096, label="-small")
        done = subprocess.run([MIRRORD, "--settings", small.settings], stderr=subprocess.PIPE, text=True, timeout=20)
        self.assertEqual(done.returncode, 1)
        for part in (small.store, str(SIZE), str(SIZE - 4096), "truncate"):
            self.assertIn(part, done.stderr)
        self.begin()
        self.a.demote()
        self.b.kill()
        os.remove(self.b.store)
        done = subprocess.run([MIRRORD, "--settings", self.b.settings], stderr=subprocess.PIPE, text=True, timeout=20)
        self.assertEqual(done.returncode, 1)
        self.assertIn("is gone", done.stderr)
        self.assertFalse(os.path.exists(self.b.store))


def own_mounts():
    """A mount namespace of our own: one that others copy meanwhile (containers, labs) would keep our disks in use."""
    library = ctypes.CDLL(None, use_errno=True)
    clone_newns, ms_rec_private = 0x00020000, 0x4000 | 1 << 18
    if library.unshare(clone_newns) != 0 or library.mount(None, b"/", None, ms_rec_private, None) != 0:
        raise OSError(ctypes.get_errno(), "cannot get a mount namespace of our own")


def main():
    if os.geteuid() != 0:
        print("tests/system/mirrord_test.py needs root")
        return 1
    own_mounts()
    signal.signal(signal.SIGALRM, lambda *_: sys.exit("mirrord_test.py: took longer than 5 minutes"))
    signal.alarm(300)
    name = f"Mirrord.{sys.argv[1]}" if len(sys.argv) > 1 else "Mirrord"
    suite = unittest.defaultTestLoader.loadTestsFromName(name, sys.modules[__name__])
    try:
        result = unittest.TextTestRunner(verbosity=2).run(suite)
    finally:
        clean_up()
    failed = len({getattr(test, "test_case", test).id() for test, _ in result.failures + result.errors})
    print(f"{result.testsRun - failed} passed, {failed} failed", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
