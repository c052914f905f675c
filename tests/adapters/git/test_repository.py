"""Reading a repository that others write: what is there, and what is refused."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from charter.adapters.git.command import Credentials, Git, GitFailedError, checked_url
from charter.adapters.git.repository import Repository, open_repository
from charter.core.kernel.errors import CharterError, InvalidInputError
from tests.spec import spec as proves

RULE = "package admission.a\n"
LARGEST = 8 << 20


class Origin:
    """A repository that a test writes, through git's plumbing where a user could not."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        self.git("init", "--quiet", "-b", "main")

    def git(self, *words: str, stdin: bytes = b"") -> str:
        author = ["-c", "user.name=Pat", "-c", "user.email=Pat@Example.org"]
        done = subprocess.run(
            ["git", *author, *words], cwd=self.folder, input=stdin, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode().strip()

    def blob(self, content: bytes) -> str:
        return self.git("hash-object", "-w", "--stdin", stdin=content)

    def tree(self, *entries: tuple[str, str, str]) -> str:
        """A tree of (mode, name, hash); names as they are, slashes and all that git lets pass."""
        kinds = {"040000": "tree", "160000": "commit"}
        lines = [f"{mode} {kinds.get(mode, 'blob')} {sha}\t{name}" for mode, name, sha in entries]
        return self.git("mktree", "--missing", stdin="\n".join(lines).encode() + b"\n")

    def commit(self, tree: str, ref: str = "refs/heads/main", *parents: str) -> str:
        words = [word for parent in parents for word in ("-p", parent)]
        made = self.git("commit-tree", tree, *words, "-m", "Title", "-m", "Body of\nthe message.")
        self.git("update-ref", ref, made)
        return made


@pytest.fixture
def origin(tmp_path: Path) -> Origin:
    return Origin(tmp_path / "origin")


def opened(origin: Origin, tmp_path: Path, path: str = "") -> Repository:
    return open_repository(
        str(origin.folder), tmp_path / "mirror", branch="main", path=path, credentials=Credentials()
    )


@proves("PC-4")
def test_branches_commits_and_files(origin: Origin, tmp_path: Path) -> None:
    text = origin.blob(RULE.encode())
    note = origin.blob(b"not a policy")
    folder = origin.tree(("100644", "a.rego", text), ("100644", ".hidden.rego", note))
    base = origin.commit(
        origin.tree(("040000", "policies", folder), ("100644", "README.txt", note))
    )
    moved = origin.commit(
        origin.tree(("040000", "policies", origin.tree(("100644", "b.rego", text)))),
        "refs/heads/topic",
        base,
    )
    repository = opened(origin, tmp_path, "policies/")
    assert repository.fetch() == {"main": base, "topic": moved}
    assert repository.files(base, largest_bytes=LARGEST) == {"a.rego": RULE}
    assert repository.files(moved, largest_bytes=LARGEST) == {"b.rego": RULE}
    assert repository.merge_base(moved, base) == base
    said = repository.described(moved)
    assert (said.author_name, said.author_email) == ("Pat", "Pat@Example.org")
    assert (said.title, said.body) == ("Title", "Body of\nthe message.")
    assert repository.authors(moved, base) == {"pat@example.org"}
    assert repository.has(base)
    assert not repository.has("0" * 40)
    origin.git("update-ref", "-d", "refs/heads/topic")
    assert repository.fetch() == {"main": base}


@proves("PC-5")
def test_everybody_who_wrote_is_an_author(origin: Origin, tmp_path: Path) -> None:
    tree = origin.tree(("100644", "a.rego", origin.blob(RULE.encode())))
    base = origin.commit(tree)
    words = ("-m", "Title", "-m", "Co-authored-by: Sam <Sam@example.org>\nCo-authored-by: nobody")
    head = origin.git("commit-tree", tree, "-p", base, *words)
    for _ in range(101):
        head = origin.git("commit-tree", tree, "-p", head, "-m", "Again")
    origin.git("update-ref", "refs/heads/topic", head)
    repository = opened(origin, tmp_path)
    repository.fetch()
    assert repository.authors(head, base) == {"pat@example.org", "sam@example.org"}


def test_an_empty_folder_or_repository_holds_nothing(origin: Origin, tmp_path: Path) -> None:
    assert opened(origin, tmp_path).fetch() == {}
    base = origin.commit(origin.tree(("100644", "a.rego", origin.blob(b"package a\n"))))
    repository = opened(origin, tmp_path, "nowhere")
    repository.fetch()
    assert repository.files(base, largest_bytes=LARGEST) == {}


@proves("PC-4")
@pytest.mark.parametrize(
    ("entry", "content", "word"),
    [
        (("120000", "a.rego"), b"/etc/passwd", "symbolic link"),
        (("120000", "anything"), b"../../x", "symbolic link"),
        (("100644", "a.rego"), b"x" * ((1 << 20) + 1), "larger than 1 MiB"),
        (("100644", "a.rego"), b"\xff\xfe", "not UTF-8"),
        (("100644", "a.rego"), b"a\x00b", "NUL"),
    ],
)
def test_what_no_reviewer_could_judge_is_refused(
    origin: Origin, tmp_path: Path, entry: tuple[str, str], content: bytes, word: str
) -> None:
    commit = origin.commit(origin.tree((*entry, origin.blob(content))))
    repository = opened(origin, tmp_path)
    repository.fetch()
    with pytest.raises(InvalidInputError, match=word):
        repository.files(commit, largest_bytes=LARGEST)


def test_a_submodule_is_refused_and_never_fetched(origin: Origin, tmp_path: Path) -> None:
    modules = origin.blob(b'[submodule "x"]\n\tpath = x\n\turl = file:///etc\n')
    tree = origin.tree(("160000", "x", "1" * 40), ("100644", ".gitmodules", modules))
    commit = origin.commit(tree)
    repository = opened(origin, tmp_path)
    repository.fetch()
    with pytest.raises(InvalidInputError, match="submodule"):
        repository.files(commit, largest_bytes=LARGEST)


def test_a_bundle_has_a_largest_size(origin: Origin, tmp_path: Path) -> None:
    big = origin.blob(b"#" * 40_000)
    commit = origin.commit(origin.tree(*(("100644", f"{n}.rego", big) for n in range(3))))
    repository = opened(origin, tmp_path)
    repository.fetch()
    assert len(repository.files(commit, largest_bytes=120_000)) == 3
    with pytest.raises(InvalidInputError, match="KiB"):
        repository.files(commit, largest_bytes=100_000)


@proves("PC-4")
@pytest.mark.parametrize("name", ["--upload-pack=touch hacked", "-x", "a;touch hacked", "$(id)"])
def test_a_branch_name_is_never_an_argument(origin: Origin, tmp_path: Path, name: str) -> None:
    commit = origin.commit(origin.tree(("100644", "a.rego", origin.blob(RULE.encode()))))
    ref = origin.folder / ".git" / "refs" / "heads" / name
    ref.write_text(commit + "\n")  # git itself would not make some of these
    repository = opened(origin, tmp_path)
    found: dict[str, str] = {}
    try:
        found = repository.fetch()
    except GitFailedError:
        assert " " in name  # not a reference at all: the whole fetch is refused
    for head in found.values():
        assert repository.files(head, largest_bytes=LARGEST) == {"a.rego": RULE}
        assert repository.described(head).title == "Title"
    assert not list(tmp_path.rglob("hacked"))


@pytest.mark.parametrize("name", ["..", ".git", "a/../b"])
def test_paths_that_leave_the_tree_do_not_come_in(
    origin: Origin, tmp_path: Path, name: str
) -> None:
    """Git objects can hold such names; they are written by hand here, and fetch refuses them."""
    text = origin.blob(RULE.encode())
    raw = b"100644 " + name.encode() + b"\x00" + bytes.fromhex(text)
    tree = origin.git("hash-object", "-t", "tree", "-w", "--stdin", "--literally", stdin=raw)
    origin.commit(tree)
    with pytest.raises(CharterError):
        opened(origin, tmp_path).fetch()


def test_hooks_and_configuration_of_the_other_side_do_not_run(
    origin: Origin, tmp_path: Path
) -> None:
    origin.commit(origin.tree(("100644", "a.rego", origin.blob(RULE.encode()))))
    trap = tmp_path / "trap"
    trap.write_text(f"#!/bin/sh\ntouch {tmp_path}/hacked\ncat\n")
    trap.chmod(0o755)
    for hook in ("post-checkout", "reference-transaction", "post-upload-pack"):
        (origin.folder / ".git" / "hooks" / hook).write_text(trap.read_text())
        (origin.folder / ".git" / "hooks" / hook).chmod(0o755)
    origin.git("config", "uploadpack.packObjectsHook", str(trap))
    origin.git("config", "core.fsmonitor", str(trap))
    assert opened(origin, tmp_path).fetch()
    assert not (tmp_path / "hacked").exists()


def test_no_more_branches_than_anybody_reviews(origin: Origin, tmp_path: Path) -> None:
    commit = origin.commit(origin.tree(("100644", "a.rego", origin.blob(RULE.encode()))))
    commands = "".join(f"create refs/heads/b{n} {commit}\n" for n in range(500))
    origin.git("update-ref", "--stdin", stdin=commands.encode())
    with pytest.raises(InvalidInputError, match="501 branches"):
        opened(origin, tmp_path).fetch()


@pytest.mark.parametrize(
    "url",
    [
        "--upload-pack=x",
        "ext::sh -c id",
        "http://example.org/x.git",
        "git://example.org/x.git",
        "https://user:secret@example.org/x.git",
        "https://secret@example.org/x.git",
        "ssh://git:secret@example.org/x.git",
        "relative/path",
        "-oProxyCommand=x@example.org:y",
        "git@example.org:-x",
        "/srv/with\nnewline",
    ],
)
def test_addresses_that_are_refused_are_not_repeated(url: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        checked_url(url)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "/srv/policies.git",
        "file:///srv/policies.git",
        "ssh://git@example.org:22/x.git",
        "git@example.org:group/x.git",
        "https://example.org/group/x.git",
    ],
)
def test_addresses_that_are_taken(url: str) -> None:
    assert checked_url(url) == url


