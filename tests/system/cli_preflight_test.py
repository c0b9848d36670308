#!/usr/bin/env python3
"""`baton preflight` in network namespaces: what is well, and each thing that is planted. As root. See script/lib/cli_world.py."""
import contextlib
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "script", "lib"))
from cli_world import BATON, EXAMPLE, Outcome, expect, expect_in, run, two_with_ping  # noqa: E402

HERE, THERE = f"preflight-a-{os.getpid()}", f"preflight-b-{os.getpid()}"


def ip(*arguments, inside=None):
    command = ["ip", "-n", inside] if inside else ["ip"]
    subprocess.run([*command, *arguments], check=True, capture_output=True)


@contextlib.contextmanager
def two_servers():
    """server1 in one namespace, server2 in another, a cable for each of the two links."""
    try:
        for name in (HERE, THERE):
            ip("netns", "add", name)
            ip("link", "set", "lo", "up", inside=name)
        for link, network in enumerate(("10.88.1", "10.88.0")):
            ip("link", "add", f"l{link}", "type", "veth", "peer", "name", f"l{link}", "netns", THERE, inside=HERE)
            for name, host in ((HERE, 11), (THERE, 12)):
                ip("address", "add", f"{network}.{host}/24", "dev", f"l{link}", inside=name)
                ip("link", "set", f"l{link}", "up", inside=name)
        yield
    finally:
        for name in (HERE, THERE):
            subprocess.run(["ip", "netns", "delete", name], capture_output=True)


def preflight(world, *arguments, config=EXAMPLE, command=("preflight",)):
    places = ["--etc", world.directory + "/etc", "--state", world.directory + "/state"]
    extra = ["--config", config] if command == ("preflight",) else [config]
    done = subprocess.run(["ip", "netns", "exec", HERE, BATON, *command, *extra, *places, *arguments],
                          capture_output=True, text=True, timeout=60)
    return Outcome(done.returncode, done.stdout, done.stderr)


def findings(world, check, *arguments, **options):
    shown = preflight(world, "--json", *arguments, **options)
    found = [one for one in shown.json()["findings"] if one["check"] == check]
    expect(found, f"nothing about {check}: {shown.out}")
    return {one["subject"]: one for one in found}, shown.status


def test_what_is_well(world):
    with two_servers():
        for check in ("addresses", "ports", "duplicates"):
            found, _ = findings(world, check)
            for one in found.values():
                expect(one["verdict"] == "ok", str(one))
        mtu, _ = findings(world, "mtu")
        expect(mtu["link 0 to server2"]["verdict"] == "ok" and "1500" in mtu["link 0 to server2"]["text"], str(mtu))
        expect(mtu["link 1 to witness"]["verdict"] == "unknown", str(mtu))
        clock, _ = findings(world, "clock")
        expect(clock["server2"]["verdict"] == "ok" and clock["witness"]["verdict"] == "unknown", str(clock))
        shown = preflight(world).out
        expect(max(len(line) for line in shown.splitlines()) <= 80, "wider than 80 columns:\n" + shown)


def test_wrong_server(world):
    with two_servers():
        found, status = findings(world, "addresses", "--as", "server2")
        expect(found["10.88.1.12"]["verdict"] == "problem" and status == 1, str(found))


