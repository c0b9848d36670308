#!/usr/bin/env python3
"""The NBD server against the clients that people use: libnbd, nbdinfo, nbdcopy, nbdkit, qemu-img, qemu-io, fio. First
over a plain file (build/bin/baton-nbd-file), then through a pair of mirror daemons. Needs Debian's libnbd-bin,
python3-libnbd, nbdkit, qemu-utils and fio; the pair needs root, /dev/fuse and loop devices.

Everything waits for events with a deadline. The last line is `N passed, N failed`.
"""
import errno
import json
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "script", "lib"))
import debian_python  # noqa: E402

debian_python.need_nbd()
import mirror_pair  # noqa: E402
import nbd  # noqa: E402
from mirror_pair import BIN, shell, wait_for  # noqa: E402

SERVER = os.path.join(BIN, "baton-nbd-file")
PLACE = "/var/tmp/baton-nbd-test"
KEY = "test.nbd"
MIB = 1 << 20
SIZE = 64 * MIB
STRUCTURED_REPLY = 0x668E33EF


class FileServer:
    """baton-nbd-file over a file of its own."""

    def __init__(self, *options):
        self.socket, self.store = f"{PLACE}/nbd.sock", f"{PLACE}/store"
        if not os.path.exists(self.store):
            shell(f"truncate -s {SIZE} {self.store}")
        self.log = open(f"{PLACE}/log", "a+")
        self.process = subprocess.Popen([SERVER, self.socket, self.store, str(SIZE), *options],
                                        stdout=subprocess.PIPE, stderr=self.log, text=True)
        assert self.process.stdout.readline() == "ready\n", open(f"{PLACE}/log").read()
        self.uri = f"nbd+unix:///?socket={self.socket}"

    def connect(self):
        handle = nbd.NBD()
        # What the server makes of requests that the library would not send is the question here.
        handle.set_strict_mode(0)
        handle.connect_unix(self.socket)
        return handle

    def resident_mib(self):
        for line in open(f"/proc/{self.process.pid}/status"):
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024

    def end(self, number=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(number)
        status = self.process.wait(10)
        self.process.stdout.close()
        self.log.close()
        return status


def pattern(seed, size):
    return random.Random(seed).randbytes(size)


class Tools(unittest.TestCase):
    def setUp(self):
        shutil.rmtree(PLACE, ignore_errors=True)
        os.makedirs(PLACE)
        self.server = FileServer()
        self.uri = self.server.uri

    def tearDown(self):
        self.assertEqual(self.server.end(), 0)

    def test_nbdinfo_sees_what_is_offered(self):
        export, = json.loads(shell(f"nbdinfo --json --no-content '{self.uri}'").stdout)["exports"]
        self.assertEqual(export["export-size"], SIZE)
        for offered in ("can_df", "can_fast_zero", "can_flush", "can_fua", "can_multi_conn", "can_trim", "can_zero"):
            self.assertTrue(export[offered], offered)
        self.assertFalse(export["is_read_only"])
        self.assertEqual([export[f"block_size_{which}"] for which in ("minimum", "preferred", "maximum")],
                         [4096, 4096, 32 * MIB])
        listed, = json.loads(shell(f"nbdinfo --list --json --no-content '{self.uri}'").stdout)["exports"]
        self.assertEqual(listed["export-name"], "test.disk")
        other = shell(f"nbdinfo 'nbd+unix:///other?socket={self.server.socket}'", check=False)
        self.assertIn("No such file", other.stdout)

    def test_nbdcopy_both_ways(self):
        shell(f"head -c {SIZE} /dev/urandom >{PLACE}/data")
        for options in ("--connections=4 --requests=64", "--connections=1 --requests=1 --request-size=33554432", ""):
            shell(f"nbdcopy {options} --flush {PLACE}/data '{self.uri}' && cmp {PLACE}/data {self.server.store}")
            shell(f"nbdcopy {options} '{self.uri}' {PLACE}/back && cmp {PLACE}/data {PLACE}/back && rm {PLACE}/back")

    def test_qemu(self):
        url = f"nbd:unix:{self.server.socket}"
        shell(f"qemu-io -f raw -c 'write -P 5 1M 20M' -c 'read -P 5 1M 20M' -c 'write -z 2M 1M' -c 'read -P 0 2M 1M' "
              f"-c 'write -z -u 4M 1M' -c 'discard 6M 8M' -c 'read -P 0 6M 8M' -c 'write -f -P 7 0 4k' -c flush "
              f"-c 'aio_write -P 9 30M 4M' -c 'aio_write -P 9 34M 4M' -c aio_flush -c 'read -P 9 30M 8M' {url}")
        shell(f"head -c {SIZE} /dev/urandom >{PLACE}/data")
        shell(f"qemu-img convert -n -W -m 8 -f raw -O raw {PLACE}/data {url} && "
              f"qemu-img compare -f raw -F raw {PLACE}/data {url}")

    def test_nbdkit_as_client(self):
        shell(f"head -c {SIZE} /dev/urandom >{PLACE}/data")
        shell(f"nbdkit -U - nbd socket={self.server.socket} --run 'nbdcopy {PLACE}/data \"$uri\"' && "
              f"cmp {PLACE}/data {self.server.store}")
        # Its filter does what the server leaves to clients: requests that are not whole blocks.
        shell(f"nbdkit -U - --filter=blocksize nbd socket={self.server.socket} minblock=4096 maxdata=1M "
              f"--run 'qemu-io -f raw -c \"write -P 3 1000 5000\" -c \"read -P 3 1000 5000\" \"$uri\"'")
        with open(self.server.store, "rb") as store:
            self.assertIn(b"\3" * 5000, store.read(8192))

    def test_fio_verifies(self):
        done = shell(f"fio --name=verify --ioengine=nbd '--uri={self.uri}' --rw=randwrite --bsrange=4k-64k --blockalign=4k "
                     f"--iodepth=32 --size=32M --verify=crc32c --do_verify=1 --verify_fatal=1 "
                     f"--verify_state_save=0 --output-format=terse",
                     timeout=120)
        self.assertNotIn("verify failed", done.stdout)


class Protocol(unittest.TestCase):
    def setUp(self):
        shutil.rmtree(PLACE, ignore_errors=True)
        os.makedirs(PLACE)
        self.server = FileServer()

    def tearDown(self):
        self.server.end()

    def refused(self, code, call, *arguments):
        with self.assertRaises(nbd.Error) as caught:
            call(*arguments)
        self.assertEqual(caught.exception.errnum, code, caught.exception)

    def test_what_is_not_whole_blocks_or_beyond_the_end_is_refused(self):
        client = self.server.connect()
        self.refused(errno.EINVAL, client.pread, 512, 0)
        self.refused(errno.EINVAL, client.pwrite, b"x" * 4096, 512)
        self.refused(errno.EINVAL, client.pread, 4096, SIZE)
        self.refused(errno.ENOSPC, client.pwrite, b"x" * 8192, SIZE - 4096)
        self.refused(errno.ENOSPC, client.trim, 4096, SIZE)
        self.refused(errno.EINVAL, client.pread, 64 * MIB, 0)
        client.pwrite(b"x" * 4096, SIZE - 4096)
        self.assertEqual(client.pread(4096, SIZE - 4096), b"x" * 4096)
        client.shutdown()

    def test_an_error_says_why(self):
        client = self.transmission_socket()
        client.sendall(struct.pack(">IHHQQI", 0x25609513, 0, 0, 77, 100, 4096))
        head = self.exactly(client, 20)
        magic, flags, kind, cookie, length = struct.unpack(">IHHQI", head)
        self.assertEqual((magic, flags, kind, cookie), (STRUCTURED_REPLY, 1, 32769, 77))
        payload = self.exactly(client, length)
        code, text_bytes = struct.unpack(">IH", payload[:6])
        self.assertEqual(code, errno.EINVAL)
        self.assertIn("4096", payload[6:6 + text_bytes].decode())

    def test_zeroes_trim_and_fua(self):
        client = self.server.connect()
        data = pattern(1, 8 * MIB)
        client.pwrite(data, 0, nbd.CMD_FLAG_FUA)
        client.zero(MIB, 0, nbd.CMD_FLAG_NO_HOLE | nbd.CMD_FLAG_FUA)
        client.zero(MIB, MIB, nbd.CMD_FLAG_FAST_ZERO)
        client.trim(MIB, 2 * MIB, nbd.CMD_FLAG_FUA)
        self.assertEqual(client.pread(3 * MIB, 0), bytes(3 * MIB))
        self.assertEqual(client.pread(5 * MIB, 3 * MIB), data[3 * MIB:])
        client.zero(SIZE, 0)
        self.assertEqual(client.pread(8 * MIB, 0), bytes(8 * MIB))
        client.shutdown()

    def test_one_piece_on_request(self):
        client = self.server.connect()
        data = pattern(2, MIB)
        client.pwrite(data, 0)
        chunks = []
        client.pread_structured(MIB, 0, lambda part, offset, status, error: chunks.append((offset, len(part))),
                                nbd.CMD_FLAG_DF)
        self.assertEqual(chunks, [(0, MIB)])
        self.refused(errno.EOVERFLOW, client.pread_structured, 2 * MIB, 0, lambda *_: 0, nbd.CMD_FLAG_DF)
        client.shutdown()

    def test_connections_see_one_disk(self):
        clients = [self.server.connect() for _ in range(4)]
        randomness = random.Random(3)
        expected = bytearray(4 * MIB)
        for turn in range(300):
            at = randomness.randrange(1024) * 4096
            data = pattern(turn, 4096)
            clients[turn % 4].pwrite(data, at)
            expected[at:at + 4096] = data
            if turn % 10 == 0:
                clients[(turn + 1) % 4].flush()
            self.assertEqual(clients[(turn + 2) % 4].pread(4096, at), data)
        for client in clients:
            self.assertEqual(client.pread(4 * MIB, 0), bytes(expected))
            client.shutdown()

    def test_pipelined_requests_of_many_sizes(self):
        client = self.server.connect()
        randomness = random.Random(4)
        expected = bytearray(SIZE)
        at, open_requests = 0, []
        while at < SIZE - 4 * MIB:
            size = randomness.choice([4096, 4096, 8192, 65536, 69632, MIB, 3 * MIB])
            data = pattern(at, size)
            expected[at:at + size] = data
            open_requests.append((client.aio_pwrite(nbd.Buffer.from_bytearray(bytearray(data)), at), None))
            at += size
            while len(open_requests) >= 32:
                self.reap(client, open_requests)
        while open_requests:
            self.reap(client, open_requests)
        self.assertEqual(client.pread(32 * MIB, 0), bytes(expected[:32 * MIB]))
        client.shutdown()

    def reap(self, client, open_requests):
        client.poll(5000)
        open_requests[:] = [entry for entry in open_requests if not client.aio_command_completed(entry[0])]

    def test_a_failed_read_leaves_the_connection(self):
        self.server.end()
        self.server = FileServer("--fail-reads-at", str(8 * MIB))
        client = self.server.connect()
        self.refused(errno.EIO, client.pread, 4096, 8 * MIB)
        self.refused(errno.EIO, client.pread, 4 * MIB, 6 * MIB)
        self.assertEqual(len(client.pread(MIB, 0)), MIB)
        client.shutdown()

    def test_read_only(self):
        self.server.end()
        shell(f"head -c {SIZE} /dev/urandom >{PLACE}/store")
        self.server = FileServer("--read-only")
        client = self.server.connect()
        self.assertTrue(client.is_read_only())
        self.refused(errno.EPERM, client.pwrite, b"x" * 4096, 0)
        self.refused(errno.EPERM, client.trim, 4096, 0)
        client.flush()
        client.shutdown()
        shell(f"nbdcopy '{self.server.uri}' {PLACE}/back && cmp {PLACE}/back {PLACE}/store")

    def test_strangers_and_half_requests_do_no_harm(self):
        witness = self.server.connect()
        for junk in (b"GET / HTTP/1.1\r\n\r\n" * 100, os.urandom(5000), struct.pack(">I", 3) + b"IHAVEOPT" + b"\xff" * 8):
            stranger = self.raw()
            try:
                stranger.sendall(junk)
                stranger.shutdown(socket.SHUT_WR)
                while stranger.recv(4096):
                    pass
            except ConnectionError:
                pass
        half = self.transmission_socket()
        half.sendall(struct.pack(">IHHQQI", 0x25609513, 0, 1, 1, 0, MIB) + b"x" * 1000)
        half.close()
        wrong = self.transmission_socket()
        wrong.sendall(b"\0" * 28)
        self.assertEqual(wrong.recv(100), b"")
        self.assertEqual(witness.pread(4096, 0), bytes(4096))
        witness.shutdown()

    def test_a_client_that_does_not_read_is_bounded(self):
        greedy = self.transmission_socket()
        greedy.setblocking(False)
        for number in range(500):
            try:
                greedy.send(struct.pack(">IHHQQI", 0x25609513, 0, 0, number, 0, 32 * MIB))
            except BlockingIOError:
                break
        other = self.server.connect()
        for _ in range(50):
            other.pread(MIB, 0)
        self.assertLess(self.server.resident_mib(), 64)
        other.shutdown()
        greedy.close()

    def test_close_answers_and_says_goodbye(self):
        idle = self.transmission_socket()
        busy = self.server.connect()
        cookie = busy.aio_pwrite(nbd.Buffer.from_bytearray(bytearray(32 * MIB)), 0)
        self.server.process.terminate()
        self.assertEqual(idle.recv(1), b"")
        try:
            while not busy.aio_command_completed(cookie):
                busy.poll(5000)
        except nbd.Error:
            pass  # it had not arrived when the server closed
        self.assertEqual(self.server.process.wait(10), 0)
        self.assertFalse(os.path.exists(self.server.socket))

    def test_an_abort_answers_nothing_more(self):
        self.server.process.send_signal(signal.SIGUSR2)  # nothing is answered from here on
        client = self.transmission_socket()
        client.settimeout(0.3)
        client.sendall(struct.pack(">IHHQQI", 0x25609513, 0, 3, 5, 0, 0))
        with self.assertRaises(socket.timeout):
            client.recv(1)
        client.settimeout(5)
        begun = time.monotonic()
        self.server.process.send_signal(signal.SIGUSR1)
        self.assertEqual(client.recv(100), b"")
        self.assertLess(time.monotonic() - begun, 1)

    def raw(self):
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(5)
        client.connect(self.server.socket)
        return client

    def exactly(self, client, size):
        data = b""
        while len(data) < size:
            more = client.recv(size - len(data))
            self.assertTrue(more, "the server hung up")
            data += more
        return data

    def transmission_socket(self):
        """Past the handshake, with structured replies."""
        client = self.raw()
        self.exactly(client, 18)
        client.sendall(struct.pack(">I", 3) + b"IHAVEOPT" + struct.pack(">II", 8, 0) + b"IHAVEOPT" +
                       struct.pack(">IIIH", 7, 6, 0, 0))
        kind = None
        while kind != (7, 1):
            _, option, reply, length = struct.unpack(">QIII", self.exactly(client, 20))
            self.exactly(client, length)
            kind = (option, reply)
        return client


class Mirror(unittest.TestCase):
    """Through two mirror daemons: what clients write is on both stores."""

    port = 17950

    def setUp(self):
        mirror_pair.clean_up(PLACE, KEY)
        os.makedirs(PLACE)
        Mirror.port += 1
        self.cluster = mirror_pair.Cluster(PLACE, KEY, SIZE)
        self.a, self.b = (mirror_pair.Server(self.cluster, number, self.port, nbd_socket=f"{PLACE}/nbd{number}.sock")
                          for number in (1, 2))
        self.cluster.servers = [self.a, self.b]
        self.a.start()
        self.b.start()
        self.device = self.a.promote()
        self.a.linked()
        self.socket = f"{PLACE}/nbd1.sock"
        self.uri = f"nbd+unix:///?socket={self.socket}"

    def tearDown(self):
        for server in self.cluster.servers:
            if server.process and server.process.poll() is None:
                server.kill()
        mirror_pair.clean_up(PLACE, KEY)

    def test_what_is_written_is_on_both(self):
        shell(f"head -c {SIZE} /dev/urandom >{PLACE}/data")
        shell(f"nbdcopy --connections=4 --flush {PLACE}/data '{self.uri}'")
        shell(f"qemu-io -f raw -c 'discard 1M 2M' -c 'write -z 4M 40M' -c 'write -f -P 7 50M 1M' -c flush "
              f"nbd:unix:{self.socket}")
        self.a.demote()
        shell(f"cmp -n {SIZE} {self.a.store} {self.b.store}")
        self.assertFalse(os.path.exists(self.socket))

    def test_device_and_socket_are_one_disk(self):
        device = self.device
        shell(f"qemu-io -f raw -c 'write -f -P 5 1M 1M' nbd:unix:{self.socket}")
        shell(f"test \"$(dd if={device} bs=1M skip=1 count=1 iflag=direct status=none | tr -d '\\005' | wc -c)\" = 0")
        shell(f"dd if=/dev/zero of={device} bs=1M seek=1 count=1 oflag=direct conv=fsync status=none")
        shell(f"qemu-io -f raw -c 'read -P 0 1M 1M' nbd:unix:{self.socket}")

    def test_without_a_lease_nothing_is_answered_and_an_abort_disconnects(self):
        self.a.lease.end()
        client = nbd.NBD()
        client.connect_unix(self.socket)
        cookie = client.aio_pwrite(nbd.Buffer.from_bytearray(bytearray(4096)), 0)
        self.a.wait("it says that it waits for the lease",
                         lambda: (client.poll(10), "lease" in self.a.report.get("waiting", ""))[1])
        self.assertFalse(client.aio_command_completed(cookie))
        self.a.send({"request": "abort", "reason": "test"})
        self.a.notice("demoted")
        with self.assertRaises(nbd.Error):
            wait_for("the client is cut off", lambda: (client.poll(100), client.aio_command_completed(cookie))[1])


def main():
    for program in ("nbdinfo", "nbdcopy", "nbdkit", "qemu-io", "qemu-img", "fio"):
        if not shutil.which(program):
            print(f"tests/system/nbd_test.py needs {program}")
            return 1
    wanted = sys.argv[1:] or ["Tools", "Protocol"] + (["Mirror"] if os.geteuid() == 0 else [])
    if any(name.startswith("Mirror") for name in wanted):
        mirror_pair.own_mounts()
    signal.signal(signal.SIGALRM, lambda *_: sys.exit("nbd_test.py: took longer than 5 minutes"))
    signal.alarm(300)
    suite = unittest.defaultTestLoader.loadTestsFromNames(wanted, sys.modules[__name__])
    try:
        result = unittest.TextTestRunner(verbosity=2).run(suite)
    finally:
        shutil.rmtree(PLACE, ignore_errors=True)
        if any(name.startswith("Mirror") for name in wanted):
            mirror_pair.clean_up(PLACE, KEY)
    failed = len({getattr(test, "test_case", test).id() for test, _ in result.failures + result.errors})
    print(f"{result.testsRun - failed} passed, {failed} failed", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
