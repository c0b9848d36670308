"""A whole cluster in the lab, for the demo and the system tests: up, look, disturb, wait for what must follow.

Waits are for events: the control API's long poll, reached through a member's own file system, or the growth of the
client's record. Each has a deadline and says what was waited for and what was seen last.
"""
import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BIN = os.environ.get("BATON_BIN", os.path.join(ROOT, "build", "bin"))
BATON = os.path.join(BIN, "baton")
WORK = os.path.join(ROOT, "build", "lab")
DATA = "/var/lib/baton-lab"
GROUP = "db"
MIRROR = "db.data"
STORE = "/var/lib/baton/store/db.img"
ADDRESS = "10.88.0.50"
TRY_AGAIN_S = 0.01  # where there is no event to wait for, only a thing that appears
LONG_POLL_MS = 250  # reports of other servers do not always wake a long poll


class LabFailure(Exception):
    """Something that should have happened did not, or a command failed."""


def now_ns():
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC)


def example_configuration(replacements=()):
    """examples/database.toml, with the script that prepares PostgreSQL where it is in this checkout."""
    with open(os.path.join(ROOT, "examples", "database.toml")) as file:
        text = file.read()
    prepare = os.path.join(ROOT, "templates", "programs", "prepare-postgresql")
    for old, new in (("/usr/lib/baton/prepare-postgresql", prepare), *replacements):
        if old not in text:
            raise LabFailure(f"examples/database.toml does not contain {old!r}")
        text = text.replace(old, new)
    return text


def write_configuration(text, name="cluster.toml"):
    os.makedirs(WORK, exist_ok=True)
    path = os.path.join(WORK, name)
    with open(path, "w") as file:
        file.write(text)
    return path


# --- The control API ---------------------------------------------------------------------------------------------


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


@contextlib.contextmanager
def asked(init_pid, method, path, body=None, timeout_s=5):
    """One request to the batond of the member whose init that is, under way: what this gives waits for the answer. `body` is sent as JSON."""
    connection = _UnixConnection(f"/proc/{init_pid}/root/run/baton/api.sock", timeout_s)

    def answer():
        response = connection.getresponse()
        text = response.read()
        if response.status >= 400:
            raise LabFailure(f"{method} {path}: status {response.status}: {text.decode(errors='replace')}")
        return json.loads(text)
    try:
        connection.request(method, path, body=None if body is None else json.dumps(body))
        yield answer
    finally:
        connection.close()


def api_call(init_pid, method, path, body=None, timeout_s=5):
    """The same, and its answer."""
    with asked(init_pid, method, path, body, timeout_s) as answer:
        return answer()


# --- What a status says ------------------------------------------------------------------------------------------


def group_of(status, name=GROUP):
    return next((group for group in status["groups"] if group["name"] == name), None)


def mirror_of(status, name=MIRROR):
    return next((mirror for mirror in status["mirrors"] if mirror["name"] == name), None)


def copy_of(status, server, name=MIRROR):
    mirror = mirror_of(status, name)
    return next((copy for copy in mirror["copies"] if copy["server"] == server), None) if mirror else None


def primary_copy(status, name=MIRROR):
    """The report of the copy that is written to, if it is known."""
    mirror = mirror_of(status, name)
    return copy_of(status, mirror["holder"], name) if mirror and mirror["holder"] else None


def started_on(*servers):
    """A predicate: the group is started, on one of these servers (or on any)."""
    def predicate(status):
        group = group_of(status)
        return bool(status["database"]["serving"] and group and group["phase"] == "started"
                    and (not servers or group["owner"] in servers))
    return predicate


def mirror_in_sync(status):
    mirror = mirror_of(status)
    if not mirror or len(mirror["in_sync"]) != len(mirror["copies"]):
        return False
    primary = primary_copy(status)
    return bool(primary and primary["reported"] and primary["link"] == "connected"
                and all(copy["reported"] and copy["consistent"] for copy in mirror["copies"]))


