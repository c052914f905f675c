"""What every provider promises (`charter.adapters.workspaces.port`), as tests.

A provider's test module inherits from `ProviderContract` and supplies the fixture `provider`.
"""

from __future__ import annotations

import threading
import time

import pytest

from charter.adapters.workspaces.port import (
    CapabilityMissingError,
    CapabilityName,
    NotRunningError,
    Provider,
    SandboxState,
    StaleGenerationError,
    WorkspaceFileError,
    WorkspaceFileNotFoundError,
    WorkspacePathError,
)
from charter.core.kernel.errors import InvalidInputError
from tests.adapters.workspaces.support import python, shell, spec_of, wait_for
from tests.spec import spec


class ProviderContract:
    @pytest.fixture
    def running(self, provider: Provider) -> str:
        """A workspace that runs for all tests which leave it running."""
        provider.ensure_running(spec_of("ws_shared", environment={"GREETING": "hello you"}), 1)
        return "ws_shared"

    # --- capabilities

    def test_capabilities_name_every_word_a_policy_may_require(self, provider: Provider) -> None:
        items = provider.capabilities().items
        assert [item.name for item in items] == [name.value for name in CapabilityName]
        assert all(item.how for item in items)

    def test_a_required_capability_that_is_missing_refuses(self, provider: Provider) -> None:
        wanted = spec_of("ws_capable", require=frozenset({"time-travel"}))
        with pytest.raises(CapabilityMissingError, match="time-travel") as refusal:
            provider.ensure_running(wanted, 1)
        assert refusal.value.code == "capability-missing"
        assert refusal.value.fix
        assert provider.observe("ws_capable").state is SandboxState.ABSENT

    def test_required_capabilities_that_are_there_do_not_refuse(self, provider: Provider) -> None:
        held = {item.name for item in provider.capabilities().items if item.enforced}
        found = provider.ensure_running(spec_of("ws_held", require=frozenset(held)), 1)
        assert found.state is SandboxState.RUNNING
        provider.delete("ws_held", 2)

    # --- lifecycle

    @spec("PV-1")
    def test_life_from_nothing_to_nothing(self, provider: Provider) -> None:
        assert provider.observe("ws_life").state is SandboxState.ABSENT
        started = provider.ensure_running(spec_of("ws_life"), 1)
        assert (started.state, started.generation) == (SandboxState.RUNNING, 1)
        assert started.started_at is not None
        assert started.usage is not None
        assert started.usage.processes >= 1
        provider.write_file("ws_life", "notes/kept.txt", b"still here")

        assert provider.stop("ws_life", 2).state is SandboxState.STOPPED
        assert provider.observe("ws_life").usage is None
        with pytest.raises(NotRunningError):
            provider.execute("ws_life", ["true"], timeout_seconds=5)

        assert provider.ensure_running(spec_of("ws_life"), 3).state is SandboxState.RUNNING
        assert provider.read_file("ws_life", "notes/kept.txt", max_bytes=100) == b"still here"
        assert "ws_life" in {found.workspace_id for found in provider.observe_all()}

        provider.delete("ws_life", 4)
        provider.delete("ws_life", 4)
        assert provider.observe("ws_life").state is SandboxState.ABSENT
        assert "ws_life" not in {found.workspace_id for found in provider.observe_all()}

    def test_the_same_again_leaves_it_as_it_is(self, provider: Provider) -> None:
        first = provider.ensure_running(spec_of("ws_same"), 1)
        again = provider.ensure_running(spec_of("ws_same"), 1)
        newer = provider.ensure_running(spec_of("ws_same"), 5)
        assert first.started_at == again.started_at == newer.started_at
        assert newer.generation == 5
        provider.delete("ws_same", 6)

    def test_another_spec_restarts_it_and_keeps_the_home(self, provider: Provider) -> None:
        provider.ensure_running(spec_of("ws_respec"), 1)
        provider.write_file("ws_respec", "f", b"kept")
        found = provider.ensure_running(spec_of("ws_respec", environment={"A": "1"}), 2)
        assert found.state is SandboxState.RUNNING
        assert shell(provider, "ws_respec", "cat f; printf %s $A").stdout == b"kept1"
        provider.delete("ws_respec", 3)

    def test_stop_and_kill_of_what_is_not_there_are_harmless(self, provider: Provider) -> None:
        assert provider.stop("ws_nobody", 1).state is SandboxState.ABSENT
        assert provider.kill("ws_nobody", 1).survivors == 0

    def test_stop_lets_programs_end_by_themselves(self, provider: Provider) -> None:
        provider.ensure_running(spec_of("ws_polite"), 1)
        program = b"trap 'echo ended > end; exit' TERM; touch up; while :; do sleep 0.1; done"
        provider.write_file("ws_polite", "program.sh", program)
        shell(provider, "ws_polite", "setsid sh program.sh >/dev/null 2>&1 &")
        wait_for(lambda: b"up" in shell(provider, "ws_polite", "ls").stdout, "the program is up")
        provider.stop("ws_polite", 2, grace_seconds=30)
        provider.ensure_running(spec_of("ws_polite"), 3)
        assert provider.read_file("ws_polite", "end", max_bytes=10) == b"ended\n"
        provider.delete("ws_polite", 4)

    def test_stop_ends_what_ignores_it(self, provider: Provider) -> None:
        provider.ensure_running(spec_of("ws_deaf"), 1)
        shell(provider, "ws_deaf", "setsid sh -c 'trap \"\" TERM; sleep 1000' >/dev/null 2>&1 &")
        assert provider.stop("ws_deaf", 2, grace_seconds=0.2).state is SandboxState.STOPPED
        provider.delete("ws_deaf", 3)

    @pytest.mark.parametrize(
        "changes",
        [
            {"vcpu": 0},
            {"memory_mib": -1},
            {"disk_mib": 1},
            {"max_processes": 0},
            {"network": "bridge"},
            {"hostname": "a b"},
            {"environment": {"A B": "x"}},
            {"environment": {"A": "x\0y"}},
            {"workspace_id": "../../etc"},
            {"workspace_id": ""},
        ],
    )
    def test_a_spec_that_means_nothing_is_refused(
        self, provider: Provider, changes: dict[str, object]
    ) -> None:
        wanted = spec_of(**{"workspace_id": "ws_odd", "hostname": "h", **changes})
        with pytest.raises(InvalidInputError):
            provider.ensure_running(wanted, 1)
        assert provider.observe("ws_odd").state is SandboxState.ABSENT

    # --- generations

    def test_a_stale_executor_changes_nothing(self, provider: Provider) -> None:
        provider.ensure_running(spec_of("ws_gen"), 5)
        for stale in (
            lambda: provider.ensure_running(spec_of("ws_gen"), 4),
            lambda: provider.stop("ws_gen", 4),
            lambda: provider.kill("ws_gen", 4),
            lambda: provider.delete("ws_gen", 4),
        ):
            with pytest.raises(StaleGenerationError) as refusal:
                stale()
            assert refusal.value.code == "stale-generation"
        assert provider.observe("ws_gen").state is SandboxState.RUNNING
        provider.stop("ws_gen", 6)
        with pytest.raises(StaleGenerationError):
            provider.ensure_running(spec_of("ws_gen"), 5)
        provider.delete("ws_gen", 7)
        for generation in (5, 7):
            with pytest.raises(StaleGenerationError):
                provider.ensure_running(spec_of("ws_gen"), generation)
        assert provider.observe("ws_gen").state is SandboxState.ABSENT

    def test_what_was_killed_starts_for_a_newer_generation_only(self, provider: Provider) -> None:
        provider.ensure_running(spec_of("ws_killed"), 3)
        provider.write_file("ws_killed", "f", b"kept")
        report = provider.kill("ws_killed", 3)
        assert report.survivors == 0
        assert report.processes_before >= 1
        assert provider.observe("ws_killed").state is SandboxState.STOPPED
        for generation in (2, 3):
            with pytest.raises(StaleGenerationError):
                provider.ensure_running(spec_of("ws_killed"), generation)
        provider.ensure_running(spec_of("ws_killed"), 4)
        assert provider.read_file("ws_killed", "f", max_bytes=10) == b"kept"
        provider.delete("ws_killed", 5)

    # --- commands

    def test_a_command_has_output_input_environment_and_code(
        self, provider: Provider, running: str
    ) -> None:
        script = 'cat; echo "$GREETING" >&2; pwd; exit 7'
        result = shell(provider, running, script, stdin=b"from outside\n")
        assert result.exit_code == 7
        assert result.stdout == b"from outside\n/workspace\n"
        assert result.stderr == b"hello you\n"
        assert (result.timed_out, result.truncated) == (False, False)

    def test_codes_of_signals_and_of_what_cannot_be_run(
        self, provider: Provider, running: str
    ) -> None:
        assert shell(provider, running, "kill -TERM $$").exit_code == 143
        assert provider.execute(running, ["no-such"], timeout_seconds=5).exit_code == 127
        assert provider.execute(running, ["/etc"], timeout_seconds=5).exit_code == 126

    def test_large_input_and_output_pass_unchanged(self, provider: Provider, running: str) -> None:
        content = bytes(range(256)) * 8192
        result = provider.execute(running, ["cat"], timeout_seconds=60, stdin=content)
        assert result.stdout == content

    def test_output_is_cut_and_says_so(self, provider: Provider, running: str) -> None:
        result = shell(provider, running, "yes | head -c 3000000", max_output_bytes=1000)
        assert result.exit_code == 0
        assert result.stdout == b"y\n" * 500
        assert result.truncated

    def test_a_timeout_is_a_result(self, provider: Provider, running: str) -> None:
        argv = ["sh", "-c", "echo begun; sleep 1000"]
        result = provider.execute(running, argv, timeout_seconds=0.5)
        assert result.timed_out
        assert result.exit_code == 137
        assert result.stdout == b"begun\n"
        assert shell(provider, running, "pgrep -c sleep || true").stdout.strip() in (b"0", b"")

    def test_what_a_command_leaves_in_the_background_does_not_hold_it(
        self, provider: Provider, running: str
    ) -> None:
        result = shell(provider, running, "setsid sleep 1000 & echo done")
        assert (result.exit_code, result.stdout, result.timed_out) == (0, b"done\n", False)
        # It may not have become `sleep` yet when the command that left it has ended.
        assert shell(provider, running, "until pkill -9 -x sleep; do :; done").exit_code == 0

    def test_many_commands_run_at_once(self, provider: Provider, running: str) -> None:
        """Each waits until all are there, so they end only if they run together."""
        count = 12
        script = f"touch here.$0; while [ $(ls here.* | wc -l) -lt {count} ]; do sleep 0.02; done"
        codes: list[int] = []

        def run(number: int) -> None:
            argv = ["sh", "-c", script, str(number)]
            codes.append(provider.execute(running, argv, timeout_seconds=60).exit_code)

        threads = [threading.Thread(target=run, args=(n,)) for n in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert codes == [0] * count
        shell(provider, running, "rm here.*")

    def test_a_command_counts_as_activity_and_looking_does_not(
        self, provider: Provider, running: str
    ) -> None:
        shell(provider, running, "true")
        before = provider.observe(running).usage
        assert before is not None
        assert before.last_command_at is not None
        assert before.running_commands == 0
        provider.list_files(running, "")
        provider.observe_all()
        after = provider.observe(running).usage
        assert after is not None
        assert after.last_command_at == before.last_command_at
        gate = threading.Thread(
            target=lambda: shell(provider, running, "while [ ! -e go ]; do sleep 0.02; done")
        )
        gate.start()

        def seen_running() -> bool:
            usage = provider.observe(running).usage
            return usage is not None and usage.running_commands == 1

        wait_for(seen_running, "the command is counted")
        provider.write_file(running, "go", b"")
        gate.join()
        shell(provider, running, "rm go")

    def test_nonsense_commands_are_refused(self, provider: Provider, running: str) -> None:
        for argv, seconds in (([], 5.0), (["a\0b"], 5.0), (["true"], 0.0), (["true"], 1e9)):
            with pytest.raises(InvalidInputError):
                provider.execute(running, argv, timeout_seconds=seconds)

    # --- files

    def test_files_are_written_listed_and_read(self, provider: Provider, running: str) -> None:
        provider.write_file(running, "deep/er/file.bin", bytes(range(256)))
        provider.write_file(running, "deep/er/file.bin", b"second")
        assert provider.read_file(running, "deep/er/file.bin", max_bytes=6) == b"second"
        assert provider.read_file(running, "/workspace/deep/er/file.bin", max_bytes=6) == b"second"
        shell(provider, running, "ln -s er deep/link; mkfifo deep/pipe")
        found = {entry.name: entry for entry in provider.list_files(running, "deep")}
        assert {name: entry.kind for name, entry in found.items()} == {
            "er": "directory",
            "link": "symlink",
            "pipe": "other",
        }
        (file,) = provider.list_files(running, "deep/link")
        assert (file.name, file.kind, file.size_bytes) == ("file.bin", "file", 6)
        assert abs(file.modified_at.timestamp() - time.time()) < 3600

    def test_files_that_are_not_what_was_meant(self, provider: Provider, running: str) -> None:
        provider.write_file(running, "size", b"12345")
        shell(provider, running, "mkfifo -m 666 fifo; mkdir -p folder")
        with pytest.raises(WorkspaceFileError, match="larger"):
            provider.read_file(running, "size", max_bytes=4)
        with pytest.raises(WorkspaceFileError):
            provider.read_file(running, "fifo", max_bytes=4)
        with pytest.raises(WorkspaceFileError):
            provider.read_file(running, "folder", max_bytes=4)
        with pytest.raises(WorkspaceFileError):
            provider.write_file(running, "folder", b"")
        with pytest.raises(WorkspaceFileNotFoundError):
            provider.read_file(running, "nothing", max_bytes=4)
        with pytest.raises(WorkspaceFileNotFoundError):
            provider.list_files(running, "size")

    @pytest.mark.parametrize(
        "path", ["/etc/passwd", "../etc/passwd", "a/../../etc/passwd", "/workspacex", "a\0b"]
    )
    def test_a_path_out_of_the_home_is_refused(
        self, provider: Provider, running: str, path: str
    ) -> None:
        with pytest.raises(WorkspacePathError):
            provider.read_file(running, path, max_bytes=100)
        with pytest.raises(WorkspacePathError):
            provider.write_file(running, path, b"")
        with pytest.raises(WorkspacePathError):
            provider.list_files(running, path)

    def test_a_link_out_of_the_home_is_refused(self, provider: Provider, running: str) -> None:
        shell(provider, running, "ln -sfn / out; ln -sfn ../etc up; ln -sfn /proc/self/root magic")
        for link in ("out", "up", "magic"):
            with pytest.raises(WorkspacePathError):
                provider.read_file(running, f"{link}/passwd", max_bytes=10_000)
            with pytest.raises(WorkspacePathError):
                provider.write_file(running, f"{link}/new", b"")
            with pytest.raises(WorkspacePathError):
                provider.list_files(running, link)
        shell(provider, running, "ln -sfn /tmp/target file-link")
        with pytest.raises(WorkspaceFileError):
            provider.write_file(running, "file-link", b"x")
        assert shell(provider, running, "test -e /tmp/target").exit_code == 1

    def test_a_race_of_links_never_leads_out(self, provider: Provider, running: str) -> None:
        """A folder that turns into a link to /etc and back, as fast as it can."""
        flip = (
            "import os\nos.makedirs('/workspace/real', exist_ok=True)\n"
            "open('/workspace/real/passwd','w').write('inside')\n"
            "os.symlink('/etc','/workspace/evil')\n"
            "os.rename('/workspace/real','/workspace/turn')\n"
            "while not os.path.exists('/workspace/enough'):\n"
            "  os.rename('/workspace/turn','/workspace/hold');"
            "os.rename('/workspace/evil','/workspace/turn');"
            "os.rename('/workspace/turn','/workspace/evil');"
            "os.rename('/workspace/hold','/workspace/turn')\n"
        )
        racer = threading.Thread(target=lambda: python(provider, running, flip))
        racer.start()
        try:
            for _ in range(150):
                try:
                    content = provider.read_file(running, "turn/passwd", max_bytes=10_000)
                except (WorkspacePathError, WorkspaceFileNotFoundError, WorkspaceFileError):
                    continue
                assert content == b"inside"
        finally:
            provider.write_file(running, "enough", b"")
            racer.join()

    def test_names_that_are_not_text(self, provider: Provider, running: str) -> None:
        script = "import os; os.mkdir('odd'); open(b'odd/\\xff\\xfe','w'); open('odd/a\\nb','w')"
        assert python(provider, running, script).exit_code == 0
        names = [entry.name for entry in provider.list_files(running, "odd")]
        assert names == ["\\xff\\xfe", "a\nb"]