@pytest.mark.parametrize(
    ("branch", "path"), [("-x", ""), ("a..b", ""), ("a b", ""), ("main", "../x"), ("main", "a/./b")]
)
def test_mistyped_settings_are_noticed(tmp_path: Path, branch: str, path: str) -> None:
    with pytest.raises(InvalidInputError):
        open_repository("/srv/x", tmp_path, branch=branch, path=path, credentials=Credentials())


def test_a_missing_repository_and_a_slow_one_are_sentences(tmp_path: Path) -> None:
    missing = Repository(str(tmp_path / "none"), tmp_path / "mirror")
    with pytest.raises(GitFailedError, match="fetch failed"):
        missing.fetch()
    git = Git(tmp_path / "mirror" / "mirror.git")
    with pytest.raises(GitFailedError, match="did not end"):
        git.run("cat-file", "--batch-command", seconds=0.0001)


def test_the_token_is_read_from_its_file_and_stands_nowhere_else(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("s3cret\n")
    git = Git(tmp_path / "mirror" / "mirror.git", Credentials(token_file=token))
    git.prepare("https://example.org/x.git")
    asked = subprocess.run(
        [str(tmp_path / "mirror" / "askpass"), "Password for 'https://example.org':"],
        env=git._environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert asked.stdout.strip() == "s3cret"
    assert "s3cret" not in str(git._environment())