def test_port_in_use(world):
    with two_servers():
        holder = subprocess.Popen(
            ["ip", "netns", "exec", HERE, sys.executable, "-c",
             "import socket,sys; u=socket.socket(type=socket.SOCK_DGRAM); u.bind(('10.88.0.11', 5406)); t=socket.socket();"
             "t.bind(('0.0.0.0', 7800)); t.listen(); print('ready', flush=True); sys.stdin.read()"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            holder.stdout.readline()
            found, status = findings(world, "ports")
        finally:
            holder.stdin.close()
            holder.wait()
        expect(status == 1 and found["udp 10.88.1.11:5405"]["verdict"] == "ok", str(found))
        for subject in ("udp 10.88.0.11:5406", "tcp 10.88.1.11:7800"):
            expect(found[subject]["verdict"] == "problem", str(found))
            expect_in("python", found[subject]["text"])


def test_smaller_mtu_on_the_way(world):
    with two_servers():
        ip("link", "set", "l0", "mtu", "1400", inside=THERE)
        found, status = findings(world, "mtu")
        expect(found["link 0 to server2"]["verdict"] == "problem" and status == 1, str(found))
        expect(found["link 1 to server2"]["verdict"] == "ok", str(found))


def test_duplicate_address(world):
    with two_servers():
        ip("address", "add", "10.88.0.50/24", "dev", "l1", inside=THERE)
        mac = json.loads(subprocess.run(["ip", "-n", THERE, "-j", "link", "show", "l1"], capture_output=True,
                                        text=True, check=True).stdout)[0]["address"]
        found, status = findings(world, "duplicates")
        expect(found["10.88.0.50"]["verdict"] == "problem" and status == 1, str(found))
        expect_in(mac, found["10.88.0.50"]["text"])


def test_foreign_cluster_software(world):
    program = os.path.join(world.directory, "corosync")
    os.symlink("/bin/sleep", program)
    with two_servers():
        other = subprocess.Popen(["ip", "netns", "exec", HERE, program, "60"])
        try:
            while open(f"/proc/{other.pid}/comm").read().strip() != "corosync":
                expect(other.poll() is None, "it has ended")
            found, status = findings(world, "foreign")
        finally:
            other.kill()
            other.wait()
        mine = found[f"corosync (process {other.pid})"]
        expect(mine["verdict"] == "problem" and "another corosync" in mine["text"] and status == 1, str(found))


def test_server_of_another_cluster(world):
    os.mkdir(world.directory + "/etc")
    world.file("etc/server", "db7\n")
    world.file("etc/cluster.toml", '[cluster]\nname = "old"\n')
    with two_servers():
        found, status = findings(world, "foreign", "--as", "server1")
        expect(found["other clusters"]["verdict"] == "problem" and "db7" in found["other clusters"]["text"], str(found))
        expect(status == 1, "exit status")


def test_disks(world):
    memory = world.directory + "/state"
    os.mkdir(memory)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "none", memory], check=True)
    try:
        with two_servers():
            disks, status = findings(world, "disk")
            space, _ = findings(world, "space")
    finally:
        subprocess.run(["umount", memory], check=True)
    expect(disks[memory]["verdict"] == "problem" and "tmpfs" in disks[memory]["text"] and status == 1, str(disks))
    expect(space["database"]["verdict"] == "problem", str(space))
    expect(not os.listdir(memory), "something is left")


def test_ping_targets(world):
    with two_servers():
        for name, host in ((HERE, 11), (THERE, 12)):
            ip("address", "add", f"2001:db8::{host}/64", "dev", "l1", "nodad", inside=name)
        ip("address", "add", "10.88.0.98/24", "dev", "l1", inside=THERE)
        file = world.file("ping.toml", two_with_ping("10.88.0.98", "2001:db8::12", "2001:db8::99", "2001:db8::11", "2001:db8:1::1"))
        found, status = findings(world, "np-ping", "--as", "server1", config=file)
        for target, verdict, text in (("10.88.0.98", "ok", "answers"), ("2001:db8::12", "ok", "answers"),
                                      ("2001:db8::99", "warning", "does not answer"), ("2001:db8:1::1", "warning", "does not answer"),
                                      ("2001:db8::11", "problem", "of this server itself")):
            expect(found[target]["verdict"] == verdict and text in found[target]["text"], f"{target}: {found[target]}")
        expect("does not promise one owner" in found["np"]["text"] and status == 1, str(found["np"]))


def test_create_demands_it(world):
    with two_servers():
        ip("address", "add", "10.88.0.50/24", "dev", "l1", inside=THERE)
        file = world.file("cluster.toml", open(EXAMPLE).read().replace("/var/lib/baton", world.directory + "/state"))
        refused = preflight(world, "--as", "server1", command=("cluster", "create"), config=file)
        expect(refused.status == 1 and not os.path.exists(world.directory + "/etc/server"), refused.err)
        expect_in("10.88.0.50", refused.err)
        expect_in("--no-preflight", refused.err)


if __name__ == "__main__":
    sys.exit(run(globals()))
