"""A pair of mirror daemons on this machine with a small stand-in for batond that commits what they propose: shared by
the daemon's tests and the benchmark. Needs root, and build/bin/baton-mirrord.

Everything waits for events with a deadline. Each user has a place (a directory) and a mirror key of its own.
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
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BIN = os.environ.get("BATON_BIN", os.path.join(ROOT, "build", "bin"))
MIRRORD = os.path.join(BIN, "baton-mirrord")
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


def clean_up(place, key):
    """What the program that uses this place, or a crashed earlier run of it, left on the machine."""
    for line in open("/proc/mounts"):
        if line.split()[1].startswith(place):
            shell(f"umount -l {line.split()[1]}", check=False)
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            arguments = open(path, "rb").read().split(b"\0")
        except OSError:
            continue
        own = [argument for argument in arguments if argument.startswith(f"{place}/".encode())]
        if any(argument.endswith(b".json") for argument in own) or own and arguments[0].endswith(b"/baton-lab-disk"):
            try:
                os.kill(int(path.split("/")[2]), signal.SIGKILL)
            except ProcessLookupError:
                pass
    wait_for(f"loop devices of {key} are gone", lambda: not own_loops(key), 10)
    shutil.rmtree(place, ignore_errors=True)


def own_loops(key):
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
            if key.encode() in information[56:120]:
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

    def __init__(self, cluster, number, port, key="ab" * 64, store_size=None, label="", namespace="", **settings):
        """`settings`: more members of the daemon's settings file, or others than these. `namespace`: of the network."""
        self.cluster, self.number = cluster, number
        self.enter = ["nsenter", f"--net=/run/netns/{namespace}"] if namespace else []  # a command that starts the daemon
        self.directory = f"{cluster.place}/server{number}{label}"
        os.makedirs(self.directory)
        self.store = settings.pop("store", f"{self.directory}/store")
        self.faults = f"{self.directory}/faults"
        if store_size is not None:
            shell(f"truncate -s {store_size} {self.store}")
        with open(f"{self.directory}/key", "w") as file:
            file.write(key + "\n")
        self.lease = Lease(f"{self.directory}/lease", number)
        self.settings = f"{self.directory}/mirror.json"
        self.chosen = {"key": cluster.key, "self": number, "peer": 3 - number, "store": self.store,
                       "metadata": f"{self.directory}/{cluster.key}.meta", "size_bytes": cluster.size,
                       "listen_address": f"127.0.0.{number}", "peer_addresses": [f"127.0.0.{3 - number}"],
                       "port": port, "cluster_key_file": f"{self.directory}/key",
                       "lease_page": f"{self.directory}/lease", "socket": f"{self.directory}/control.sock",
                       "export_directory": f"{self.directory}/export",
                       "certificate_file": f"{self.directory}/tls/server.pem",
                       "private_key_file": f"{self.directory}/tls/server.key",
                       "authority_file": f"{self.directory}/tls/authority.pem"}
        self.choose(**settings)
        self.process = None
        self.forget()
        self.links = []  # (when, link) of each change of the mirror connect
        self.changed = threading.Condition()

    def choose(self, **settings):
        """Other settings, from the daemon's next start on."""
        self.chosen.update(settings)
        with open(self.settings, "w") as file:
            json.dump(self.chosen, file)

    def forget(self):
        self.notices, self.report, self.device = [], {}, ""
        self.said = []     # texts of notes and alerts, as (kind, text)
        self.details = {}  # metrics, paths and export, as last reported
        self.paths = []    # of the details: the mirror connects

    def start(self):
        self.forget()
        self.log = open(f"{self.directory}/log", "a")
        self.process = subprocess.Popen([*self.enter, MIRRORD, "--settings", self.settings], stderr=self.log)
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
                        self.details = notice.get("details", {})
                        self.paths = self.details.get("paths", [])
                        if not self.links or self.links[-1][1] != self.report["link"]:
                            self.links.append((time.monotonic(), self.report["link"]))
                    else:
                        self.notices.append(notice)
                        if "text" in notice:
                            self.said.append((notice["notice"], notice["text"]))
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

    def says(self, kind, part, seconds=15):
        """Waits for a note or an alert that contains this text."""
        self.wait(f"{kind} with {part!r}, of {self.said}",
                  lambda: any(said == kind and part in text for said, text in self.said), seconds)

    def ask(self, request, seconds=30, **members):
        """A request of an operator, and its answer."""
        self.notices.clear()
        self.send({"request": request, **members})
        return self.notice("done", "verified", "failed", seconds=seconds)

    def fault(self, *orders):
        """Makes the disk fail (src/mirror/faulty_device.h); without orders it is well again. Needs the setting
        `fault_file`. A running daemon has seen it when this returns; another one reads it when it starts."""
        told = ("note", f"the disk's faults, as {self.faults} says: {'; '.join(orders) or 'none'}")
        with self.changed:
            before = self.said.count(told)
        with open(self.faults + ".new", "w") as file:
            file.write("".join(f"{order}\n" for order in orders))
        os.rename(self.faults + ".new", self.faults)
        if self.running():
            self.wait("it has seen the faults", lambda: self.said.count(told) > before)

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

    def running(self):
        return self.process is not None and self.process.poll() is None

    def kill(self):
        self.process.kill()
        self.process.wait(10)
        self.connection.close()

    def stop(self):
        self.send({"request": "stop"})
        status = self.process.wait(20)
        assert status == 0, f"ended with {status}: {self.log_text()}"
        self.connection.close()

    def log_text(self):
        with open(f"{self.directory}/log") as file:
            return file.read()[-1500:]


class Cluster:
    """The committed record, as batond and its database would keep it; and where the pair lives, for its servers."""

    def __init__(self, place, key, size):
        self.place, self.key, self.size = place, key, size
        self.state = {"version": 1, "permit": 0, "holder": 0, "in_sync": {}}
        self.servers = []
        self.lock = threading.RLock()
        self.deaf = False

    def commit(self, **change):
        with self.lock:
            self.state = dict(self.state, version=self.state["version"] + 1, **change)
            for server in self.servers:
                if server.running():
                    server.send({"request": "state", "state": self.state})

    def propose(self, change):
        with self.lock:
            if (not self.deaf and change["expected_version"] == self.state["version"]
                    and change["permit"] == self.state["permit"]):
                self.commit(in_sync=change["in_sync"], trailing=change.get("trailing", {}))

    def assign(self, server):
        me = str(server.number)
        with self.lock:
            alone = not self.state["in_sync"] or not all(other.running() for other in self.servers)
            in_sync = {me: server.report["incarnation"]} if alone else self.state["in_sync"]
            self.commit(permit=self.state["permit"] + 1, holder=server.number, in_sync=in_sync, trailing={})


def own_mounts():
    """A mount namespace of our own: one that others copy meanwhile (containers, labs) would keep our disks in use."""
    library = ctypes.CDLL(None, use_errno=True)
    clone_newns, ms_rec_private = 0x00020000, 0x4000 | 1 << 18
    if library.unshare(clone_newns) != 0 or library.mount(None, b"/", None, ms_rec_private, None) != 0:
        raise OSError(ctypes.get_errno(), "cannot get a mount namespace of our own")
