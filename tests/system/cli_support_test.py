#!/usr/bin/env python3
"""`baton support`: one archive with what helps, and none of the secrets that are planted everywhere. See script/lib/cli_world.py."""
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "script", "lib"))
from cli_world import EXAMPLE, expect, expect_in, expect_refused, expect_status, run  # noqa: E402

KEY = "0123456789abcdef" * 8
COROSYNC_KEY = "corosync-key-bytes-that-nobody-may-see"
PRIVATE = "MHcCAQEEIPLANTEDPRIVATEKEY"
SECRETS = [KEY, COROSYNC_KEY, PRIVATE, "planted-environment", "planted-argument", "planted-token", "planted-fence",
           "planted-url", "planted-bearer", "planted-odd value", "planted-file-token"]
PEM = f"-----BEGIN EC PRIVATE KEY-----\n{PRIVATE}\n-----END EC PRIVATE KEY-----\n"


def make_server(world):
    """Directories as on a server, with a secret in every corner."""
    places = {name: os.path.join(world.directory, name) for name in ("etc", "state", "run", "log")}
    text = open(EXAMPLE).read() + (
        'environment = { APP_PASSWORD = "planted-environment", NOTE = "planted-odd value", LANG = "C.UTF-8" }\n'
        '[group.db.service.other]\ncommand = ["/bin/app", "--api-token", "planted-argument"]\n')
    log = (f"started with key {KEY}\n{PEM}GET /x Authorization: Bearer planted-bearer\n"
           "dsn=postgres://app:planted-url@db/x\nthe app says planted-odd value and planted-environment\n"
           "fence_ipmilan --password planted-fence\nargs: planted-argument; token planted-file-token seen\n"
           "token: 500\nan ordinary line\n")
    files = {"etc/cluster.toml": text, "etc/cluster.key": KEY + "\n", "etc/server": "server1\n",
             "etc/operators.token": "planted-file-token\n",
             "run/corosync/authkey": COROSYNC_KEY, "run/corosync/corosync.conf": "totem {\n    token: 500\n}\n",
             "state/tls/db.data/server.key": PEM, "state/database.sqlite": "SQLite " + KEY,
             "log/batond.log": log, "log/corosync.log": f"key {COROSYNC_KEY}\n", "log/deep/service-db.app.log": log,
             "log/leaked.key": PEM, "log/long.log": "x" * (5 << 20) + "\nthe last line\n"}
    for name, content in files.items():
        path = os.path.join(world.directory, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as out:
            out.write(content)
    world.daemon.on("GET", "/v1/configuration", {"version": 3, "text": text})
    world.daemon.on("GET", "/v1/events", {"last": 1, "events": [
        {"id": 1, "text": "it said password=planted-fence", "causes": ["planted-environment"], "token": "planted-token"}]})
    world.daemon.on("GET", "/v1/explain", {"group": "db", "transitions": []})
    world.daemon.on("POST", "/v1/plan", {"steps": [], "waiting": {}})
    return ["--etc", places["etc"], "--state", places["state"], "--run", places["run"], "--log", places["log"]]


def unpack(world, archive):
    where = os.path.join(world.directory, "unpacked")
    os.mkdir(where)
    subprocess.run(["tar", "-xf", archive, "-C", where], check=True)
    found = {}
    for directory, _, names in os.walk(where):
        for name in names:
            path = os.path.join(directory, name)
            found[os.path.relpath(path, where).split("/", 1)[1]] = open(path, errors="replace").read()
    return found


def make(world, suffix=".tar.gz"):
    places = make_server(world)
    archive = os.path.join(world.directory, "out" + suffix)
    done = world.baton("support", "--output", archive, *places)
    expect_status(done, 0)
    expect(os.stat(archive).st_mode & 0o777 == 0o600, "others may read it")
    return done, unpack(world, archive)


def test_no_secret_is_left(world):
    _, found = make(world)
    for name, text in found.items():
        for secret in SECRETS:
            expect(secret not in text, f"{secret!r} is in {name}")
            expect(json.dumps(secret)[1:-1] not in text, f"{secret!r} is in {name}")
    expect(not any(name.endswith((".key", ".sqlite", "authkey")) for name in found), str(sorted(found)))


def test_what_helps_is_there(world):
    done, found = make(world, ".tar.zst")
    for name in ("configuration/founding.toml", "configuration/applied.toml", "state/status.json", "state/events.json",
                 "state/explain-db.json", "state/plan.json", "logs/batond.log", "logs/deep/service-db.app.log",
                 "corosync/corosync.conf", "mirror/db.data.txt", "system/uname.txt", "system/proc/meminfo", "contents.json"):
        expect(name in found, f"{name} is not in it: {sorted(found)}")
    expect_in("token: 500", found["corosync/corosync.conf"])
    expect_in("an ordinary line", found["logs/batond.log"])
    expect_in("LANG", found["configuration/founding.toml"])
    expect_in('command = ["/usr/lib/postgresql', found["configuration/founding.toml"])
    expect(found["logs/long.log"] == "the last line\n", "the end of a long log, from a line's begin")
    contents = json.loads(found["contents.json"])
    expect(contents["secrets_removed"] >= 10, str(contents["secrets_removed"]))
    expect_in("secrets removed", done.out)


def test_without_batond(world):
    places = make_server(world)
    world.daemon.shutdown()
    world.daemon.server_close()
    archive = os.path.join(world.directory, "out.tar.gz")
    done = world.baton("support", "--json", "-o", archive, *places)
    expect_status(done, 0)
    absent = {one["name"]: one["why"] for one in done.json()["missing"]}
    expect_in("nobody listens", absent["state"])
    expect("logs/batond.log" in unpack(world, archive), "no log")
    expect(not [name for name in os.listdir(world.directory) if name.startswith(".baton-support")], "something is left")


def test_archive_that_cannot_be_written(world):
    places = make_server(world)
    expect_refused(world.baton("support", "-o", world.directory + "/none/out.tar.gz", *places), "none", "No such file")
    os.mkdir(world.directory + "/taken.tar.gz")
    expect_refused(world.baton("support", "-o", world.directory + "/taken.tar.gz", *places), "cannot write")


if __name__ == "__main__":
    sys.exit(run(globals()))
