#!/usr/bin/env python3
"""`baton tune` on this machine and through a namespace's cable. As root. See script/lib/cli_world.py."""
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "script", "lib"))
from cli_world import BATON, EXAMPLE, expect, expect_in, expect_refused, expect_status, run  # noqa: E402


def test_machine_alone(world):
    done = world.baton("tune", "--seconds", "1", "--json", "--etc", world.directory, "--state", world.directory)
    expect_status(done, 0)
    found = done.json()
    expect(found["lateness"]["normal"]["count"] > 50, done.out)
    expect(found["flush"]["count"] > 0 and found["network"] == [], done.out)
    expect(found["recommendation"]["profile"] in ("fast", "lan", "wan", "custom"), done.out)
    expect(any("network was not watched" in text for text in found["recommendation"]["warnings"]), done.out)
    total = sum(one["count"] for one in found["lateness"]["normal"]["histogram"])
    expect(total == found["lateness"]["normal"]["count"], "the histogram lacks some")


def test_text(world):
    done = world.baton("tune", "--seconds", "1", "--etc", world.directory, "--state", world.directory)
    for part in ("Timers at ordinary priority", "Write and flush in " + world.directory, "#", "Recommended: timing = "):
        expect_in(part, done.out)
    expect_refused(world.baton("tune", "--config", world.directory + "/none"), "none")
    expect_status(world.baton("tune", "--seconds", "0"), 2)


def test_network(world):
    name = f"tune-{os.getpid()}"
    try:
        subprocess.run(["ip", "netns", "add", name], check=True)
        for link in ("10.88.1.11", "10.88.0.11", "10.88.1.12"):
            subprocess.run(["ip", "-n", name, "address", "add", link + "/32", "dev", "lo"], check=True)
        subprocess.run(["ip", "-n", name, "link", "set", "lo", "up"], check=True)
        done = subprocess.run(["ip", "netns", "exec", name, BATON, "tune", "--seconds", "2", "--json", "--config", EXAMPLE,
                               "--as", "server1", "--state", world.directory], capture_output=True, text=True, timeout=60)
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=True)
    found = {(one["peer"], one["link"]): one for one in json.loads(done.stdout)["network"]}
    expect(found[("server2", 0)]["round_trip"]["count"] > 20 and found[("server2", 0)]["lost"] == 0, done.stdout)
    expect(found[("server2", 1)]["round_trip"]["count"] == 0, done.stdout)
    expect(any("witness does not answer" in text for text in json.loads(done.stdout)["recommendation"]["warnings"]), done.stdout)


if __name__ == "__main__":
    sys.exit(run(globals()))
