"""A control group that limits memory, of version 2 or 1, whichever of them the machine uses for that. Needs root."""
import os
import signal
import time

MOUNT = "/sys/fs/cgroup"


def controllers(path):
    try:
        with open(f"{path}/cgroup.controllers") as file:
            return file.read().split()
    except OSError:
        return []


class MemoryLimit:
    def __init__(self, name, size):
        self.second = "memory" in controllers(MOUNT)
        top = MOUNT if self.second else f"{MOUNT}/memory"
        if self.second:
            with open(f"{top}/cgroup.subtree_control", "w") as file:
                file.write("+memory")
        self.path = f"{top}/{name}"
        os.makedirs(self.path, exist_ok=True)
        self.set(size)

    def set(self, size):
        with open(f"{self.path}/{'memory.max' if self.second else 'memory.limit_in_bytes'}", "w") as file:
            file.write(str(size))

    def inside(self):
        """The beginning of a command that runs in the group."""
        return ["bash", "-c", f'echo $$ >{self.path}/cgroup.procs && exec "$@"', "inside"]

    def times_full(self):
        """How often somebody had to wait, or to give something back, because the limit was reached."""
        if not self.second:
            with open(f"{self.path}/memory.failcnt") as file:
                return int(file.read())
        with open(f"{self.path}/memory.events") as file:
            return int(dict(line.split() for line in file)["max"])

    def processes(self):
        with open(f"{self.path}/cgroup.procs") as file:
            return [int(line) for line in file]

    def remove(self, seconds=10):
        """Ends whoever is left in it."""
        deadline = time.monotonic() + seconds
        while True:
            for process in self.processes():
                os.kill(process, signal.SIGKILL)
            try:
                return os.rmdir(self.path)
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
