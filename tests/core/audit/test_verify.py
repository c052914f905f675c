"""The offline verifier against honest, changed and hostile exports."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from charter.audit_verify import (
    MAX_FINDINGS,
    QuestionError,
    Report,
    main,
    verify,
    verify_proof,
)
from charter.core.audit.proof import format_proof
from tests.core.audit import exports
from tests.core.audit.exports import event, export_of, with_manifest, write_folder, write_zip
from tests.spec import spec

ENTRIES = [event(number) for number in range(300)]
FILES = export_of(ENTRIES)
KEY = exports.vkey()
STRANGER = Ed25519PrivateKey.from_private_bytes(bytes(32))


def check(path: Path, key: str | None = KEY, previous: str | None = None) -> Report:
    report = verify(path, trusted_key=key, previous_checkpoint=previous)
    assert report.ok is (not report.findings)
    assert len(report.findings) <= MAX_FINDINGS
    json.dumps(report.as_json())
    assert all(finding.message.endswith(".") for finding in report.findings)
    return report


def old_note(size: int, private: Ed25519PrivateKey = exports.PRIVATE) -> str:
    return exports.note(size, exports.root_of(exports.leaf_hashes(ENTRIES[:size])), private)


@spec("AU-2")
@pytest.mark.parametrize("size", [0, 1, 2, 255, 256, 257, 300, 512, 700])
def test_honest_exports_pass(tmp_path: Path, size: int) -> None:
    files = export_of([event(number) for number in range(size)])
    for path in (write_folder(files, tmp_path / "log"), write_zip(files, tmp_path / "log.zip")):
        report = check(path)
        assert report.findings == ()
        assert report.ok
        assert (report.size, report.entries_checked, report.first) == (size, size, 0)
        assert report.key_trusted
        assert report.notes == ()


@pytest.mark.parametrize(("size", "first"), [(700, 256), (700, 512), (66_000, 65_536), (600, 512)])
def test_exports_that_start_later_pass(tmp_path: Path, size: int, first: int) -> None:
    files = export_of([event(number) for number in range(size)], first)
    report = check(write_folder(files, tmp_path / "log"))
    assert report.findings == ()
    assert (report.first, report.entries_checked) == (first, size - first)
    assert f"starts at entry {first}" in report.notes[0]


def test_a_large_log_and_one_changed_tile_above(tmp_path: Path) -> None:
    files = export_of([event(number) for number in range(66_000)])
    path = write_folder(files, tmp_path / "log")
    assert check(path).ok
    tile = bytearray(files["tile/1/000"])
    tile[40] ^= 1
    (path / "tile/1/000").write_bytes(tile)
    report = check(path)
    assert [finding.path for finding in report.findings] == ["tile/1/000"]


def test_without_a_trusted_key_it_says_so(tmp_path: Path) -> None:
    report = check(write_folder(FILES, tmp_path / "log"), key=None)
    assert report.ok
    assert not report.key_trusted
    assert "taken from the export itself" in report.notes[0]
    forged = export_of([*ENTRIES[:-1], event(299, forged=True)], private=STRANGER)
    path = write_folder(forged, tmp_path / "forged")
    assert check(path, key=None).ok
    assert {finding.code for finding in check(path).findings} == {
        "key-foreign",
        "checkpoint-not-signed",
    }


@spec("AU-2")
def test_an_older_checkpoint(tmp_path: Path) -> None:
    path = write_folder(FILES, tmp_path / "log")
    for size in (0, 1, 7, 255, 256, 257, 299, 300):
        report = check(path, previous=old_note(size))
        assert report.ok
        assert report.previous == "consistent"
    rewritten = export_of([*ENTRIES[:100], event(100, rewritten=True), *ENTRIES[101:]])
    path = write_folder(rewritten, tmp_path / "rewritten")
    assert check(path).ok  # signed by the log itself: only the older checkpoint tells
    assert check(path, previous=old_note(100)).ok
    for size in (101, 256, 300):
        report = check(path, previous=old_note(size))
        assert [finding.code for finding in report.findings] == ["previous-differs"]
        assert "history was rewritten" in report.findings[0].message
    cut = write_folder(export_of(ENTRIES[:200]), tmp_path / "cut")
    assert "cut back" in check(cut, previous=old_note(201)).findings[0].message
    assert "not signed" in check(cut, previous=old_note(9, STRANGER)).findings[0].message
    late = write_folder(export_of([event(n) for n in range(700)], 512), tmp_path / "late")
    assert check(late, previous=old_note(256)).ok
    report = check(late, previous=old_note(300))
    assert report.previous == "not covered"
    assert "export from entry 300" in report.findings[0].message


@spec("AU-2")
def test_every_byte_of_every_file_counts(tmp_path: Path) -> None:
    files = export_of([event(number) for number in range(9)])
    path = write_folder(files, tmp_path / "log")
    for name, content in files.items():
        for place in range(len(content)):
            changed = bytearray(content)
            changed[place] ^= 1 << place % 8
            (path / name).write_bytes(changed)
            report = check(path)
            assert not report.ok, (name, place)
        (path / name).write_bytes(content)
    assert check(path).ok


@spec("AU-2")
def test_a_changed_byte_names_the_entry(tmp_path: Path) -> None:
    path = write_folder(FILES, tmp_path / "log")
    bundle = path / "tile/entries/000"
    original = bundle.read_bytes()
    for index in (0, 17, 255):
        start = sum(2 + len(entry) for entry in ENTRIES[:index])
        for offset in range(2, 2 + len(ENTRIES[index])):
            changed = bytearray(original)
            changed[start + offset] ^= 4
            bundle.write_bytes(changed)
            report = check(path)
            assert [(f.code, f.index, f.event_id) for f in report.findings] == [
                ("entry-changed", index, f"evt_{index:05d}")
            ]
            assert f"Entry {index} (evt_{index:05d}) was changed" in report.sentences()[1]
        for offset in (0, 1):
            changed = bytearray(original)
            changed[start + offset] ^= 4
            bundle.write_bytes(changed)
            report = check(path)
            assert report.findings[0].index == index
            assert report.findings[0].event_id == f"evt_{index:05d}"
            assert len(report.findings) <= 2


def test_a_changed_hash_is_told_from_a_changed_entry(tmp_path: Path) -> None:
    path = write_folder(FILES, tmp_path / "log")
    tile = bytearray(FILES["tile/0/000"])
    tile[17 * 32] ^= 1
    (path / "tile/0/000").write_bytes(tile)
    report = check(path)
    assert [(f.code, f.index, f.event_id) for f in report.findings] == [
        ("tile-changed", 17, "evt_00017")
    ]


def test_a_changed_line_names_the_entry(tmp_path: Path) -> None:
    path = write_folder(FILES, tmp_path / "log")
    lines = FILES["events.jsonl"].splitlines(keepends=True)
    lines[40] = lines[40].replace(b"create", b"delete")
    (path / "events.jsonl").write_bytes(b"".join(lines))
    report = check(path)
    assert [(f.code, f.index, f.event_id) for f in report.findings] == [
        ("line-changed", 40, "evt_00040")
    ]


def test_a_forger_without_the_key_who_mends_everything_else(tmp_path: Path) -> None:
    forged = export_of([*ENTRIES[:50], event(50, forged=True), *ENTRIES[51:]])
    forged["checkpoint"] = FILES["checkpoint"]
    report = check(write_folder(with_manifest(forged), tmp_path / "log"))
    assert [finding.code for finding in report.findings] == ["root-differs"]


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_missing_short_or_doubled_file(tmp_path: Path, name: str) -> None:
    for change in (None, b"", FILES[name][:-1], FILES[name] * 2, b"\xff" * 70_000):
        path = tmp_path / "log"
        write_folder(FILES, path)
        if change is None:
            (path / name).unlink()
        else:
            (path / name).write_bytes(change)
        assert not check(path).ok
    files = {other: content for other, content in FILES.items() if other != name}
    assert not check(write_zip(files, tmp_path / "log.zip")).ok


def test_swapped_dropped_and_inserted_entries(tmp_path: Path) -> None:
    path = tmp_path / "log"
    for entries in (
        [*ENTRIES[:9], ENTRIES[10], ENTRIES[9], *ENTRIES[11:]],
        [*ENTRIES[:9], *ENTRIES[10:]],
        [*ENTRIES[:9], event(1000), *ENTRIES[9:]],
        [*ENTRIES, event(1000)],
    ):
        files = export_of(entries)
        for kept in ("checkpoint", "export.json"):
            files[kept] = FILES[kept]
        assert not check(write_zip(with_manifest(files), path.with_suffix(".zip"))).ok


def test_what_does_not_belong_is_told(tmp_path: Path) -> None:
    path = write_folder(FILES, tmp_path / "log")
    (path / "notes.txt").write_text("x")
    assert "notes.txt does not belong" in check(path).findings[0].message
    (path / "notes.txt").unlink()
    (path / "evil\x1b[31m").write_text("x")
    assert "\x1b" not in check(path).findings[0].message
    (path / "evil\x1b[31m").unlink()
    for number in range(100):
        (path / f"more{number}").touch()
    report = check(path)
    assert len(report.findings) == MAX_FINDINGS
    assert "there may be more" in report.notes[-1]


def test_links_and_devices_are_not_followed(tmp_path: Path) -> None:
    path = write_folder(FILES, tmp_path / "log")
    moved = (path / "checkpoint").rename(tmp_path / "checkpoint")
    (path / "checkpoint").symlink_to(moved)
    assert not check(path).ok
    (path / "checkpoint").unlink()
    os.mkfifo(path / "checkpoint")
    assert not check(path).ok
    (path / "checkpoint").unlink()
    moved.rename(path / "checkpoint")
    assert check(path).ok
    (path / "tile/0").rename(tmp_path / "0")
    (path / "tile/0").symlink_to(tmp_path / "0")
    assert any("link" in finding.message for finding in check(path).findings)


def test_a_claimed_size_beyond_all_bounds(tmp_path: Path) -> None:
    for size in (2**63 - 1, 2**40):
        files = dict(FILES)
        files["checkpoint"] = exports.note(size, bytes(32)).encode()
        files["export.json"] = FILES["export.json"].replace(b"300", str(size).encode())
        report = check(write_folder(with_manifest(files), tmp_path / str(size)))
        assert not report.ok
        files["export.json"] = files["export.json"].replace(
            b'"first": 0', b'"first": 1099511627520'
        )
        report = check(write_folder(with_manifest(files), tmp_path / f"{size}-late"))
        assert not report.ok


@pytest.mark.parametrize("first", [b"-256", b"1", b"1e3", b'"0"', b"true", b"512", b"9" * 5000])
def test_a_false_start(tmp_path: Path, first: bytes) -> None:
    files = dict(FILES)
    files["export.json"] = FILES["export.json"].replace(b'"first": 0', b'"first": ' + first)
    assert not check(write_folder(with_manifest(files), tmp_path / "log")).ok


def test_hostile_zips(tmp_path: Path) -> None:
    path = tmp_path / "log.zip"
    bomb = dict(FILES)
    bomb["tile/0/000"] = bytes(50_000_000)
    assert not check(write_zip(bomb, path)).ok
    for name in ("../checkpoint", "/etc/passwd", "tile/../../x", "c:\\x"):
        report = check(write_zip({**FILES, name: b"x"}, path))
        assert [finding.code for finding in report.findings] == ["file-unexpected"]
    assert not (tmp_path / "checkpoint").exists()
    write_zip(FILES, path)
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("checkpoint", FILES["checkpoint"])
    assert "twice" in check(path).findings[0].message
    with zipfile.ZipFile(path, "w", zipfile.ZIP_BZIP2) as archive:
        for name, content in FILES.items():
            archive.writestr(name, content)
    assert not check(path).ok


def test_a_zip_with_changed_bytes_passes_only_with_unchanged_content(tmp_path: Path) -> None:
    files = export_of([event(number) for number in range(5)])
    path = write_zip(files, tmp_path / "log.zip")
    original = path.read_bytes()
    dice = random.Random(1)  # noqa: S311 - the same dice on every run
    for _ in range(300):
        changed = bytearray(original)
        changed[dice.randrange(len(changed))] ^= 1 << dice.randrange(8)
        path.write_bytes(changed)
        try:
            passed = check(path).ok
        except QuestionError:
            continue
        if passed:  # a date or another field that says nothing about the content
            with zipfile.ZipFile(path) as archive:
                assert {name: archive.read(name) for name in archive.namelist()} == files
    for cut in range(0, len(original), 97):
        path.write_bytes(original[:cut])
        with pytest.raises(QuestionError):
            check(path)


def test_entries_that_are_no_events_are_held_together_as_well(tmp_path: Path) -> None:
    files = export_of([b"\xff\xfe", b"[" * 60_000, b""])
    hashes = exports.leaf_hashes([b"\xff\xfe", b"[" * 60_000, b""])
    files["events.jsonl"] = b"".join(
        b'{"entry_hex":"%b","index":%d,"leaf_hash":"%b"}\n'
        % (entry.hex().encode(), index, hashes[index].hex().encode())
        for index, entry in enumerate([b"\xff\xfe", b"[" * 60_000, b""])
    )
    report = check(write_folder(with_manifest(files), tmp_path / "log"))
    assert report.findings == ()


@pytest.mark.parametrize("key", ["", "x", KEY[:-3], KEY.replace("charter", "charta")])
def test_a_key_that_is_none(tmp_path: Path, key: str) -> None:
    path = write_folder(FILES, tmp_path / "log")
    with pytest.raises(QuestionError, match="key"):
        verify(path, trusted_key=key, previous_checkpoint=None)
    with pytest.raises(QuestionError, match="older checkpoint"):
        verify(path, trusted_key=None, previous_checkpoint=key)
    assert not check(path, key=exports.vkey(STRANGER)).ok
    assert not check(path, key=exports.vkey(origin="charter.test/other")).ok


def test_single_proofs(tmp_path: Path) -> None:
    hashes = exports.leaf_hashes(ENTRIES[:3])
    note = exports.note(3, exports.root_of(hashes))
    text = format_proof(0, ENTRIES[0], (hashes[1], hashes[2]), note)
    report = verify_proof(text, trusted_key=KEY)
    assert report.ok
    assert "entry 0 (evt_00000)" in report.notes[0]
    assert not verify_proof(text, trusted_key=exports.vkey(STRANGER)).ok
    raw = text.encode()
    for place in range(len(raw)):
        changed = bytearray(raw)
        changed[place] ^= 1
        try:
            assert not verify_proof(changed.decode(), trusted_key=KEY).ok
        except UnicodeDecodeError:
            continue
    with pytest.raises(QuestionError):
        verify_proof(text, trusted_key="")
    file = tmp_path / "0.tlog-proof"
    file.write_text(text)
    assert main([str(file), "--key", KEY]) == 0
    assert main([str(file)]) == 2
    file.write_text(text.replace("index 0", "index 1"))
    assert main([str(file), "--key", KEY]) == 1


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_folder(FILES, tmp_path / "log")
    previous = tmp_path / "old"
    previous.write_text(old_note(10))
    assert main([str(path), "--key", KEY, "--previous", str(previous)]) == 0
    assert capsys.readouterr().out.startswith("Verified: 300 entries of charter.test/log, ")
    assert main([str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["key_trusted"] is False
    (path / "tile/0/000").write_bytes(b"")
    assert main([str(path), "--key", KEY]) == 1
    assert capsys.readouterr().out.startswith("NOT VERIFIED.\n")
    for arguments in (
        [str(tmp_path / "nothing")],
        ["\x00"],
        [str(path), "--key", "no key"],
        [str(path), "--previous", str(tmp_path / "nothing")],
        [str(path), "--previous", str(path)],
        [str(previous)],
        ["/dev/null"],
    ):
        assert main(arguments) == 2
        assert main([*arguments, "--json"]) == 2
    assert "Traceback" not in capsys.readouterr().out


def test_it_stands_alone(tmp_path: Path) -> None:
    """Only the standard library, `cryptography` and the pure part of the audit log are loaded."""
    path = write_folder(FILES, tmp_path / "log")
    program = (
        "import runpy, sys\n"
        f"sys.argv = ['audit_verify', {str(path)!r}, '--key', {KEY!r}]\n"
        "try:\n    runpy.run_module('charter.audit_verify', run_name='__main__')\n"
        "except SystemExit as end:\n    status = end.code\n"
        "own = {n for n in sys.modules if n.split('.')[0] == 'charter'}\n"
        "tops = {n.split('.')[0] for n in sys.modules}\n"
        "print(status, sorted(own), sorted(tops - set(sys.stdlib_module_names)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {SOURCE!r})\n{program}"],
        capture_output=True,
        text=True,
        check=True,
    )
    last = done.stdout.splitlines()[-1]
    assert last.startswith("0 ['charter', 'charter.core', 'charter.core.audit', ")
    loaded = last.split("]")[0]
    assert "kernel" not in loaded
    assert "event" not in loaded
    assert "sqlalchemy" not in last
    assert "psycopg" not in last


SOURCE = str(Path(__file__).parents[3] / "src")