def normal(status):
    """Everything is up and every copy holds everything."""
    return (started_on()(status) and mirror_in_sync(status)
            and all(server["state"] == "up" for server in status["servers"]))


def describe(status):
    """One line for people: what a wait saw last."""
    if status is None:
        return "no server answered"
    words = [f"asked {status['server']}",
             "servers " + ", ".join(f"{server['name']} {server['state']}" for server in status["servers"])]
    database = status["database"]
    words.append("database serves" if database["serving"] else f"database waits: {database['waiting']}")
    for group in status["groups"]:
        troubled = [resource for resource in group["resources"] if resource["state"] not in ("up", "down")]
        if len(status["groups"]) > 1 and group["phase"] == "started" and not troubled:
            continue
        waiting = f" (waits: {group['waiting']})" if group["waiting"] else ""
        words.append(f"group {group['name']} {group['phase']} on {group['owner'] or 'nobody'}{waiting}: {group['reason']}")
        words += [f"{resource['name']} {resource['state']} {resource['detail']}" for resource in troubled]
    mirror = mirror_of(status)
    if mirror:
        words.append(f"in sync: {', '.join(mirror['in_sync']) or 'nobody'}")
        words += [f"copy on {copy['server']}: {copy['role']}, link {copy['link']}, dirty {copy['dirty_bytes']}"
                  + "".join(f", {copy[key]}" for key in ("waiting", "problem") if copy.get(key))
                  for copy in mirror["copies"] if copy["reported"]]
    return "; ".join(words)


# --- The cluster -------------------------------------------------------------------------------------------------


