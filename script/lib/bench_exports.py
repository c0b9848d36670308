"""What the benchmark sends its requests to: Baton's mirrors, files behind Baton's NBD server, QEMU's quorum driver.

Each has a directory under PLACE and ends when closed; clean_up() ends what a killed earlier run left behind.
"""
import glob
import os
import shutil
import signal
import socket
import subprocess
import time

import mirror_pair
from bench_tools import BenchError
from mirror_pair import BIN

PLACE = "/var/tmp/baton-bench"
KEYS = {"main": "bench.main", "alone": "bench.alone", "tls": "bench.tls", "large": "bench.large"}
PORTS = {"main": 17960, "alone": 17962, "tls": 17964, "large": 17966}


def nbd(path, name=""):
    """fio's options for an NBD socket."""
    return {"ioengine": "nbd", "uri": f"nbd+unix:///{name}?socket={path}"}


def block_device(path):
    return {"ioengine": "io_uring", "filename": path, "direct": 1}


def clean_up():
    for key in KEYS.values():
        mirror_pair.clean_up(PLACE, key)
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            arguments = open(path, "rb").read().split(b"\0")
            if any(f"{PLACE}/".encode() in argument for argument in arguments[1:]):
                os.kill(int(path.split("/")[2]), signal.SIGKILL)
        except (OSError, ValueError):
            pass
    shutil.rmtree(PLACE, ignore_errors=True)


def of_server(settings, number):
    """SELF in a settings' path is the server's number."""
    return {key: value.replace("SELF", str(number)) if isinstance(value, str) else value
            for key, value in settings.items()}


class Mirror:
    """A pair of mirror daemons, exported by NBD and as a loop device; or one alone, whose peer was never there."""

    def __init__(self, name, size, alone=False, **settings):
        place, key, port = f"{PLACE}/{name}", KEYS[name], PORTS[name]
        os.makedirs(place)
        self.cluster = mirror_pair.Cluster(place, key, size)
        self.socket = f"{place}/nbd.sock"
        self.a, self.b = (mirror_pair.Server(self.cluster, number, port, export_kind="fuse", nbd_socket=path,
                                             **of_server(settings, number))
                          for number, path in ((1, self.socket), (2, f"{place}/nbd2.sock")))
        self.cluster.servers = [self.a] if alone else [self.a, self.b]
        self.device = ""

    def start(self, seconds=180):
        for server in self.cluster.servers:
            server.start()
        self.device = self.a.promote()
        if len(self.cluster.servers) > 1:
            self.a.linked(seconds=seconds)
        return self

    @property
    def nbd(self):
        return nbd(self.socket) if os.path.exists(self.socket) else None

    @property
    def loop(self):
        return block_device(self.device)

    def stop_secondary(self):
        """In order, so that nothing but what is written from here on has to be copied."""
        self.b.send({"request": "stop"})
        try:
            self.b.process.wait(20)
        except subprocess.TimeoutExpired:
            self.b.kill()
        self.a.wait("alone", lambda: list(self.cluster.state["in_sync"]) == ["1"], 30)

    def forget_secondary(self):
        """Its store stays as it is; without metadata it is a new copy, and gets a full one."""
        for path in glob.glob(f"{self.b.directory}/*.meta*"):
            os.remove(path)

    def start_secondary(self):
        self.a.links.clear()
        self.b.start()

    def copy_seconds(self, seconds=180):
        """From the beginning of the copy that start_secondary() has brought on, until both are in sync."""
        self.a.wait("in sync again", lambda: any(link == "connected" for _, link in self.a.links), seconds)
        times = {}
        for when, link in self.a.links:
            times.setdefault(link, when)
        return times["connected"] - times.get("copying", times.get("connecting", times["connected"]))

    def close(self):
        for server in (self.a, self.b):
            if server.process and server.process.poll() is None:
                server.kill()
        mirror_pair.clean_up(self.cluster.place, self.cluster.key)


class Programs:
    """Processes that end together; each ready when its unix socket accepts."""

    def __init__(self):
        self.processes = []

    def start(self, command, path):
        log = open(f"{PLACE}/programs.log", "a")
        process = subprocess.Popen([str(word) for word in command], stdout=log, stderr=log)
        self.processes.append(process)
        deadline = time.monotonic() + 10
        while not accepts(path):
            if process.poll() is not None or time.monotonic() > deadline:
                with open(f"{PLACE}/programs.log") as text:
                    raise BenchError(f"{command[0]} did not start: {text.read()[-600:]}")
            time.sleep(0.02)

    def close(self):
        for process in self.processes:
            process.kill()
            process.wait()


def accepts(path):
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(path)
            return True
    except OSError:
        return False


class LocalLegs(Programs):
    """Baton's own NBD server over two files: the same export and disk work as a mirror, no network."""

    def __init__(self, size, *files):
        super().__init__()
        path = f"{PLACE}/local.sock"
        self.start([os.path.join(BIN, "baton-bench-local"), path, size, *files], path)
        self.nbd = nbd(path)


class Quorum(Programs):
    """QEMU's quorum driver with two children over an NBD socket; with `remote` the second is the file of another process
    (qemu-nbd), else of the same one."""

    def __init__(self, first, second, remote):
        super().__init__()
        kind = "remote" if remote else "local"
        path = f"{PLACE}/quorum-{kind}.sock"
        options = "cache.direct=on,aio=io_uring,locking=off"
        other = f"driver=file,node-name=second,filename={second},{options}"
        if remote:
            # Over TCP its small answers wait for delayed acknowledgements (900 IOPS at depth 32): a unix socket is kinder.
            leg = f"{PLACE}/quorum-leg.sock"
            self.start(["qemu-nbd", "--persistent", "--shared=8", f"--socket={leg}", "--export-name=leg", "--cache=none",
                        "--aio=io_uring", "--image-opts", f"driver=file,filename={second},{options}"], leg)
            other = f"driver=nbd,node-name=second,server.type=unix,server.path={leg},export=leg"
        self.start(["qemu-storage-daemon",
                    "--blockdev", f"driver=file,node-name=first,filename={first},{options}",
                    "--blockdev", other,
                    "--blockdev", "driver=quorum,node-name=quorum,vote-threshold=2,children.0=first,children.1=second",
                    "--nbd-server", f"addr.type=unix,addr.path={path}",
                    "--export", "type=nbd,id=export,node-name=quorum,writable=on,name=disk"], path)
        self.nbd = nbd(path, "disk")
