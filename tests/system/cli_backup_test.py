#!/usr/bin/env python3
"""`baton cluster backup` and `baton cluster restore`: what they write, what they refuse, and that nothing is changed then. See
script/lib/cli_world.py; backup_test.py does it for real. BACKUP is what a batond of this version made."""
import hashlib
import json
import os
import stat
import sqlite3
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "script", "lib"))
from cli_world import FakeDaemon, expect, expect_in, expect_refused, expect_status, run  # noqa: E402

CONFIGURATION = """[cluster]
name = "demo"
[server.server1]
id = 1
interconnects = ["10.0.0.1"]
[server.server2]
id = 2
interconnects = ["10.0.0.2"]
[server.witness]
id = 3
role = "witness"
interconnects = ["10.0.0.3"]
"""
KEY = "ab" * 64
MADE_MS = 1700000000000


def field(number, data):
    """A member of a protobuf message: bytes, or a small number."""
    if isinstance(data, int):
        return bytes([number << 3, data])
    length = b""
    size = len(data)
    while size >= 128:
        length += bytes([size % 128 + 128])
        size //= 128
    return bytes([number << 3 | 2]) + length + bytes([size]) + data


def fingerprint(key):
    return hashlib.sha256(("baton cluster fingerprint " + key).encode()).hexdigest()[:16]


def sealed(body, version=1):
    text = json.dumps(body, separators=(",", ":"), sort_keys=True, ensure_ascii=False)
    return {"format": "baton database backup", "version": version, "checksum": hashlib.sha256(text.encode()).hexdigest(), "body": body}


def make_backup(**changes):
    command = field(2, field(2, CONFIGURATION.encode()) + field(3, b"root") + field(4, 3))
    entries = [{"epoch": 65, "index": 1, "origin": 1, "request": 0, "wall_ms": 0, "command": field(1, field(1, 1)).hex()},
               {"epoch": 65, "index": 2, "origin": 1, "request": 7, "wall_ms": MADE_MS, "command": command.hex()}]
    body = {"cluster": "demo", "server": "server1", "made_ms": MADE_MS, "format_level": 3, "key_fingerprint": fingerprint(KEY),
            "entries": entries}
    body.update(changes)
    return sealed(body)


def backup_file(world, backup=None):
    return world.file("demo.backup", json.dumps(backup or make_backup()))


def place(world):
    return ["--etc", world.directory + "/etc", "--state", world.directory + "/state"]


def restore(world, *arguments, running=False):
    socket = {} if running else {"BATON_API": world.directory + "/nobody.sock"}
    return world.baton("cluster", "restore", *arguments, *place(world), environment=socket)


def everybody(*more):
    return ["--as", "server1", "--yes", "--give-up", "server2", "--give-up", "witness", *more]


def key_in_place(world, key=KEY):
    os.makedirs(world.directory + "/etc", exist_ok=True)
    world.file("etc/cluster.key", key + "\n")


def files(world):
    return {os.path.join(where, name): open(os.path.join(where, name), "rb").read()
            for part in ("/etc", "/state") for where, _, names in os.walk(world.directory + part) for name in names}


def refused(world, *arguments, words, running=False):
    before = files(world)
    expect_refused(restore(world, *arguments, running=running), *words)
    expect(files(world) == before, "something was changed")


def test_backup_writes_what_batond_says(world):
    world.daemon.on("GET", "/v1/backup", make_backup())
    path = world.directory + "/out.backup"
    done = world.baton("cluster", "backup", path)
    expect_status(done, 0)
    expect_in("up to entry 2 of epoch 65", " ".join(done.out.split()))
    expect_in("key (/etc/baton/cluster.key) is not in it", " ".join(done.out.split()))
    expect(stat.S_IMODE(os.stat(path).st_mode) == 0o600, "others can read it")
    expect(json.load(open(path)) == make_backup(), "another backup")
    expect(world.baton("cluster", "backup", path, "--json").json()["last"] == {"epoch": 65, "index": 2}, "JSON")


