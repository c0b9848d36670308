"""Runs in the virtual machine of guard_test.py: a cluster of one server (real batond, baton-guard and corosync) whose guard
feeds softdog. Says "ok NAME" or "not ok NAME: why" for each check. A fault after which the machine must be reset is told
to the kernel's log, whose time stamps are those of the watchdog's own message."""
import fcntl
import json
import mmap
import os
import signal
import struct
import subprocess
import sys
import threading
import time
import traceback

MARGIN_S = int(os.environ["margin"])
LEASE_S = 2.0
BEYOND_S = MARGIN_S + 3  # "it lives on": longer than the watchdog's margin
CONFIGURATION = """
[cluster]
name = "alone"
public_lan = "10.77.0.0/24"
power_off_command = ["/bin/power", "poweroff"]
reboot_command = ["/bin/power", "reboot"]
timing = { profile = "lan", lease = "2 s" }
[server.server1]
id = 1
interconnects = ["10.77.1.1"]
watchdog = "/dev/watchdog"
[group.app]
servers = ["server1"]
[group.app.address.ip]
address = "10.77.0.50"
[group.app.service.worker]
command = ["/bin/worker"]
"""
# What a step forward may leave behind, if batond sees the moment in which the page is withdrawn.
ONE_EXCHANGE = ("the lease has lapsed", "the lease is back", "suspend ip", "resume ip")
FREEZE = 0xC0045877  # FIFREEZE of linux/fs.h
RTC = "/sys/class/rtc/rtc0"


class Failure(Exception):
    pass


def say(text):
    os.write(1, (text + "\n").encode())


def check(title, good, why=""):
    say(f"ok {title}" if good else f"not ok {title}: {why}")
    return good


def mark(text):
    """Into the kernel's log, as an error of the greatest kind: so it comes on the console."""
    with open("/dev/kmsg", "w") as log:
        log.write(f"<2>guest: {text}\n")


def read(path):
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""


