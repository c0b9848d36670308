#!/usr/bin/env python3
"""The `baton` program: making a cluster on a server. See script/lib/cli_world.py."""
import os
import re
import shutil
import stat
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "script", "lib"))
from cli_world import EXAMPLE, expect, expect_in, expect_refused, expect_status, run  # noqa: E402


def create(world, *arguments, name="server1"):
    return world.baton("cluster", "create", "--no-preflight", *arguments, "--as", name, "--etc", world.directory + "/etc", "--state",
                       world.directory + "/state")


def local_example(world):
    """The example with its store in the test's directory."""
    return open(EXAMPLE).read().replace("/var/lib/baton", world.directory + "/state")


def test_create(world):
    file = world.file("cluster.toml", local_example(world))
    done = create(world, file)
    expect_status(done, 0)
    etc, state = world.directory + "/etc", world.directory + "/state"
    key = open(etc + "/cluster.key").read().strip()
    expect(re.fullmatch("[0-9a-f]{128}", key), "no key")
    expect(stat.S_IMODE(os.stat(etc + "/cluster.key").st_mode) == 0o600, "the key is readable")
    expect(open(etc + "/server").read() == "server1\n" and open(state + "/founding").read() == "server1\n", "names")
    expect(open(etc + "/cluster.toml").read() == open(file).read(), "configuration")
    again = create(world)  # with the file in place
    expect_status(again, 0)
    expect_in("already", again.out)
    expect(open(etc + "/cluster.key").read().strip() == key, "the key changed")


def test_create_elsewhere_with_key(world):
    file = world.file("cluster.toml", local_example(world))
    key = world.file("key", "ab" * 64 + "\n")
    done = create(world, file, "--key", key, "--json", name="SERVER2")
    expect_status(done, 0)
    expect(done.json()["server"] == "server2" and not done.json()["new_key"], done.out)
    expect(open(world.directory + "/etc/cluster.key").read() == "ab" * 64 + "\n", "key")


def test_create_after_founding(world):
    file = world.file("cluster.toml", local_example(world))
    expect_status(create(world, file), 0)
    os.remove(world.directory + "/state/founding")
    open(world.directory + "/state/database.sqlite", "w").close()
    expect_status(create(world, file), 0)
    other = world.file("other.toml", local_example(world).replace('"demo"', '"other"'))
    expect_refused(create(world, other), "belongs to a cluster already", "baton apply")
    expect_refused(create(world, file, name="server2"), "belongs to a cluster already")
    # A lost database is not founded anew: it would have forgotten its promises.
    os.remove(world.directory + "/state/database.sqlite")
    expect_status(create(world, file), 0)
    expect(not os.path.exists(world.directory + "/state/founding"), "founded twice")


def test_create_refusals(world):
    file = world.file("cluster.toml", local_example(world))
    expect_refused(create(world, file, name="server7"), 'has no server "server7"', "server1, server2, witness")
    expect_refused(create(world, file, "--key", world.file("key", "short")), "no cluster key")
    expect_refused(create(world), "cannot read")
    bad = world.file("bad.toml", local_example(world).replace("id = 2", "id = 1"))
    expect_refused(create(world, bad), bad + ":11:6:", "already server1's")
    expect(not os.path.exists(world.directory + "/etc"), "something was written")


def test_create_with_small_store(world):
    file = world.file("cluster.toml", local_example(world))
    os.makedirs(world.directory + "/state/store")
    with open(world.directory + "/state/store/db.img", "wb") as store:
        store.truncate(1 << 20)
    expect_refused(create(world, file), file + ":23:8:", "it is larger (512 MiB) than its store", "1 MiB")
    expect_status(create(world, file, name="witness"), 0)  # which has no copy
    elsewhere = world.file("far.toml", local_example(world).replace(world.directory + "/state/store", "/no/such/place"))
    expect_refused(create(world, elsewhere), "no directory /no/such/place")


def test_create_beside_data(world):
    """A store that holds something is not overwritten by the first copy from the other server."""
    file = world.file("cluster.toml", local_example(world))
    os.makedirs(world.directory + "/state/store")
    with open(world.directory + "/state/store/db.img", "wb") as store:
        store.truncate(512 << 20)
        store.seek(0x418)
        store.write(b"\x02")  # blocks of 4096 bytes
        store.seek(0x438)
        store.write(b"\x53\xef")
    expect_status(create(world, file), 0)  # the first of the policy keeps it
    shutil.rmtree(world.directory + "/etc")
    os.remove(world.directory + "/state/founding")
    expect_refused(create(world, file, name="server2"), file + ":23:8:", "ext4", 'adopt = "server2"', 'adopt = "server1"')


if __name__ == "__main__":
    sys.exit(run(globals()))
