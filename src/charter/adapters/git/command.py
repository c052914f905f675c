"""One git command, run so that the repository cannot run anything back.

The repository is written by others, and git can be configured to do almost anything. So each
command gets an environment of its own (no system or user configuration, no prompts, no hooks, no
replacement objects), protocols by allowlist (`file`, `ssh`, `https`), limits of time, memory and
file size from the kernel, and arguments that are never taken from the repository: commits are
named by their hash, and branch names only ever come out of git, never go in.

Credentials come by reference: a file with a private key for ssh, a file with a token for https. The
token reaches git through a helper that reads the file; it stands in no argument and in no variable.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from charter.core.kernel.errors import InvalidInputError, UnavailableError

_SECONDS: Final = 120.0
_KIB: Final = 1024
_LARGEST_FILE_KIB: Final = 256 * _KIB  # of a pack: a policy repository is a few MiB
_MEMORY_KIB: Final = 2 * _KIB * _KIB
_LARGEST_MIRROR: Final = 1 << 30
_LARGEST_OUTPUT: Final = 128 << 20
_URL: Final = re.compile(
    r"^(?:/[^\x00-\x1f]+"  # a path of this machine
    r"|(?:file|ssh|https)://[^\x00-\x20]+"
    r"|[A-Za-z0-9_][A-Za-z0-9._-]*@[A-Za-z0-9][A-Za-z0-9.-]*:[^\x00-\x20-][^\x00-\x20]*)$"
)
_USERINFO: Final = re.compile(r"^https://[^/]*@|^ssh://[^/@]*:[^/@]*@")
_BRANCH: Final = re.compile(r"^[A-Za-z0-9_][A-Za-z0-9._/-]{0,199}$")
# Limits are set by a shell that then becomes git: nothing runs without them, not for a moment.
_LIMITED: Final = (
    f"ulimit -c 0; ulimit -f {_LARGEST_FILE_KIB * 2}; ulimit -v {_MEMORY_KIB};"
    f' ulimit -t {int(_SECONDS)}; exec git "$@"'
)
_SETTINGS: Final = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.symlinks=false",
    "core.askPass=",
    "credential.helper=",
    "fetch.fsckObjects=true",
    "transfer.fsckObjects=true",
    "transfer.unpackLimit=1",
    "fetch.recurseSubmodules=false",
    "submodule.recurse=false",
    "log.showSignature=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "protocol.allow=never",
    "protocol.file.allow=always",
    "protocol.ssh.allow=always",
    "protocol.https.allow=always",
    "http.followRedirects=false",
    "core.quotePath=false",
)


class GitFailedError(UnavailableError):
    """git could not do what was asked."""

    code = "policy-source-failed"


@dataclass(frozen=True, slots=True)
class Credentials:
    """Where the proofs of identity lie; none is needed for a public or local repository."""

    ssh_key_file: Path | None = None
    ssh_known_hosts_file: Path | None = None
    token_file: Path | None = None


def checked_url(url: str) -> str:
    """`url`, if it is one of the accepted forms and holds no secret."""
    if _URL.fullmatch(url) is None:
        raise InvalidInputError(
            "CHARTER_POLICY_REPOSITORY names no repository that can be watched.",
            fix="Give an absolute path, ssh://…, user@host:path or https://….",
            code="policy-source-url",
        )
    if _USERINFO.match(url):
        raise InvalidInputError(
            "The repository's address holds a credential.",
            fix="Keep the token in a file and name it in CHARTER_POLICY_TOKEN_FILE.",
            code="policy-source-url",
        )
    return url


def checked_branch(name: str) -> str:
    """`name`, if it is a plain branch name."""
    plain = _BRANCH.fullmatch(name) is not None
    if not plain or ".." in name or "//" in name or name.endswith((".lock", "/", ".")):
        raise InvalidInputError(
            f"{name!r} is no plain branch name.",
            fix="Name a branch such as main in CHARTER_POLICY_BRANCH.",
            code="policy-source-branch",
        )
    return name


@dataclass(frozen=True, slots=True)
class Git:
    """git for the bare repository in the folder `mirror`."""

    mirror: Path
    credentials: Credentials = field(default_factory=Credentials)

    def run(self, *arguments: str, stdin: bytes | None = None, seconds: float = _SECONDS) -> bytes:
        """The output of one command; raises `GitFailedError` with git's own last words."""
        words = [word for setting in _SETTINGS for word in ("-c", setting)]
        words += [f"--git-dir={self.mirror}", *arguments]
        try:
            done = subprocess.run(
                ["/bin/sh", "-c", _LIMITED, "git", *words],
                input=stdin if stdin is not None else b"",
                capture_output=True,
                timeout=seconds,
                check=False,
                cwd=self.mirror.parent,
                env=self._environment(),
                start_new_session=True,
            )
        except subprocess.TimeoutExpired as error:
            raise GitFailedError(
                f"git {arguments[0]} did not end within {seconds:.0f} seconds.",
                fix="Look whether the repository can be reached from this machine.",
            ) from error
        if done.returncode != 0 or len(done.stdout) > _LARGEST_OUTPUT:
            said = done.stderr.decode(errors="replace").strip().splitlines()
            words_ = said[-1][:300] if said else f"it ended with code {done.returncode}"
            raise GitFailedError(
                f"git {arguments[0]} failed: {words_}",
                fix="See charter controller list; the guide for platform engineers has the"
                " settings of the policy source.",
            )
        return done.stdout

    def _environment(self) -> dict[str, str]:
        home = self.mirror.parent
        environment = {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "HOME": str(home),
            "LC_ALL": "C.UTF-8",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": str(home / "gitconfig"),
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ALLOW_PROTOCOL": "file:ssh:https",
            "GIT_PROTOCOL_FROM_USER": "0",
            "GIT_NO_REPLACE_OBJECTS": "1",
            "GIT_OPTIONAL_LOCKS": "0",
            "GIT_SSH_COMMAND": self._ssh(),
            "GIT_ASKPASS": str(home / "askpass"),
        }
        if self.credentials.token_file is not None:
            environment["CHARTER_TOKEN_FILE"] = str(self.credentials.token_file.absolute())
        return environment

    def _ssh(self) -> str:
        words = ["ssh", "-F/dev/null", "-oBatchMode=yes", "-oConnectTimeout=20"]
        words += ["-oForwardAgent=no", "-oClearAllForwardings=yes", "-oStrictHostKeyChecking=yes"]
        if self.credentials.ssh_known_hosts_file is not None:
            words.append(f"-oUserKnownHostsFile={_quoted(self.credentials.ssh_known_hosts_file)}")
        if self.credentials.ssh_key_file is not None:
            words += ["-oIdentitiesOnly=yes", f"-i{_quoted(self.credentials.ssh_key_file)}"]
        return " ".join(words)

    def prepare(self, url: str) -> None:
        """Make the folder, the mirror and the two small files that git reads, if missing.

        A local repository may belong to another account, which git refuses by itself unless told;
        the operator has named this one, and git never runs anything from its configuration here.
        """
        home = self.mirror.parent
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        local = url.removeprefix("file://")
        safe = f'[safe]\n\tdirectory = "{local}"\n' if local.startswith("/") else ""
        if '"' in local or "\\" in local:
            raise InvalidInputError(
                "The repository's path holds a quotation mark or a backslash.",
                fix="Reach it by a plain path.",
                code="policy-source-url",
            )
        if _size(self.mirror) > _LARGEST_MIRROR:  # what was pushed and deleted is still in it
            shutil.rmtree(self.mirror)
        _write(home / "gitconfig", safe, 0o600)
        _write(home / "askpass", _ASKPASS, 0o700)
        if not (self.mirror / "HEAD").exists():
            self.run("init", "--bare", "--quiet", str(self.mirror))


_ASKPASS: Final = """#!/bin/sh
case "$1" in
Username*) echo x-access-token ;;
*) [ -n "$CHARTER_TOKEN_FILE" ] && cat "$CHARTER_TOKEN_FILE" ;;
esac
"""


def _size(folder: Path) -> int:
    """How many bytes the files below a folder take."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _write(path: Path, text: str, mode: int) -> None:
    if not path.exists() or path.read_text() != text:
        path.write_text(text)
    path.chmod(mode)


def _quoted(path: Path) -> str:
    """A path inside GIT_SSH_COMMAND, which a shell reads."""
    return "'" + str(path.absolute()).replace("'", "'\\''") + "'"
