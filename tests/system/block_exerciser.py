"""Exercises a block device or an NBD export as fsx does a file: random overlapping reads, writes, zeroings, trims and
flushes from several threads at once, against a model that knows what each block may hold. Survives the device's death:
what was under way then may or may not be there, everything acknowledged must be.

Blocks carry the number of their write, so that a wrong one says which write it is of.
"""
import fcntl
import mmap
import os
import random
import struct
import threading

BLOCK = 4096
SECTOR = 512
MAX_BLOCKS = 64
BLKDISCARD, BLKZEROOUT = 0x1277, 0x127F


class Mismatch(AssertionError):
    pass


def content(stamp, block):
    """What the write `stamp` puts into this block; stamp 0 is zeroes."""
    return bytes(BLOCK) if stamp == 0 else struct.pack("<QQ", stamp, block) * (BLOCK // 16)


class LoopDisk:
    """A block device, without the page cache. One for each thread."""

    def __init__(self, path):
        self.fd = os.open(path, os.O_RDWR | os.O_DIRECT)
        self.buffer = mmap.mmap(-1, MAX_BLOCKS * BLOCK)
        self.view = memoryview(self.buffer)

    def close(self):
        os.close(self.fd)

    def read(self, block, count):
        if os.preadv(self.fd, [self.view[:count * BLOCK]], block * BLOCK) != count * BLOCK:
            raise OSError("a short read")
        return bytes(self.view[:count * BLOCK])

    def write(self, block, data):
        self.view[:len(data)] = data
        if os.pwritev(self.fd, [self.view[:len(data)]], block * BLOCK) != len(data):
            raise OSError("a short write")

    def flush(self):
        os.fdatasync(self.fd)

    def zero(self, block, count, trim):
        fcntl.ioctl(self.fd, BLKDISCARD if trim else BLKZEROOUT, struct.pack("<QQ", block * BLOCK, count * BLOCK))


class NbdDisk:
    """The same through the NBD socket (python3-libnbd). One connection for each thread."""

    def __init__(self, path):
        import nbd
        self.error = nbd.Error
        self.handle = nbd.NBD()
        self.call(self.handle.connect_unix, path)

    def call(self, function, *arguments):
        try:
            return function(*arguments)
        except self.error as problem:
            raise OSError(str(problem))

    def close(self):
        self.call(self.handle.shutdown)

    def read(self, block, count):
        return bytes(self.call(self.handle.pread, count * BLOCK, block * BLOCK))

    def write(self, block, data):
        self.call(self.handle.pwrite, bytearray(data), block * BLOCK)

    def flush(self):
        self.call(self.handle.flush)

    def zero(self, block, count, trim):
        # A trim over NBD is advice; the mirror carries it out as zeroing, so that its copies stay equal.
        self.call(self.handle.trim if trim else self.handle.zero, count * BLOCK, block * BLOCK)


class Write:
    __slots__ = ("stamp", "begun", "ended", "flushed")

    def __init__(self, stamp, begun):
        self.stamp, self.begun, self.ended, self.flushed = stamp, begun, None, False


class Model:
    """Which writes each block may show: of those that overlap in time any one; after a power loss, those not flushed
    may be missing."""

    def __init__(self, blocks):
        first = Write(0, 0)
        first.ended, first.flushed = 0, True
        self.history = {}  # block -> its writes that may still matter; none: the first one
        self.first = first
        self.blocks = blocks
        self.unflushed = set()
        self.time = 0
        self.lock = threading.Lock()

    def tick(self):
        self.time += 1
        return self.time

    def begin(self, block, count, zero):
        with self.lock:
            write = Write(self.tick(), self.time)
            if zero:
                write.stamp = 0
            for at in range(block, block + count):
                self.history.setdefault(at, [self.first]).append(write)
                self.unflushed.add(at)
            return write

    def end(self, write, block, count):
        with self.lock:
            write.ended = self.tick()
            for at in range(block, block + count):
                self.prune(at)

    def prune(self, at):
        """What a flushed later write has replaced can never be seen again."""
        writes = self.history[at]
        newest = max((write.begun for write in writes if write.flushed), default=-1)
        self.history[at] = [write for write in writes if write.ended is None or write.ended >= newest]

    def flush_begins(self):
        with self.lock:
            return self.tick(), list(self.unflushed)

    def flush_ends(self, begun, blocks):
        with self.lock:
            for at in blocks:
                for write in self.history[at]:
                    if write.ended is not None and write.ended < begun:
                        write.flushed = True
                self.prune(at)
                if all(write.flushed for write in self.history[at]):
                    self.unflushed.discard(at)

    def possible(self, at, since, after_loss=False):
        """Stamps that the block may show to a read begun at `since`."""
        writes = self.history.get(at, [self.first])
        replaced = [write for write in writes if write.ended is not None and write.ended < since]
        if after_loss:
            replaced = [write for write in replaced if write.flushed]
        newest = max((write.begun for write in replaced), default=-1)
        return {write.stamp for write in writes if write.ended is None or write.ended >= newest}

    def settle(self, at, stamp):
        """Everything has been read after a crash: from now on it is this."""
        write = Write(stamp, self.tick())
        write.ended, write.flushed = self.tick(), True
        self.history[at] = [write]
        self.unflushed.discard(at)


class Exerciser:
    """Threads that work until stop() or until the device fails."""

    def __init__(self, blocks, seed=1, threads=4, trims=True, flushes=0.1):
        """`flushes`: their share of the requests."""
        self.model = Model(blocks)
        self.blocks, self.threads, self.trims, self.flushes = blocks, threads, trims, flushes
        self.random = random.Random(seed)
        self.operations = 0
        self.torn = 0  # blocks that power cuts have torn
        self.mismatches = []
        self.errors = []
        self.ending = threading.Event()
        self.workers = []

    def start(self, open_disk):
        self.ending.clear()
        self.errors = []
        self.workers = [threading.Thread(target=self.work, args=(open_disk, self.random.getrandbits(64)), daemon=True)
                        for _ in range(self.threads)]
        for worker in self.workers:
            worker.start()

    def stop(self, seconds=30):
        """True: no thread met an error of the device."""
        self.ending.set()
        self.join(seconds)
        return not self.errors

    def join(self, seconds=30):
        """Until the threads have ended: by stop(), or because the device failed under them."""
        for worker in self.workers:
            worker.join(seconds)
            if worker.is_alive():
                raise AssertionError(f"a request hangs for more than {seconds} s")

    def work(self, open_disk, seed):
        chance = random.Random(seed)
        try:
            disk = open_disk()
        except OSError as problem:
            self.errors.append(problem)
            return
        try:
            while not self.ending.is_set():
                self.one(disk, chance)
                self.operations += 1
        except OSError as problem:
            self.errors.append(problem)
        except Mismatch as problem:
            self.mismatches.append(str(problem))
        finally:
            try:
                disk.close()
            except OSError:
                pass

    def one(self, disk, chance):
        count = min(chance.choice((1, 1, 1, 2, 3, 8, 17, MAX_BLOCKS)), self.blocks)
        block = chance.randrange(self.blocks - count + 1)
        if chance.random() < 0.4:  # what is used often overlaps often
            block = min(chance.randrange(256), self.blocks - count)
        kind = chance.random()
        if kind < 0.3:
            self.check_read(disk, block, count)
        elif kind < 0.3 + self.flushes:
            begun, dirty = self.model.flush_begins()
            disk.flush()
            self.model.flush_ends(begun, dirty)
        elif kind < 0.4 + self.flushes and self.trims:
            write = self.model.begin(block, count, zero=True)
            disk.zero(block, count, chance.random() < 0.5)
            self.model.end(write, block, count)
        else:
            write = self.model.begin(block, count, zero=False)
            disk.write(block, b"".join(content(write.stamp, at) for at in range(block, block + count)))
            self.model.end(write, block, count)

    def check_read(self, disk, block, count):
        with self.model.lock:
            begun = self.model.tick()
            before = [self.model.possible(at, begun) for at in range(block, block + count)]
        data = disk.read(block, count)
        with self.model.lock:
            for place in range(count):
                # What began meanwhile may be seen, too.
                allowed = before[place] | self.model.possible(block + place, begun)
                self.check(block + place, data[place * BLOCK:(place + 1) * BLOCK], allowed, "read")

    def check(self, at, data, allowed, what):
        stamp = struct.unpack_from("<Q", data)[0]
        if stamp not in allowed or data != content(stamp, at):
            begins = data[:16].hex()
            raise Mismatch(f"{what}: block {at} holds {stamp} ({begins}...), allowed are {sorted(allowed)}")
        return stamp

    def verify(self, open_disk, after_loss=False):
        """Reads everything while nobody else works, after a crash or an end, and goes on from what it finds. The number
        of wrong blocks; `mismatches` has them. `after_loss`: of a power cut, which may lose what was not flushed, and
        tear blocks of it at any sector."""
        disk = open_disk()
        wrong, torn = 0, []
        try:
            now = self.model.tick()
            for block in range(0, self.blocks, MAX_BLOCKS):
                count = min(MAX_BLOCKS, self.blocks - block)
                data = disk.read(block, count)
                for at in range(block, block + count):
                    piece = data[(at - block) * BLOCK:(at - block + 1) * BLOCK]
                    allowed = self.model.possible(at, now, after_loss)
                    stamp = struct.unpack_from("<Q", piece)[0]
                    try:
                        if after_loss and self.is_torn(at, piece, allowed):
                            torn.append(at)
                        else:
                            self.check(at, piece, allowed, "verify")
                    except Mismatch as problem:
                        self.mismatches.append(str(problem))
                        wrong += 1
                    self.model.settle(at, stamp)
            for at in torn:  # a block is the least that the model knows
                write = self.model.begin(at, 1, zero=False)
                disk.write(at, content(write.stamp, at))
                self.model.settle(at, write.stamp)
            disk.flush()
        finally:
            disk.close()
        self.torn += len(torn)
        return wrong

    def is_torn(self, at, data, allowed):
        """Each sector is of a write that may be there, but not all of the same one."""
        stamps = set()
        for place in range(0, BLOCK, SECTOR):
            sector = data[place:place + SECTOR]
            stamp = struct.unpack_from("<Q", sector)[0]
            if stamp not in allowed or sector != content(stamp, at)[:SECTOR]:
                return False
            stamps.add(stamp)
        return len(stamps) > 1