def test_backup_with_the_key(world):
    key_in_place(world)
    world.daemon.on("GET", "/v1/backup", make_backup())
    path = world.directory + "/out.backup"
    done = world.baton("cluster", "backup", path, "--with-key", "--etc", world.directory + "/etc")
    expect_status(done, 0)
    expect_in("CLUSTER'S KEY", done.out)
    written = json.load(open(path))
    expect(written["body"]["key"] == KEY and written == sealed(written["body"]), "key or checksum")


def test_a_backup_that_cannot_be_read_again_is_none(world):
    path = world.directory + "/out.backup"
    world.daemon.on("GET", "/v1/backup", make_backup(entries=[]))
    expect_refused(world.baton("cluster", "backup", path), "not usable")
    world.daemon.on("GET", "/v1/backup", lambda query, body: (409, {"error": {"code": "conflict", "message": "not known yet"}}))
    expect_refused(world.baton("cluster", "backup", path), "not known yet")
    expect(not os.path.exists(path), "something was written")


def test_restore_writes_identity_and_order(world):
    key_in_place(world)
    done = restore(world, backup_file(world), *everybody())
    expect_status(done, 0)
    expect_in("start batond here, then on the others", " ".join(done.out.split()))
    etc, state = world.directory + "/etc", world.directory + "/state"
    expect(open(etc + "/server").read() == "server1\n" and open(etc + "/cluster.toml").read() == CONFIGURATION, "identity")
    order = json.load(open(state + "/restoring"))
    expect(order["survivors"] == [1] and json.loads(order["backup"]) == make_backup() and not order["had_database"], str(order))
    expect_status(restore(world, backup_file(world), *everybody("--json")), 0)  # once more, before batond has run


def test_restore_asks_and_wants_all_named(world):
    key_in_place(world)
    file = backup_file(world)
    refused(world, file, "--as", "server1", words=["nobody can be asked here", "--yes --give-up server2 --give-up witness"])
    refused(world, file, "--as", "server1", "--yes", words=["nothing was changed", "server2, witness", "names nobody"])
    refused(world, file, "--as", "server1", "--yes", "--give-up", "server2", words=["nothing was changed"])
    done = restore(world, file, "--as", "server1", "--with", "server2", "--yes", "--give-up", "witness")
    expect_status(done, 0)
    expect(json.load(open(world.directory + "/state/restoring"))["survivors"] == [1, 2], "survivors")


def test_restore_shows_and_changes_nothing(world):
    shown = " ".join(restore(world, backup_file(world), "--show").out.split())
    for part in ("Backup of cluster demo, made on server1 at 2023-11-14", "up to entry 2 of epoch 65", "server server2",
                 "This server has no database"):
        expect_in(part, shown)
    expect(restore(world, backup_file(world), "--show", "--json").json()["servers"] == ["server1", "server2", "witness"], "JSON")
    expect(not files(world), "something was written")


