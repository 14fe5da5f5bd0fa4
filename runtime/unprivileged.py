"""Running a program that refuses to be root, as root, perhaps below a home that others cannot enter."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

NOBODY = 65534


@dataclass(frozen=True)
class Unprivileged:
    """`prefix` goes before the command; its files belong to the uid `owner` (None: to this user)."""

    prefix: tuple[str, ...] = ()
    owner: int | None = None

    def own(self, *directories: Path) -> None:
        """Give the trees to `owner`, if they are another's: an earlier start may have used another way."""
        if self.owner is None:
            return
        for top in directories:
            if top.stat().st_uid == self.owner:
                continue
            for folder, _, files in os.walk(top):
                for name in files:
                    os.chown(Path(folder, name), self.owner, self.owner, follow_symlinks=False)
                os.chown(folder, self.owner, self.owner)


def by_namespace() -> Unprivileged | None:
    """Root outside is nobody inside a user namespace: no account is needed, files stay root's."""
    tool = shutil.which("unshare")
    if tool is None:
        return None
    return Unprivileged((tool, "--user", f"--map-user={NOBODY}", f"--map-group={NOBODY}", "--"), owner=0)


def by_capability() -> Unprivileged | None:
    """Another uid that keeps one right of root's: to pass directories that others cannot enter.

    For containers, which often forbid user namespaces.
    """
    tool = shutil.which("setpriv")
    if tool is None:
        return None
    identity = (f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
    right = ("--inh-caps=+dac_override", "--ambient-caps=+dac_override")
    # Another uid would lose the request to die with the parent.
    return Unprivileged((tool, *identity, *right, "--pdeathsig=keep", "--"), owner=NOBODY)


def _works(way: Unprivileged, directories: tuple[Path, ...]) -> bool:
    """Whether the way leads to another uid that can enter the directories."""
    script = 'for d in "$@"; do cd "$d" || exit 1; done; id -u'
    command = [*way.prefix, "sh", "-c", script, "sh", *map(str, directories)]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.returncode == 0 and done.stdout.strip() == str(NOBODY)


@functools.cache
def unprivileged(*directories: Path) -> Unprivileged:
    """The first way that works here and can enter `directories`; an empty one for ordinary users.

    Raises `RuntimeError` if root has none.
    """
    if os.geteuid() != 0:
        return Unprivileged()
    for way in (by_namespace(), by_capability()):
        if way is not None and _works(way, directories):
            return way
    raise RuntimeError("this program refuses to run as root, and neither unshare nor setpriv works here")
