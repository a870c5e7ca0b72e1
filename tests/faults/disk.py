"""A disk whose power can be cut: an ext4 file system in a file, mounted through a loop device.

A cut is the kernel's own: the file system is shut down without flushing anything, as if the machine had died
at that instant. What was never handed to the disk is lost; then the disk is mounted again, which replays the
file system's journal as after a real cut. A disk with a volatile cache of its own could lose more: here all
that was handed over is kept.
"""

import fcntl
import os
import shutil
import struct
import subprocess
import tempfile
import time
from pathlib import Path

SHUTDOWN = 0x8004587D
"""EXT4_IOC_SHUTDOWN, _IOR('X', 125, u32)."""
WITHOUT_FLUSHING = 2
"""EXT4_GOING_FLAGS_NOLOGFLUSH."""
TOOLS = ("mkfs.ext4", "mount", "umount", "losetup")
MEGABYTES = 512
RELEASE_SECONDS = 20.0
"""The kernel may hold the files of a killed process for a moment."""


class Disk:
    """`image` is the disk, `mount` where its files are. Mounted from `open` to `close`."""

    def __init__(self, folder: Path, name: str = "data") -> None:
        self.image = folder / f"{name}.image"
        self.mount = folder / name

    def open(self) -> None:
        """Make an empty file system (512 MB, sparse) and mount it. Raises CalledProcessError."""
        self.mount.mkdir(parents=True)
        with self.image.open("wb") as image:
            image.truncate(MEGABYTES << 20)
        _run("mkfs.ext4", "-q", "-F", str(self.image))
        self._mount()

    def cut(self) -> None:
        """The power is gone: nothing more reaches the disk, every write fails. Then `again`."""
        folder = os.open(self.mount, os.O_RDONLY)
        try:
            fcntl.ioctl(folder, SHUTDOWN, struct.pack("I", WITHOUT_FLUSHING))
        finally:
            os.close(folder)

    def again(self) -> None:
        """The power is back: mount what the disk holds. All who had files there must have been killed."""
        end = time.monotonic() + RELEASE_SECONDS
        while not self._unmounted():
            if time.monotonic() > end:
                raise TimeoutError(f"somebody holds files of {self.mount}")
            time.sleep(0.1)
        self._mount()

    def _unmounted(self) -> bool:
        try:
            _run("umount", str(self.mount))
        except subprocess.CalledProcessError:
            return False
        return True

    def close(self) -> None:
        """Unmount and forget the disk; for good."""
        if self.mount.is_mount():
            _run("umount", "--lazy", str(self.mount))
        self.image.unlink(missing_ok=True)

    def _mount(self) -> None:
        _run("mount", "-t", "ext4", "-o", "loop", str(self.image), str(self.mount))


def refusal() -> str | None:
    """Why this machine does not let us cut power; None when it does."""
    if os.geteuid() != 0:
        return "mounting a file system needs root"
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    missing = [tool for tool in TOOLS if shutil.which(tool, path=path) is None]
    if missing:
        return f"{', '.join(missing)} is not installed"
    with tempfile.TemporaryDirectory() as folder:
        disk = Disk(Path(folder))
        try:
            disk.open()
            disk.cut()
            disk.again()
        except (subprocess.CalledProcessError, OSError) as error:
            return f"no loop device can be mounted and shut down: {error}"
        finally:
            disk.close()
    return None


def _run(*command: str) -> None:
    environment = {**os.environ, "PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin"}
    subprocess.run(command, check=True, capture_output=True, env=environment)