def until(what, predicate, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = predicate()
        if found:
            return found
        time.sleep(0.02)
    raise Failure(f"waited {seconds} s for {what}")


def baton(*words):
    done = subprocess.run(["baton", "--json", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60)
    if done.returncode != 0:
        raise Failure(f"baton {' '.join(words)}: {done.stderr}")
    return json.loads(done.stdout) if done.stdout.startswith("{") else {}


def process(name):
    """Its id; 0: there is none."""
    for entry in os.listdir("/proc"):
        if entry.isdigit() and read(f"/proc/{entry}/comm").strip() == name[:15]:
            if read(f"/proc/{entry}/stat").rpartition(")")[2].split()[0] != "Z":
                return int(entry)
    return 0


def guard_said(text):
    return read("/run/baton/guard.log").count(text)


def watchdog_state():
    return read("/sys/class/watchdog/watchdog0/state").strip()


def has_address():
    return "10.77.0.50/" in subprocess.run(["ip", "address"], stdout=subprocess.PIPE, text=True, timeout=30).stdout


class LeaseWatch(threading.Thread):
    """Reads the lease page like the data plane does, all the time."""

    def __init__(self):
        super().__init__(daemon=True)
        with open("/run/baton/lease", "rb") as file:
            self.page = mmap.mmap(file.fileno(), 4096, prot=mmap.PROT_READ)
        self.longest = self.coarsest = 0.0
        self.lapsed_at = None
        self.start()

    def deadline(self):
        return struct.unpack_from("<q", self.page, 16)[0]

    def left(self):
        return (self.deadline() - time.monotonic_ns()) / 1e9

    def run(self):
        before = time.monotonic_ns()
        while True:
            deadline, now = self.deadline(), time.monotonic_ns()
            self.coarsest = max(self.coarsest, (now - before) / 1e9)
            before = now
            if now < deadline:
                self.lapsed_at = None
            else:
                self.lapsed_at = self.lapsed_at or deadline or now  # 0: withdrawn
                self.longest = max(self.longest, (now - self.lapsed_at) / 1e9, 1e-6)
            time.sleep(0.002)

    def begin(self):
        self.longest = self.coarsest = 0.0


class Server:
    def __init__(self):
        os.makedirs("/etc/baton", exist_ok=True)
        with open("/etc/baton/cluster.toml", "w") as file:
            file.write(CONFIGURATION)
        baton("cluster", "create", "--as", "server1", "--no-preflight")
        os.makedirs("/var/log/baton", exist_ok=True)
        with open("/var/log/baton/batond.log", "w") as log:
            self.batond = subprocess.Popen(["batond"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until("the lease page", lambda: os.path.exists("/run/baton/lease"))
        self.lease = LeaseWatch()
        self.wait_up()
        until("the watchdog to be on", lambda: watchdog_state() == "active")
        say(f"# up after {time.monotonic():.1f} s, the watchdog's margin is {read('/sys/class/watchdog/watchdog0/timeout').strip()} s")

    def wait_up(self):
        """The group is started, the service runs."""
        def up():
            group = baton("status")["groups"][0]
            return group["phase"] == "started" and process("worker") and has_address()
        until("the group to be started", up, 45)
        self.worker = process("worker")

    def lives_beyond_the_margin(self, title):
        """As long as the fault is: a watchdog that is not fed would reset the machine meanwhile."""
        time.sleep(BEYOND_S)
        check(title, True)

    def pause(self, *names, how=signal.SIGSTOP):
        for name in names:
            pid = process(name)
            if not pid:
                raise Failure(f"{name} does not run")
            os.kill(pid, how)

    def events(self):
        return baton("events", "-n", "500")["events"]

    def events_after(self, last):
        new = [event for event in self.events() if event["id"] > last]
        for event in new:
            say(f"#   event {event['kind']}: {event['text']}")
        return new


# --- What is stepped or stands still ---------------------------------------------------------------------------------


def step_clock(seconds):
    time.clock_settime_ns(time.CLOCK_REALTIME, time.clock_gettime_ns(time.CLOCK_REALTIME) + int(seconds * 1e9))


def undisturbed(server, title, change, steps_forward):
    """What a change of the clocks may cost: for a step forward one exchange of beats (docs/protocol.md, F5)."""
    seen, before = guard_said("time has passed unseen"), server.events()[-1]["id"]
    server.lease.begin()
    change()
    begun = time.monotonic_ns()
    if steps_forward:
        until(f"the guard to see {title}", lambda: guard_said("time has passed unseen") > seen, 10)
    until("the lease to be renewed", lambda: server.lease.deadline() > begun + (LEASE_S - 0.3) * 1e9, 10)
    longest = server.lease.longest
    say(f"# {title}: without a lease for {longest * 1000:.0f} ms, seen to {server.lease.coarsest * 1000:.0f} ms")
    check(f"{title}: the lease goes on", longest < (LEASE_S / 4 if steps_forward else 1e-6), f"{longest} s without")
    status = baton("status")
    check(f"{title}: status answers", status["database"]["serving"] and status["lease"]["valid"], json.dumps(status["database"]))
    check(f"{title}: the service runs on", process("worker") == server.worker, "another process")
    check(f"{title}: the address stays", has_address(), "dropped")
    new = server.events_after(before)
    expected = ONE_EXCHANGE if steps_forward else ()
    check(f"{title}: no other event",
          all(any(text in event["text"] for text in expected) for event in new), json.dumps(new))


def stepped_clocks(server):
    undisturbed(server, "an hour forward", lambda: step_clock(3600), True)
    undisturbed(server, "an hour backward", lambda: step_clock(-3600), False)

    def to_and_fro():
        for hours in (1, -2, 48, -24, 0.5, -23.5):
            step_clock(hours * 3600)
    undisturbed(server, "six steps at once", to_and_fro, False)
    timestamps(server)


def timestamps(server):
    """Events keep their order, and each says the time that the clock had."""
    last = server.events()[-1]["id"]
    for hours in (2, -2):
        step_clock(hours * 3600)
        before = time.time() * 1000
        baton("cluster", "suspend", "--reason", "clocks are set")
        baton("cluster", "resume")
        new = server.events_after(last)
        last = new[-1]["id"]
        check(f"events {hours:+} h: their time is the clock's",
              all(before - 1000 <= event["time_ms"] <= time.time() * 1000 for event in new),
              json.dumps(new))
    events = server.events()
    check("events: in order by the monotonic clock",
          all(one["monotonic_us"] <= two["monotonic_us"] for one, two in zip(events, events[1:])), "")


def real_time_clock():
    return int(read(RTC + "/since_epoch"))


def machine_stands_still(server):
    """QEMU stops the whole machine: of its clocks only that of the mainboard goes on, and no program reads that one."""
    offset = real_time_clock() - time.monotonic()

    def stand_still():
        say("host: stand still")
        until("the machine to have stood still", lambda: real_time_clock() - time.monotonic() > offset + 1.5, 60)
    undisturbed(server, "the machine stands still for 3 s", stand_still, False)


# --- The scenarios ----------------------------------------------------------------------------------------------------


def lives(server):
    server.lease.begin()
    server.lives_beyond_the_margin("a good lease: the machine lives on")
    check("a good lease: it never lapsed", server.lease.longest == 0, f"{server.lease.longest} s")
    guard = process("baton-guard")
    server.pause("baton-guard", how=signal.SIGKILL)
    until("another guard", lambda: process("baton-guard") not in (0, guard), 10)
    server.lives_beyond_the_margin("the guard is killed: the next one feeds the watchdog")
    stepped_clocks(server)
    machine_stands_still(server)
    subprocess.run(["baton", "cluster", "shutdown"], timeout=90)
    server.batond.wait(60)
    check("an orderly end: the guard is gone", process("baton-guard") == 0, "it runs")
    check("an orderly end: the watchdog is off", watchdog_state() == "inactive", watchdog_state())
    server.lives_beyond_the_margin("an orderly end: the machine lives on")


def is_reset():
    """The end of a scenario: the host looks for the watchdog's message."""
    time.sleep(BEYOND_S)
    check("the machine is reset", False, f"it lives {BEYOND_S} s later")


def stopped(server):
    server.pause("batond", "baton-guard")
    mark("the watchdog was fed for the last time")
    is_reset()


def killed(server):
    server.pause("batond")
    server.pause("baton-guard", how=signal.SIGKILL)
    mark("the watchdog was fed for the last time")
    is_reset()


def lose_corosync(server):
    """Nothing starts another one. A stopped one would do for a while: a majority of one needs nobody's answer."""
    server.pause("batond")
    server.pause("corosync", how=signal.SIGKILL)


def no_lease(server):
    """The service that can be ended is, and the watchdog is fed on; one that hangs in the kernel cannot be ended."""
    lose_corosync(server)
    until("the guard to end the service", lambda: not process("worker"), 30)
    check("no lease: the address is dropped", not has_address(), "it is there")
    server.lives_beyond_the_margin("no lease, nothing left: the machine lives on")
    server.pause("batond", how=signal.SIGCONT)
    server.wait_up()
    fcntl.ioctl(os.open("/frozen", os.O_RDONLY), FREEZE, 0)
    open("/run/write", "w").close()
    until("the service to hang", lambda: read(f"/proc/{server.worker}/stat").rpartition(")")[2].split()[:1] == ["D"], 10)
    lose_corosync(server)
    mark("the watchdog was fed for the last time")
    is_reset()


def shut_down(how):
    baton("server", "shutdown", "server1", how, "--no-wait")
    until(f"the machine to go down by shutdown {how}", lambda: False, 60)


def power_off(server):
    shut_down("--poweroff")


def reboot(server):
    shut_down("--reboot")


def main():
    scenario = {"lives": lives, "stopped": stopped, "killed": killed, "no_lease": no_lease, "power_off": power_off,
                "reboot": reboot}[os.environ["scenario"]]
    try:
        scenario(Server())
    except Exception:
        say(f"not ok {scenario.__name__}: {traceback.format_exc()}")
        for path in ("/var/log/baton/batond.log", "/run/baton/guard.log", "/var/log/baton/corosync.log"):
            say(f"# {path}\n" + "\n".join(f"#   {line}" for line in read(path).splitlines()[-25:]))


if __name__ == "__main__":
    sys.exit(main())