class LabCluster:
    """server1, server2, a witness and a client in the lab, with the group of examples/database.toml."""

    def __init__(self, say=lambda text: None):
        self.say = say
        self.members = {}
        self.ledgers = []

    # Commands

    def lab(self, *words, timeout_s=120, check=True):
        """Runs `baton lab WORDS`."""
        return self._run([BATON, "lab", *words], timeout_s, check)

    def inside(self, member, *command, timeout_s=60, check=True):
        """Runs a command inside a member."""
        return self.lab("exec", member, "--", *command, timeout_s=timeout_s, check=check)

    def baton(self, server, *words, timeout_s=60, check=True):
        """Runs the `baton` command on a server, as a person would there."""
        return self.inside(server, "baton", *words, timeout_s=timeout_s, check=check)

    @staticmethod
    def _run(command, timeout_s, check):
        # The checkout is the working directory: the lab keeps it visible inside the members wherever it is.
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                  text=True, timeout=timeout_s, cwd=ROOT)
        except subprocess.TimeoutExpired:
            raise LabFailure(f"`{' '.join(command)}` did not end within {timeout_s} s") from None
        if check and done.returncode != 0:
            raise LabFailure(f"`{' '.join(command)}` failed with status {done.returncode}: "
                             f"{(done.stderr + done.stdout).strip()}")
        return done

    def up(self, configuration, volatile_disks=True, servers=2, witness=True, programs=None):
        """Brings the lab up with this TOML text and creates the cluster; replaces a lab that is up. Servers that the text does
        not name are spare machines. `programs`: the directory of another version, which they run."""
        path = write_configuration(configuration)
        options = ["--volatile-disks"] if volatile_disks else []
        options += [] if witness else ["--no-witness"]
        options += ["--programs", programs] if programs else []
        self.lab("up", "--replace", "--servers", str(servers), "--config", path, *options)
        self.refresh()

    def down(self):
        for ledger in self.ledgers:
            ledger.abandon()
        self.ledgers.clear()
        self.lab("down", timeout_s=180)

    def power_off(self, server):
        """Cuts a server's power. Gives the moment just before."""
        before = now_ns()
        self.lab("power-off", server)
        self.refresh()
        return before

    def power_on(self, server, programs=None):
        """`programs`: from now on it runs those of this directory."""
        self.lab("power-on", server, *(["--programs", programs] if programs else []))
        self.refresh()

    def refresh(self):
        """Reads again which members have power and where they are on the host."""
        state = json.loads(self.lab("status", "--json").stdout)
        self.members = {member["name"]: member for member in state.get("servers", [])}

    # Looking

    def init_pid(self, server):
        member = self.members.get(server)
        if member is None or not member["init_pid"] or member["power"] != "on":
            raise OSError(f"{server} has no power")
        return member["init_pid"]

    def status(self, server, after="", timeout_ms=0):
        """The state as one server knows it. OSError if its batond does not answer."""
        query = f"?after={after}&timeout_ms={timeout_ms}" if after else ""
        try:
            return api_call(self.init_pid(server), "GET", "/v1/status" + query, timeout_s=5 + timeout_ms / 1000)
        except (http.client.HTTPException, ValueError) as error:
            raise OSError(f"{server}: {error}") from error

    def any_status(self):
        """The state as the first server that answers knows it; the witness first, it is never disturbed."""
        return self.wait_for(lambda status: True, 10, "any server to answer")

    def events(self, server, after=0):
        return api_call(self.init_pid(server), "GET", f"/v1/events?after={after}&limit=10000")["events"]

    def wait_for(self, predicate, seconds, what, servers=("witness", "server1", "server2")):
        """Waits until a server's status satisfies the predicate, and gives that status."""
        deadline = time.monotonic() + seconds
        last, cursor, asked = None, "", None
        while time.monotonic() < deadline:
            for server in servers:
                try:
                    status = self.status(server, cursor if server == asked else "", LONG_POLL_MS)
                except OSError:
                    continue
                asked, cursor, last = server, status["cursor"], status
                if predicate(status):
                    return status
                break
            else:
                asked = None
                self.refresh()
                time.sleep(TRY_AGAIN_S)
        raise LabFailure(f"waited {seconds} s for {what}, in vain; last seen: {describe(last)}")

    def wait_until(self, condition, seconds, what):
        """Waits for something that has no event; gives its first true value."""
        deadline = time.monotonic() + seconds
        while True:
            value = condition()
            if value:
                return value
            if time.monotonic() > deadline:
                raise LabFailure(f"waited {seconds} s for {what}, in vain")
            time.sleep(TRY_AGAIN_S)

    def wait_normal(self, seconds=120):
        """Waits until every server knows that all is well: a wish is judged by what the asked one knows, and right after
        a power cut the others may still know what was."""
        deadline = time.monotonic() + seconds
        servers = [server for server in ("witness", "server1", "server2") if server in self.members]
        while True:
            for server in servers:
                status = self.wait_for(normal, deadline - time.monotonic(), "every server up, the group started and "
                                       f"both copies in sync, as {server} knows it", [server])
            with contextlib.suppress(OSError):
                if all(normal(self.status(server)) for server in servers):
                    return status

    def processes(self, server, name):
        """Pids (as the host sees them) of a member's processes of this name, oldest first."""
        space = os.readlink(f"/proc/{self.init_pid(server)}/ns/pid")
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/{pid}/ns/pid") != space:
                    continue
                with open(f"/proc/{pid}/stat") as file:
                    head, _, rest = file.read().rpartition(")")
                fields = rest.split()
                if head.partition("(")[2] == name[:15] and fields[0] not in "ZX":
                    found.append((int(fields[19]), int(pid)))
        return [pid for _, pid in sorted(found)]

    def postmaster(self, server):
        """The pid of PostgreSQL's first process, which the others descend from."""
        return next(iter(self.processes(server, "postgres")), None)

    # The client

    def start_ledger(self, member="client", host=ADDRESS, table="ledger", rate=0):
        ledger = Ledger(self, member, host, table, rate)
        self.ledgers.append(ledger)
        return ledger

    def check_ledger(self, *ledgers, member="client", host=ADDRESS, table="ledger"):
        """Compares the table with what was acknowledged, through the service."""
        inputs = [word for ledger in ledgers for word in ("--input", ledger.host_path)]
        done = self.inside(member, os.path.join(BIN, "baton-ledger"), "check", "--host", host, "--table", table,
                           "--deadline", "60", *inputs, timeout_s=90, check=False)
        lines = done.stdout.strip().splitlines()
        if not lines:
            raise LabFailure(f"`baton-ledger check` said nothing: {done.stderr.strip()}")
        return json.loads(lines[-1])

    # The stores

    def store_path(self, server):
        """The store of a server as the host sees it, through the server's own mounts."""
        return f"/proc/{self.init_pid(server)}/root{STORE}"

    def compare_stores(self, size_bytes):
        """Plain cmp of the two data areas. REQUIRES: the group is stopped."""
        done = subprocess.run(["cmp", "-n", str(size_bytes), self.store_path("server1"), self.store_path("server2")],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300)
        return done.returncode == 0, done.stdout.strip()

    # When something went wrong

    def save_logs(self, target):
        """Keeps the members' logs, and what each server knows, where `down` does not remove them."""
        shutil.rmtree(target, ignore_errors=True)
        os.makedirs(target, exist_ok=True)
        for name in sorted(os.listdir(DATA)) if os.path.isdir(DATA) else []:
            log = os.path.join(DATA, name, "log")
            if os.path.isdir(log):
                shutil.copytree(log, os.path.join(target, name), dirs_exist_ok=True, ignore_dangling_symlinks=True)
        for server in ("server1", "server2", "witness"):
            for what, read in (("status", self.status), ("events", self.events)):
                with contextlib.suppress(OSError, LabFailure, http.client.HTTPException, ValueError):
                    text = json.dumps(read(server), indent=1)
                    with open(os.path.join(target, f"{server}-{what}.json"), "w") as file:
                        file.write(text)


    def last_words(self, lines=25):
        """The ends of the batonds' logs, for a failure whose machine nobody can visit."""
        text = []
        for server in ("server1", "server2", "witness"):
            with contextlib.suppress(OSError):
                with open(os.path.join(DATA, server, "log", "batond.log"), errors="replace") as file:
                    text += [f"--- {server}", *(line.rstrip()[11:250] for line in file.readlines()[-lines:])]
        return "\n".join(text)


