"""Memory that changes all the time: a process of its own does nothing but write to it, so that whoever sends it to a disk
has it changed under way. As a program: scribbler.py FD OFFSET SIZE.
"""
import mmap
import os
import subprocess
import sys

BLOCK = 4096
PATTERNS = 8  # each fills all of the memory, one after another


class Scribbler:
    """`fd`: the file or device whose pages are scribbled on; without it, memory for a client's buffers."""

    def __init__(self, size, fd=None, offset=0):
        self.own = os.memfd_create("scribbled") if fd is None else None
        if fd is None:
            fd = self.own
            os.ftruncate(fd, size)
        self.size = size
        self.memory = mmap.mmap(fd, size, offset=offset)
        self.view = memoryview(self.memory)
        self.process = subprocess.Popen([sys.executable, "-B", __file__, str(fd), str(offset), str(size)],
                                        pass_fds=(fd,), stdout=subprocess.PIPE, text=True)
        if self.process.stdout.readline() != "scribbling\n":
            raise AssertionError("the scribbler did not start")

    def stop(self):
        """The memory is still from here on."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
        self.process.stdout.close()

    def end(self):
        """Lets go of the memory, too: a mapped device would be in use."""
        self.stop()
        self.view.release()
        self.memory.close()
        if self.own is not None:
            os.close(self.own)
            self.own = None


def torn_blocks(data):
    """Blocks of two or more patterns: they were changed while somebody copied them."""
    pieces = (data[at:at + BLOCK] for at in range(0, len(data), BLOCK))
    return sum(piece.count(piece[:1]) != BLOCK for piece in pieces)


def main():
    fd, offset, size = (int(word) for word in sys.argv[1:])
    memory = mmap.mmap(fd, size, offset=offset)
    fillings = [bytes([number + 1]) * size for number in range(PATTERNS)]
    memory[:] = fillings[-1]
    print("scribbling", flush=True)
    while os.getppid() != 1:
        for filling in fillings:
            memory[:] = filling


if __name__ == "__main__":
    main()
