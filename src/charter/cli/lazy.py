"""The root command's table of contents: names and short texts, no imports.

Importing every command's module to print `charter --help`, or to run one of them, would cost most
of the time a short command takes. The table below is what the root needs to know; the module of a
noun is imported when it is called. A test holds the table and the modules together.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final, NamedTuple, cast

import typer
from typer.core import TyperGroup


class Entry(NamedTuple):
    """One subcommand of the root: where it is, what it is for, and its hidden other names."""

    name: str
    module: str
    help: str
    aliases: tuple[str, ...] = ()
    single: bool = False  # a command of its own, not a group around a noun


SECTIONS: Final[tuple[tuple[str, tuple[Entry, ...]], ...]] = (
    (
        "Work",
        (
            Entry(
                "workspace",
                "workspaces",
                "Create, use and end workspaces.",
                ("workspaces", "ws"),
            ),
            Entry("agent", "agents", "Sponsor agents, and stop them.", ("agents",)),
            Entry("approval", "approvals", "Vote on what waits for a person.", ("approvals",)),
            Entry("production", "production", "Get into production just in time."),
            Entry("grant", "grants", "What approvals gave, and until when.", ("grants",)),
            Entry("away", "absences", "Who answers approvals in your stead."),
            Entry("notice", "notices", "What you should know.", ("notices",)),
            Entry(
                "notification",
                "notifications",
                "Mails, channels, and what was sent.",
                ("notifications",),
            ),
            Entry("overview", "overview", "The platform at a glance.", single=True),
            Entry("explain", "explain", "Why something was decided as it was."),
        ),
    ),
    (
        "People and what they may use",
        (
            Entry("login", "session", "Sign in with a one-time link.", single=True),
            Entry("logout", "session", "Sign out and revoke this token.", single=True),
            Entry("whoami", "session", "Who you are, and what you may do.", single=True),
            Entry("token", "tokens", "Your personal access tokens.", ("tokens",)),
            Entry("session", "sessions", "Who is signed in where, in browsers.", ("sessions",)),
            Entry(
                "passkey",
                "passkeys",
                "Passkeys of your account; a browser adds them.",
                ("passkeys",),
            ),
            Entry("person", "people", "People and their sign-in links.", ("people", "persons")),
            Entry("scim", "scim", "Directories that provision people and teams."),
            Entry("team", "teams", "Teams, their members and quotas.", ("teams",)),
            Entry("quota", "quotas", "More of a quota for a while.", ("quotas",)),
            Entry("project", "projects", "Projects of teams.", ("projects",)),
            Entry(
                "role",
                "roles",
                "Who holds which role, where, and what each role may do.",
                ("roles",),
            ),
            Entry("access", "access", "Who may do what, and why."),
            Entry(
                "review",
                "access_reviews",
                "Whether people still need what they hold: campaigns, answers, evidence.",
                ("reviews",),
            ),
            Entry("break-glass", "break_glass", "An emergency role, its end and its review."),
            Entry("template", "templates", "What workspaces are made from.", ("templates",)),
            Entry("size", "sizes", "Named sizes of workspaces.", ("sizes",)),
        ),
    ),
    (
        "Rules and evidence",
        (
            Entry("policy", "policies", "Rules: read, test and apply them.", ("policies",)),
            Entry("governance", "governance", "Reviews of the policy, and their calendar."),
            Entry(
                "enforcement-point",
                "enforcement_points",
                "Clusters and engines that ask Charter.",
                ("enforcement-points", "pep"),
            ),
            Entry(
                "kubernetes",
                "kubernetes",
                "Clusters: their admission webhook, and rules for Gatekeeper.",
                ("k8s",),
            ),
            Entry("decision", "decisions", "Stored decisions, and replays.", ("decisions",)),
            Entry("audit", "audit", "The audit trail: read, prove, verify."),
        ),
    ),
    (
        "This installation",
        (
            Entry("up", "machine", "Start Charter on this machine.", single=True),
            Entry("down", "machine", "Stop what up started.", single=True),
            Entry("status", "machine", "What runs on this machine.", single=True),
            Entry("recover", "machine", "A sign-in link for an administrator.", single=True),
            Entry("reset", "machine", "Stop, and delete everything kept here.", single=True),
            Entry("doctor", "doctor", "Check this machine and the server.", single=True),
            Entry("demo", "machine", "Play the guided story in a throw-away copy.", single=True),
            Entry("serve", "machine", "Run the API and portal in the foreground.", single=True),
            Entry("controllers", "machine", "Run the controllers in the foreground.", single=True),
            Entry("controller", "controllers", "How the controllers are doing."),
            Entry("keys", "keys", "Keys that sign agents' credentials.", ("key",)),
            Entry("provider", "provider", "What the sandboxes enforce here.", ("providers",)),
            Entry("completion", "completion", "Completion for your shell.", single=True),
        ),
    ),
)

ENTRIES: Final = {entry.name: entry for _, entries in SECTIONS for entry in entries}
_ALIASES: Final = {alias: e.name for e in ENTRIES.values() for alias in e.aliases}


def load(entry: Entry) -> Any:
    """The command behind an entry; imports its module."""
    module = import_module(f"charter.cli.{entry.module}")
    command = typer.main.get_command(module.app)
    if not entry.single:
        command.name = entry.name
        return command
    return command.commands[entry.name] if isinstance(command, TyperGroup) else command


class LazyGroup(TyperGroup):
    """The root group: finds commands through the table above."""

    def __init__(self, **attributes: Any) -> None:
        attributes.pop("commands", None)
        # The keys serve listings and suggestions; the values are never used (see get_command).
        placeholder = cast("Any", None)
        super().__init__(commands=dict.fromkeys(ENTRIES, placeholder), **attributes)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 — Typer's signature
        """The command, its module imported; None when there is no such name."""
        entry = ENTRIES.get(_ALIASES.get(cmd_name, cmd_name))
        return None if entry is None else load(entry)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """`charter controllers` runs them, `charter controllers list` is the plural of the noun."""
        if args[0] == "controllers" and len(args) > 1 and not args[1].startswith("-"):
            args = ["controller", *args[1:]]
        # Decisions are what there is to explain, so the noun need not be typed.
        bare = len(args) > 1 and args[1] != "decision" and not args[1].startswith("-")
        if args[0] == "explain" and bare:
            args = ["explain", "decision", *args[1:]]
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 — Typer's signature
        """The table of contents, in its sections."""
        for title, entries in SECTIONS:
            with formatter.section(title):
                formatter.write_dl([(entry.name, entry.help) for entry in entries])

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        """Names from the table; importing every module for one key press would be slow."""
        from typer._click.shell_completion import CompletionItem  # noqa: PLC0415 — rare path

        found = [
            CompletionItem(entry.name, help=entry.help)
            for entry in ENTRIES.values()
            if entry.name.startswith(incomplete)
        ]
        if incomplete.startswith("-"):
            found += [
                CompletionItem(option)
                for parameter in self.get_params(ctx)
                for option in parameter.opts
                if option.startswith(incomplete)
            ]
        return found
