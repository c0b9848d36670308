#!/usr/bin/env python3
"""The lab itself: what `baton lab` promises, checked on the machine it runs on. Needs root and build/bin/baton.

Everything waits for events with a deadline. The last line is `N passed, N failed`.
"""
import contextlib
import json
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BIN = os.environ.get("BATON_BIN", os.path.join(ROOT, "build", "bin"))
BATON = os.path.join(BIN, "baton")


def run(*arguments, check=True, env=None, stdin=None, timeout=90):
    """Runs `baton lab ARGUMENTS` and gives the finished process."""
    done = subprocess.run([BATON, "lab", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          env=dict(os.environ, **(env or {})), input=stdin, timeout=timeout)
    if check and done.returncode != 0:
        raise AssertionError(f"baton lab {' '.join(arguments)}: status {done.returncode}: {done.stderr}{done.stdout}")
    return done


def inside(member, script, check=True, **options):
    return run("exec", member, "--", "bash", "-c", script, check=check, **options)


def wait_for(what, condition, seconds=10):
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds} s for {what}: in vain")
        time.sleep(0.01)


def status():
    return json.loads(run("status", "--json").stdout)


def member(name):
    return next(each for each in status()["servers"] if each["name"] == name)


def pings(source, target):
    return inside(source, f"ping -c1 -W1 {target}", check=False).returncode == 0


def cgroup_root():
    with open("/proc/mounts") as mounts:
        return next(line.split()[1] for line in mounts if line.split()[2] == "cgroup2")


def lab_pids(name):
    with open(f"{cgroup_root()}/baton-lab/{name}/cgroup.procs") as file:
        return [int(line) for line in file]


def lines_of(*command):
    return sorted(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines())


def lab_processes():
    """Living processes of a lab. Ended ones are the host's pid 1's to reap, sooner or later."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            with open(f"/proc/{pid}/stat") as file:
                if file.read().rpartition(")")[2].split()[0] in "ZX":
                    continue
            with open(f"/proc/{pid}/cgroup") as file:
                if "/baton-lab" in file.read():
                    found.append(pid)
            with open(f"/proc/{pid}/cmdline") as file:
                if "baton-lab-" in file.read():
                    found.append(pid)
    return found


def namespaces():
    """Namespaces other than this test's own, that a lab could have made: those of lab processes."""
    found = set()
    for pid in lab_processes():
        for kind in ("net", "mnt", "pid", "ipc", "uts"):
            with contextlib.suppress(OSError):
                found.add(os.readlink(f"/proc/{pid}/ns/{kind}"))
    return found - {os.readlink(f"/proc/self/ns/{kind}") for kind in ("net", "mnt", "pid", "ipc", "uts")}


def traces():
    """Whatever a lab could leave behind on this machine."""
    with open("/proc/self/mountinfo") as file:
        mounts = sorted(file.read().splitlines())
    loops = []
    for name in sorted(os.listdir("/sys/block")):  # others may use loop devices at the same time
        with contextlib.suppress(OSError), open(f"/sys/block/{name}/loop/backing_file") as file:
            if file.read().startswith(("/run/export", "/run/baton-lab", "/var/lib/baton")):
                loops.append(name)
    places = ["/run/baton-lab", "/var/lib/baton-lab", "/etc/baton", "/var/lib/baton", "/var/log/baton"]
    return {
        "mounts": mounts,
        "loops": loops,
        "links": [line.split("@")[0] for line in lines_of("ip", "-br", "link")],
        "addresses": lines_of("ip", "-br", "addr"),
        "cgroups": sorted(name for name in os.listdir(cgroup_root()) if name.startswith("baton-lab")),
        "places": [place for place in places if os.path.exists(place)],
        "processes": lab_processes(),
        "namespaces": sorted(namespaces()),
    }