# --- The client's record -----------------------------------------------------------------------------------------


class Gap:
    """A time without an acknowledgement, in nanoseconds of CLOCK_MONOTONIC."""

    def __init__(self, start_ns, end_ns):
        self.start_ns = start_ns
        self.end_ns = end_ns

    @property
    def ms(self):
        return (self.end_ns - self.start_ns) / 1e6


class Ledger:
    """A running `baton-ledger` inside a member, and its record as it grows."""
    number = 0

    def __init__(self, cluster, member, host, table, rate):
        Ledger.number += 1
        self.cluster = cluster
        self.times = []  # of each acknowledgement
        self.resolved = 0
        self._offset = 0
        name = f"ledger-{table}-{Ledger.number}"
        log = os.path.join(cluster.members[member]["directory"], "log")
        self.host_path = os.path.join(log, name + ".txt")
        self.stop_path = os.path.join(log, name + ".stop")
        self.error_path = os.path.join(log, name + ".err")
        command = [BATON, "lab", "exec", member, "--", os.path.join(BIN, "baton-ledger"), "run", "--host", host,
                   "--table", table, "--output", f"/var/log/baton/{name}.txt", "--stop-file",
                   f"/var/log/baton/{name}.stop", "--deadline", "300"]
        if rate:
            command += ["--rate", str(rate)]
        with open(self.error_path, "w") as errors:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors,
                                            text=True, cwd=ROOT)

    def read(self):
        """Takes in what was written since; gives the number of acknowledged rows."""
        with contextlib.suppress(FileNotFoundError), open(self.host_path) as file:
            file.seek(self._offset)
            text = file.read()
            text = text[:text.rfind("\n") + 1]
            self._offset += len(text)
            for line in text.splitlines():
                _, moment, kind = line.split()
                self.times.append(int(moment))
                self.resolved += kind == "resolved"
        return len(self.times)

    def wait_rows(self, more, seconds, what="rows"):
        """Waits until so many more rows are acknowledged."""
        goal = self.read() + more

        def grown():
            if self.read() >= goal:
                return True
            if self.process.poll() is not None:
                raise LabFailure(f"the client ended while {more} more {what} were waited for: {self._error()}")
            return False
        self.cluster.wait_until(grown, seconds, f"{more} more {what} to be committed")

    def longest_gap(self, since_ns=0):
        """The longest time without an acknowledgement that ended after `since_ns`."""
        self.read()
        gaps = [Gap(before, after) for before, after in zip(self.times, self.times[1:]) if after >= since_ns]
        if not gaps:
            raise LabFailure("no row was acknowledged after that moment: there is no outage to measure")
        return max(gaps, key=lambda gap: gap.ms)

    def stop(self, seconds=60):
        """Ends the client in order, its last row's outcome known. Gives its summary."""
        with open(self.stop_path, "w"):
            pass
        try:
            output, _ = self.process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            raise LabFailure(f"waited {seconds} s for the client to end: its last row's outcome is not known") from None
        self.read()
        if self.process.returncode != 0:
            raise LabFailure(f"the client failed: {self._error()}")
        self.cluster.ledgers.remove(self)
        return json.loads(output)

    def abandon(self):
        """Ends the client whatever it is doing."""
        with contextlib.suppress(OSError), open(self.stop_path, "w"):
            pass
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)
        if self.process.stdout:
            self.process.stdout.close()

    def _error(self):
        with contextlib.suppress(OSError), open(self.error_path) as file:
            return file.read().strip() or f"status {self.process.returncode}"
        return f"status {self.process.returncode}"