def test_bad_files(world):
    key_in_place(world)
    whole = json.dumps(make_backup())
    damaged = make_backup()
    damaged["body"]["cluster"] = "dem0"
    for text, words in (("", ["it is empty"]), (whole[:len(whole) // 2], ["damaged or cut off"]), (whole[:-1], ["damaged or cut off"]),
                        ("[1, 2]", ["no backup of a cluster database"]), ("\x00\x7fELF", ["no backup of a cluster database"]),
                        (json.dumps(damaged), ["its checksum is wrong"]),
                        (json.dumps(sealed(make_backup()["body"], version=2)), ["of version 2, this Baton reads version 1"]),
                        (json.dumps(make_backup(format_level=9)), ["level 9, this Baton knows level"]),
                        (json.dumps(make_backup(entries=[])), ["holds no configuration"]),
                        (json.dumps(make_backup(entries=make_backup()["body"]["entries"][1:])), ["not in order"])):
        refused(world, world.file("bad.backup", text), *everybody(), words=words + ["bad.backup"])
    refused(world, world.directory + "/none", *everybody(), words=["cannot read"])


def test_the_wrong_place(world):
    file = backup_file(world)
    key_in_place(world)
    refused(world, file, "--as", "server7", "--yes", words=['no server "server7"', "server1, server2, witness"])
    refused(world, file, "--yes", words=["--as, one of server1"])
    refused(world, file, *everybody("--with", "server9"), words=['no server "server9"'])
    refused(world, file, *everybody(), running=True, words=["batond runs on this server: stop it first"])
    world.file("etc/server", "server2\n")
    refused(world, file, *everybody(), words=["this server is server2"])
    world.file("etc/server", "server1\n")
    world.file("etc/cluster.toml", CONFIGURATION.replace('"demo"', '"other"'))
    refused(world, file, *everybody(), words=["belongs to cluster other", "of cluster demo"])
    os.remove(world.directory + "/etc/cluster.toml")
    refused(world, backup_file(world, make_backup(made_ms=4102444800000)), *everybody(), words=["the clock of this server"])


def test_the_key(world):
    file = backup_file(world)
    refused(world, file, *everybody(), words=["the cluster's key is missing", "--new-key"])
    key_in_place(world, "cd" * 64)
    refused(world, file, *everybody(), words=["not the key that the cluster had", "--key"])
    expect_status(restore(world, file, *everybody("--key", world.directory + "/etc/cluster.key")), 0)
    os.remove(world.directory + "/etc/cluster.key")
    expect_status(restore(world, backup_file(world, make_backup(key=KEY)), *everybody()), 0)
    expect(open(world.directory + "/etc/cluster.key").read() == KEY + "\n", "not the backup's key")
    os.remove(world.directory + "/etc/cluster.key")
    done = restore(world, backup_file(world), *everybody("--new-key", "--json"))
    expect(done.json()["new_key"], done.out + done.err)


def test_a_database_that_is_there(world):
    key_in_place(world)
    os.makedirs(world.directory + "/state")
    path = world.directory + "/state/database.sqlite"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE entry (position INTEGER PRIMARY KEY, epoch INTEGER)")
        database.execute("INSERT INTO entry VALUES (1, 65), (5, 129)")
    database.close()
    file = backup_file(world)
    refused(world, file, *everybody(), words=["up to entry 5 of epoch 129", "NEWER than the backup", "--replace", "cluster recover"])
    expect_status(restore(world, file, *everybody("--replace")), 0)
    expect(json.load(open(world.directory + "/state/restoring"))["had_database"] and os.path.exists(path), "not left to batond")
    os.remove(world.directory + "/state/restoring")
    world.file("state/database.sqlite", "no database at all, but some text that is longer than a header of SQLite is")
    refused(world, file, *everybody(), words=["cannot be read", "--replace"])


def restore_meanwhile(world, meanwhile):
    """`meanwhile` happens while the person who was asked thinks."""
    return world.baton_at_a_terminal("cluster", "restore", backup_file(world), "--as", "server1", *place(world), answer="demo",
                                     meanwhile=meanwhile, environment={"BATON_API": world.directory + "/later/api.sock"})


def test_what_was_asked_is_done(world):
    key_in_place(world)
    expect_status(restore_meanwhile(world, lambda: None), 0)
    expect(os.path.exists(world.directory + "/state/restoring"), "no order")


def test_batond_is_started_while_the_question_is_open(world):
    key_in_place(world)
    before = files(world)
    os.makedirs(world.directory + "/later")
    expect_refused(restore_meanwhile(world, lambda: FakeDaemon(world.directory + "/later")), "batond runs on this server: stop it first")
    expect(files(world) == before, "something was changed")


def test_batond_has_run_while_the_question_was_open(world):
    key_in_place(world)
    os.makedirs(world.directory + "/state")
    database = world.directory + "/state/database.sqlite"

    def founded():
        with sqlite3.connect(database) as opened:
            opened.execute("CREATE TABLE entry (position INTEGER PRIMARY KEY, epoch INTEGER)")
        opened.close()
    expect_refused(restore_meanwhile(world, founded), "nothing was changed", "has come or gone meanwhile")
    expect(not os.path.exists(world.directory + "/state/restoring"), "an order was left")


if __name__ == "__main__":
    sys.exit(run(globals()))