class Lab(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        run("down")
        self.before = traces()

    def tearDown(self):
        run("down")
        self.assertEqual(self.before, traces())

    # --- beginning and end -------------------------------------------------------------------------------------

    def test_up_and_down_leave_nothing(self):
        run("up", "--servers", "3", "--volatile-disks")
        self.assertTrue(namespaces())
        state = status()
        self.assertEqual(state["lab"], "up")
        self.assertEqual([each["name"] for each in state["servers"]],
                         ["server1", "server2", "server3", "witness", "client"])
        self.assertEqual(self.before["links"], traces()["links"])
        self.assertEqual(self.before["addresses"], traces()["addresses"])
        self.assertLessEqual(max(map(len, run("status").stdout.splitlines())), 80)
        run("down")
        self.assertEqual(self.before, traces())
        self.assertEqual(status(), {"lab": "down"})
        run("down")  # nothing to do is no error

    def test_up_refuses_a_second_lab_and_replaces_on_request(self):
        run("up", "--no-witness")
        first = member("server1")["init_pid"]
        again = run("up", check=False)
        self.assertEqual(again.returncode, 1)
        self.assertIn("baton lab down", again.stderr)
        self.assertEqual(member("server1")["init_pid"], first)
        run("up", "--replace")
        self.assertNotEqual(member("server1")["init_pid"], first)

    def test_wrong_usage_is_explained(self):
        self.assertEqual(run("up", "--servers", "99", check=False).returncode, 2)
        self.assertEqual(run("frobnicate", check=False).returncode, 2)
        self.assertEqual(run("up", "--config", "/nonexistent", check=False).returncode, 2)
        nothing = run("power-off", "server1", check=False)
        self.assertEqual(nothing.returncode, 1)
        self.assertIn("baton lab up", nothing.stderr)
        run("up")
        unknown = run("cut", "server9", check=False)
        self.assertIn("server1, server2, witness, client", unknown.stderr)
        self.assertIn("it has 0 (ic0), 1 (lan0)", run("cut", "server1", "--link", "5", check=False).stderr)

    def test_cleans_up_after_crashes(self):
        def lose_state():
            os.unlink("/run/baton-lab/state.json")

        def damage_state():
            with open("/run/baton-lab/state.json", "w") as file:
                file.write('{"half')

        def kill(name):
            for pid in lab_pids(name):
                os.kill(pid, signal.SIGKILL)
            wait_for(name + " to die", lambda: not lab_pids(name))

        def lose_cgroup_of_a_server():
            kill("server1")
            os.rmdir(f"{cgroup_root()}/baton-lab/server1")

        for name, crash in [("state lost", lose_state), ("state damaged", damage_state),
                            ("init killed", lambda: kill("server1")), ("switch killed", lambda: kill("switch")),
                            ("disk killed", lambda: kill("disk-server2")), ("cgroup lost", lose_cgroup_of_a_server)]:
            with self.subTest(name):
                run("up", "--volatile-disks")
                crash()
                run("down")
                self.assertEqual(self.before, traces())
                run("up", "--volatile-disks")
                crash()
                run("up", "--volatile-disks")
                self.assertEqual(status()["lab"], "up")
                self.assertTrue(wait_for("the network", lambda: pings("client", "server1")))
                run("down")
                self.assertEqual(self.before, traces())

    def test_up_that_is_killed_half_way(self):
        for delay_ms in (2, 8, 14, 20, 30):
            process = subprocess.Popen([BATON, "lab", "up", "--volatile-disks"], stderr=subprocess.DEVNULL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(delay_ms / 1000)  # a random moment, not a wait for something
            process.kill()
            process.wait()
            run("down")
            self.assertEqual(self.before, traces())

    def test_down_while_programs_run_and_servers_are_off_cut_and_paused(self):
        run("up", "--servers", "3", "--volatile-disks")
        shell = subprocess.Popen([BATON, "lab", "exec", "server2", "--", "sleep", "1000"])
        wait_for("sleep", lambda: len(lab_pids("server2")) == 2)
        run("power-off", "server1")
        run("cut", "server2", "--link", "0")
        run("pause", "server3")
        run("down")
        self.assertEqual(shell.wait(10), 137)

    # --- inside ------------------------------------------------------------------------------------------------

    def test_exec_passes_status_input_and_identity(self):
        run("up")
        self.assertEqual(inside("server1", "exit 7", check=False).returncode, 7)
        self.assertEqual(inside("server1", "kill -9 $$", check=False).returncode, 137)
        self.assertEqual(run("exec", "server1", "--", "no-such-program", check=False).returncode, 127)
        self.assertEqual(run("exec", "nobody", "--", "true", check=False).returncode, 125)
        self.assertEqual(run("exec", "client", "--", "cat", stdin="through").stdout, "through")
        self.assertEqual(run("exec", "server2", "--", "echo", "--json", "-x").stdout, "--json -x\n")
        self.assertEqual(inside("server2", "hostname; pwd; echo $HOME").stdout, "server2\n/\n/root\n")
        self.assertEqual(inside("server1", "command -v baton").stdout.strip(), BATON)
        inside("server1", "test $(cat /proc/1/comm) = baton-lab-init && test $(ls /sys/class/net | wc -l) -ge 3 && "
                          "test -w /sys/fs/cgroup && grep -q baton-lab/server1 /proc/self/cgroup")
        # Own places: what one server writes there no other sees.
        for place in ("/run", "/tmp", "/dev/shm", "/etc/baton", "/var/lib/baton", "/var/log/baton", "/srv"):
            inside("server1", f"touch {place}/only-server1")
            inside("server2", f"test ! -e {place}/only-server1")
            self.assertFalse(os.path.exists(f"{place}/only-server1"), place)
        self.assertEqual(inside("server1", "ulimit -l", check=False).returncode, 0)
        # From inside a server, the lab is out of reach.
        self.assertIn("inside a lab member", inside("server1", "baton lab down", check=False).stderr)

    def test_daemon_is_started_logged_and_restarted(self):
        with tempfile.TemporaryDirectory(dir=ROOT) as folder:
            daemon = os.path.join(folder, "stand-in")
            with open(daemon, "w") as file:
                file.write("#!/bin/sh\necho started as $$ on $(hostname)\nulimit -n\nexec sleep 1000\n")
            os.chmod(daemon, 0o755)
            config = os.path.join(folder, "cluster.toml")
            with open(config, "w") as file:
                file.write('name = "test"\n[server.server1]\n[server.server2]\n[server.witness]\n')
            run("up", "--config", config, "--no-create", env={"BATON_LAB_DAEMON": daemon})

            def sleeper():
                return inside("server1", "pgrep -x sleep", check=False).stdout.strip()

            first = wait_for("the daemon", sleeper)
            inside("server1", f"kill -9 {first}")
            wait_for("its restart", lambda: sleeper() not in ("", first))
            log = run("logs", "server1").stdout
            self.assertEqual(len(re.findall("started as .* on server1", log)), 2)
            hardest = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
            self.assertTrue("\n1048576\n" in log or f"\n{hardest}\n" in log, log)
            self.assertIn("signal 9", run("logs", "server1", "--file", "init.log").stdout)
            keys = {inside(name, "cat /etc/baton/cluster.key; stat -c %a /etc/baton/cluster.key").stdout
                    for name in ("server1", "server2", "witness")}
            self.assertEqual(len(keys), 1)
            self.assertRegex(keys.pop(), r"^[0-9a-f]{128}\n600\n$")
            inside("client", "test ! -e /etc/baton/cluster.key")
            # The logs and the configuration outlive the power; the daemon comes back by itself.
            run("power-off", "server1")
            self.assertIn("started as", run("logs", "server1").stdout)
            run("power-on", "server1")
            wait_for("the daemon after power-on", sleeper)

    def test_daemon_that_keeps_ending_is_slowed_down(self):
        run("up", env={"BATON_LAB_DAEMON": "/bin/false"})
        inside("server1", "echo > /etc/baton/cluster.toml")

        def ends():
            return run("logs", "server1", "--file", "init.log").stdout.count("ended: exit status 1")

        start = time.monotonic()
        wait_for("eight ends", lambda: ends() >= 8, 20)
        self.assertGreater(time.monotonic() - start, 1.5)

    # --- links -------------------------------------------------------------------------------------------------

    def test_cut_and_heal(self):
        run("up")
        self.assertTrue(pings("client", "10.88.0.11"))
        self.assertTrue(pings("server2", "10.88.1.11"))
        self.assertTrue(pings("server2", "10.88.0.11"))
        run("cut", "server1", "--link", "0")
        self.assertFalse(pings("server2", "10.88.1.11"))
        self.assertTrue(pings("server2", "10.88.0.11"))
        self.assertEqual(inside("server1", "cat /sys/class/net/ic0/carrier").stdout, "0\n")
        self.assertEqual([each["state"] for each in member("server1")["links"]], ["cut", "up"])
        run("cut", "server1", "--all")
        self.assertFalse(pings("client", "10.88.0.11"))
        run("heal", "server1")
        self.assertTrue(wait_for("the LAN", lambda: pings("client", "10.88.0.11")))
        self.assertTrue(wait_for("the interconnect", lambda: pings("server2", "10.88.1.11")))
        run("cut", "server1", "--silent")
        self.assertFalse(pings("server2", "10.88.1.11"))
        self.assertEqual(inside("server1", "cat /sys/class/net/ic0/carrier").stdout, "1\n")
        # A cut outlives a power cut, until it is healed.
        run("cut", "server1", "--link", "1")
        run("power-off", "server1")
        run("power-on", "server1")
        self.assertFalse(pings("client", "10.88.0.11"))
        self.assertEqual([each["state"] for each in member("server1")["links"]], ["silent", "cut"])
        run("heal")
        self.assertTrue(wait_for("the LAN", lambda: pings("client", "10.88.0.11")))
        self.assertEqual([each["state"] for each in member("server1")["links"]], ["up", "up"])

    def test_pause_and_resume(self):
        run("up")
        ticker = subprocess.Popen([BATON, "lab", "exec", "server1", "--", "bash", "-c",
                                   "while true; do echo tick > /tmp/tick; date +%s%N > /srv/tick; done"])
        path = "/var/lib/baton-lab/server1/srv/tick"

        def content():
            with contextlib.suppress(OSError):
                with open(path) as file:
                    return file.read()
            return ""

        try:
            first = wait_for("ticks", content)
            wait_for("more ticks", lambda: content() not in ("", first))
            run("pause", "server1")
            self.assertEqual(member("server1")["power"], "paused")
            frozen = content()
            self.assertFalse(pings("client", "10.88.0.11"))  # the kernel answers neither; this takes a second
            self.assertEqual(content(), frozen)
            self.assertEqual(run("exec", "server1", "--", "true", check=False).returncode, 125)
            run("resume", "server1")
            wait_for("ticks again", lambda: content() not in ("", frozen))
            self.assertTrue(wait_for("the LAN", lambda: pings("client", "10.88.0.11")))
            run("pause", "server1")
            run("power-off", "server1")
            self.assertEqual(ticker.wait(10), 137)
            self.assertEqual(member("server1")["power"], "off")
            run("power-on", "server1")
            self.assertTrue(wait_for("the LAN", lambda: pings("client", "10.88.0.11")))
        finally:
            ticker.kill()
            ticker.wait()

    def test_power_off_sends_no_farewell(self):
        run("up")
        server = subprocess.Popen(
            [BATON, "lab", "exec", "server1", "--", "python3", "-c",
             "import socket\ns=socket.create_server(('10.88.0.11',5000))\nprint('ready',flush=True)\n"
             "c,_=s.accept()\nwhile c.recv(100): pass"], stdout=subprocess.PIPE, text=True)
        self.assertEqual(server.stdout.readline(), "ready\n")
        client = subprocess.Popen(
            [BATON, "lab", "exec", "server2", "--", "python3", "-c",
             "import socket,sys\ns=socket.create_connection(('10.88.0.11',5000))\nprint('connected',flush=True)\n"
             "sys.stdin.readline()\ns.settimeout(1)\ntry: print('end',s.recv(1))\n"
             "except TimeoutError: print('silence')\nexcept OSError as error: print(error)"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.assertEqual(client.stdout.readline(), "connected\n")
        counters = "cat /proc/net/snmp | grep ^Tcp: | tail -1 | cut -d' ' -f8"  # EstabResets
        resets = inside("server2", counters).stdout
        run("power-off", "server1")
        self.assertEqual(server.wait(10), 137)
        server.stdout.close()
        connections = inside("server2", "ss -Htn state established").stdout
        self.assertIn("10.88.0.11:5000", connections)
        self.assertEqual(inside("server2", counters).stdout, resets)
        self.assertEqual(client.communicate("\n", timeout=10)[0], "silence\n")
        self.assertEqual(client.wait(10), 0)

    # --- power and disks ---------------------------------------------------------------------------------------

    def test_power_off_and_on_with_plain_disks(self):
        run("up")
        inside("server1", "echo kept > /var/lib/baton/file; echo gone > /run/file; echo kept > /srv/file")
        run("power-off", "server1")
        self.assertEqual(member("server1")["power"], "off")
        self.assertEqual(run("power-off", "server1", check=False).returncode, 2)
        refused = run("exec", "server1", "--", "true", check=False)
        self.assertEqual(refused.returncode, 125)
        self.assertIn("power-on", refused.stderr)
        self.assertFalse(pings("client", "10.88.0.11"))
        run("power-on", "server1")
        self.assertEqual(inside("server1", "cat /var/lib/baton/file /srv/file; ls /run").stdout, "kept\nkept\nlock\n")
        self.assertTrue(wait_for("the LAN", lambda: pings("client", "10.88.0.11")))
        os.kill(member("server1")["init_pid"], signal.SIGKILL)  # died by itself: power-on mends it
        wait_for("server1 to be seen as off", lambda: member("server1")["power"] == "off")
        run("power-on", "server1")
        self.assertTrue(wait_for("the LAN", lambda: pings("client", "10.88.0.11")))

    def test_volatile_disk_keeps_what_was_synced_and_may_lose_the_rest(self):
        run("up", "--volatile-disks", "--no-witness")
        writer = """
import os, sys
def put(name, how, flags=0):
    fd = os.open('/var/lib/baton/' + name, os.O_RDWR | os.O_CREAT | flags)
    os.pwrite(fd, b'new!' * 4096, 0)
    if how == 'fsync': os.fsync(fd)
    if how == 'fdatasync': os.fdatasync(fd)
put('fsynced', 'fsync'); put('fdatasynced', 'fdatasync'); put('dsync', '', os.O_DSYNC); put('sync', '', os.O_SYNC)
put('unsynced', '')
fd = os.open('/var/lib/baton/again', os.O_RDWR)
os.pwrite(fd, b'new!' * 4096, 0)
"""
        lost = kept = torn = 0
        for seed in range(1, 9):
            inside("server1", "cd /var/lib/baton && rm -f fsynced fdatasynced dsync sync unsynced && "
                              "(yes old! | tr -d '\\n' | head -c 16384) > again && sync again")
            run("exec", "server1", "--", "python3", "-c", writer)
            # What the programs see is what was written.
            self.assertEqual(inside("server1", "md5sum /var/lib/baton/{again,unsynced,fsynced} | cut -d' ' -f1 | "
                                               "sort -u | wc -l").stdout, "1\n")
            report = json.loads(run("power-off", "server1", "--seed", str(seed), "--json").stdout)
            self.assertEqual(report["seed"], seed)
            self.assertEqual(report["losses"]["unsynced"], 8)
            self.assertEqual(sum(report["losses"][fate] for fate in ("dropped", "kept", "torn")), 8)
            run("power-on", "server1")
            for name in ("fsynced", "fdatasynced", "dsync", "sync"):
                inside("server1", f"test $(tr -d '\\n' < /var/lib/baton/{name} | md5sum | cut -d' ' -f1) = "
                                  "$(yes 'new!' | head -4096 | tr -d '\\n' | md5sum | cut -d' ' -f1)")
            seen = inside("server1", "cat /var/lib/baton/again").stdout
            with open("/var/lib/baton-lab/server1/disk/again") as file:
                self.assertEqual(file.read(), seen)  # nothing is left in memory, nor in the kernel's cache
            self.assertEqual(len(seen), 16384)
            for start in range(0, 16384, 512):
                self.assertIn(seen[start:start + 512], ("old!" * 128, "new!" * 128))
            for start in range(0, 16384, 4096):
                page = seen[start:start + 4096]
                lost += page == "old!" * 1024
                kept += page == "new!" * 1024
                torn += "old!" in page and "new!" in page
        self.assertGreater(lost, 0)
        self.assertGreater(kept, 0)
        self.assertGreater(torn, 0)

    def test_volatile_disk_carries_sqlite_through_power_cuts(self):
        run("up", "--volatile-disks", "--no-witness")
        writer = """
import sqlite3, sys
db = sqlite3.connect('/var/lib/baton/test.db')
db.execute('pragma journal_mode=wal'); db.execute('pragma synchronous=full')
db.execute('create table if not exists t(n integer primary key)')
n = db.execute('select coalesce(max(n), 0) from t').fetchone()[0]
while True:
    n += 1
    db.execute('insert into t values(?)', (n,)); db.commit()
    print(n, flush=True)
"""
        check = """
import sqlite3
db = sqlite3.connect('/var/lib/baton/test.db')
assert db.execute('pragma integrity_check').fetchone()[0] == 'ok'
print(db.execute('select count(*), max(n) from t').fetchone())
"""
        acknowledged = 0
        for round_number in range(6):
            process = subprocess.Popen([BATON, "lab", "exec", "server1", "--", "python3", "-c", writer],
                                       stdout=subprocess.PIPE, text=True)
            goal = acknowledged + 50 + 37 * round_number
            for line in process.stdout:
                acknowledged = int(line)
                if acknowledged >= goal:
                    break
            run("power-off", "server1", "--seed", str(round_number))
            for line in process.stdout:
                acknowledged = int(line)
            process.wait(10)
            process.stdout.close()
            run("power-on", "server1")
            count, highest = eval(run("exec", "server1", "--", "python3", "-c", check).stdout)
            self.assertEqual(count, highest)
            self.assertIn(highest, (acknowledged, acknowledged + 1))

    def test_volatile_disk_behaves_as_a_file_system(self):
        run("up", "--volatile-disks", "--no-witness")
        script = """
import mmap, os
os.chdir('/var/lib/baton')
os.mkdir('d'); os.rename('d', 'e'); os.symlink('e', 's'); assert os.readlink('s') == 'e'
fd = os.open('e/f', os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
os.write(fd, b'x' * 10000); os.ftruncate(fd, 5000); os.ftruncate(fd, 9000)
assert os.pread(fd, 20000, 0) == b'x' * 5000 + b'\\0' * 4000
os.posix_fallocate(fd, 0, 1 << 20); assert os.fstat(fd).st_size == 1 << 20
m = mmap.mmap(fd, 1 << 20); m[7:10] = b'abc'; m.flush(); assert os.pread(fd, 3, 7) == b'abc'
os.link('e/f', 'hard'); assert os.stat('hard').st_nlink == 2
os.unlink('e/f'); os.unlink('hard'); assert os.pread(fd, 3, 7) == b'abc'; m.close(); os.close(fd)
page = mmap.mmap(-1, 8192); page.write(b'd' * 8192)
fd = os.open('direct', os.O_RDWR | os.O_CREAT | os.O_DIRECT)
os.pwrite(fd, page, 4096)
back = mmap.mmap(-1, 16384); assert os.preadv(fd, [back], 0) == 12288
assert back[:12288] == b'\\0' * 4096 + b'd' * 8192
assert open('direct', 'rb').read(5000)[4096:] == b'd' * 904
os.lockf(fd, os.F_LOCK, 0)
for i in range(500): open('e/%d' % i, 'w').close()
assert len(os.listdir('e')) == 500
assert os.statvfs('.').f_blocks > 0
try: os.open('nothing', os.O_RDONLY)
except FileNotFoundError: pass
try: os.rmdir('e')
except OSError as error: assert error.errno == 39
"""
        run("exec", "server1", "--", "python3", "-c", script)

    def test_disk_faults(self):
        run("up", "--volatile-disks", "--no-witness")
        inside("server1", "echo old > /var/lib/baton/file; sync /var/lib/baton/file")
        run("disk", "server1", "full", "on")
        self.assertIn("No space left", inside("server1", "echo x > /var/lib/baton/other", check=False).stderr)
        self.assertIn("No space left", inside("server1", "echo new >> /var/lib/baton/file", check=False).stderr)
        inside("server2", "echo x > /var/lib/baton/other")
        run("disk", "server1", "full", "off")
        inside("server1", "echo new >> /var/lib/baton/file")
        run("disk", "server1", "eio", "/var/lib/baton/file", "on")
        self.assertIn("Input/output error", inside("server1", "cat /var/lib/baton/file", check=False).stderr)
        self.assertIn("Input/output error", inside("server1", "echo x >> /var/lib/baton/file", check=False).stderr)
        inside("server1", "echo x > /var/lib/baton/other; cat /var/lib/baton/other")
        run("disk", "server1", "eio", "file", "off")
        self.assertEqual(inside("server1", "cat /var/lib/baton/file").stdout, "old\nnew\n")
        run("disk", "server1", "slow", "200")
        begun = time.monotonic()
        inside("server1", "echo x >> /var/lib/baton/other; sync /var/lib/baton/other")
        self.assertGreater(time.monotonic() - begun, 0.4)  # a write and a sync
        run("disk", "server1", "slow", "0")
        self.assertEqual(json.loads(run("disk", "server1", "stats").stdout)["slow_ms"], 0)
        self.assertIn("slow MS", run("disk", "server1", "slow", "ten", check=False).stderr)
        self.assertEqual(run("disk", "server1", "eio", "nothing", "on", check=False).returncode, 1)
        self.assertIn("stats", run("disk", "server1", "explode", check=False).stderr)

    def test_power_off_reclaims_exports_and_loop_devices(self):
        """A stand-in for a mirror: a FUSE file in a private mount namespace, a loop device on it, ext4 on that."""
        export = """
set -e
mkdir -p /tmp/backing /run/export
baton-lab-disk --backing /tmp/backing --mount /run/export --control /tmp/control 3>/tmp/ready 4</dev/zero &
echo $! > /tmp/export.pid
until grep -q ready /tmp/ready 2>/dev/null; do :; done
truncate -s 64M /run/export/disk
loop=$(losetup --find --show /run/export/disk)
mkfs.ext4 -q $loop
echo $loop > /tmp/loop
wait
"""
        user = """
import os
fd = os.open('/srv/data/file', os.O_RDWR | os.O_CREAT)
print('writing', flush=True)
while True:
    os.pwrite(fd, b'x' * 65536, 0); os.fsync(fd)
"""
        for hang in (False, True):
            with self.subTest(hang=hang):
                run("up", "--volatile-disks", "--no-witness")
                mirror = subprocess.Popen([BATON, "lab", "exec", "server1", "--", "unshare", "--mount",
                                           "--propagation", "private", "bash", "-c", export])
                wait_for("the loop device", lambda: inside("server1", "cat /tmp/loop", check=False).stdout)
                inside("server1", "mkdir /srv/data && mount $(cat /tmp/loop) /srv/data")
                writer = subprocess.Popen([BATON, "lab", "exec", "server1", "--", "python3", "-c", user],
                                          stdout=subprocess.PIPE, text=True)
                self.assertEqual(writer.stdout.readline(), "writing\n")
                if hang:  # the export freezes, its users hang in the kernel
                    inside("server1", "kill -STOP $(cat /tmp/export.pid)")
                    wait_for("a process that hangs", lambda: inside(
                        "server1", "grep -l '^State:.D' /proc/[0-9]*/status 2>/dev/null || true").stdout)
                run("pause" if hang else "status", *(["server1"] if hang else []))
                run("power-off", "server1")
                self.assertEqual(traces()["loops"], self.before["loops"])
                self.assertEqual(writer.wait(10), 137)
                mirror.wait(10)  # killed, or ended by itself when its export was aborted an instant before
                writer.stdout.close()
                run("power-on", "server1")
                inside("server1", "test ! -e /srv/data/file")
                run("down")
                self.assertEqual(self.before, traces())


def main():
    if os.geteuid() != 0:
        print("tests/system/lab_test.py needs root")
        return 1
    signal.signal(signal.SIGALRM, lambda *_: sys.exit("lab_test.py: took longer than 10 minutes"))
    signal.alarm(600)
    suite = unittest.defaultTestLoader.loadTestsFromName(sys.argv[1] if len(sys.argv) > 1 else "Lab",
                                                         sys.modules[__name__])
    result = unittest.TextTestRunner(verbosity=2).run(suite)
    failed = len({getattr(test, "test_case", test).id() for test, _ in result.failures + result.errors})
    print(f"{result.testsRun - failed} passed, {failed} failed", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