# --- How an outage divides ---------------------------------------------------------------------------------------


def outage_division(events, gap, lost_server, resources):
    """Where the time of an outage went, by the survivor's events. `resources`: name -> kind.

    The parts of detection, database commit and first commit add up with the steps' span; steps that do not depend on
    each other run side by side, so their own times may sum up to more.
    """
    window = [event for event in events
              if gap.start_ns / 1e3 - 1e6 <= event["monotonic_us"] <= gap.end_ns / 1e3 + 1e3]

    def moment(predicate):
        found = next((event for event in window if predicate(event)), None)
        return found["monotonic_us"] / 1e3 if found else None

    start, end = gap.start_ns / 1e6, gap.end_ns / 1e6
    lost = moment(lambda event: event["kind"] == "membership" and event["text"].startswith(f"{lost_server} lost"))
    assigned = moment(lambda event: event["kind"] == "transition" and event["group"] == GROUP
                      and "assign to server" in event["text"] and "(refused" not in event["text"])
    # The last step's end is told by a probe, which may come after the client's first commit.
    steps = [event for event in events if event["kind"] == "step" and event["group"] == GROUP
             and event["action"] == "start" and event["outcome"] == "ok"
             and start <= (event["monotonic_us"] - event["took_us"]) / 1e3 <= end]
    division = {"detection_ms": lost - start if lost else None,
                "database_commit_ms": assigned - lost if lost and assigned else None}
    for kind, name in (("mirror", "mirror_ms"), ("filesystem", "mount_ms"), ("address", "address_ms"),
                       ("service", "postgresql_ms")):
        times = [event["took_us"] / 1e3 - max(0, event["monotonic_us"] / 1e3 - end)
                 for event in steps if resources.get(event["resource"]) == kind]
        division[name] = sum(times) if times else None
    ready = max((event["monotonic_us"] / 1e3 for event in steps), default=None)
    division["first_commit_ms"] = max(0, end - ready) if ready else None
    return {name: None if value is None else round(value, 1) for name, value in division.items()}


def resource_kinds(status):
    return {resource["name"]: resource["kind"] for resource in group_of(status)["resources"]}
