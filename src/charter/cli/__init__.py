"""The command line: one of Charter's faces.

It decides nothing. Apart from what belongs to this machine (starting, checking, testing policies,
verifying an exported trail) every command is one or a few calls of the REST API, so whatever a
person does here is decided, recorded and audited like a click in the portal.

Three promises hold for every command, and tests enumerate them:

* `--json` puts exactly one JSON document on standard output and nothing else, so a script never
  has to guess. Progress and remarks go to standard error.
* A refusal is a sentence, the next step and a code on standard error; with `--json` it is a
  problem document (RFC 9457) there.
* The exit code says what kind of end it was: see `errors.ExitCode`.

Start-up time is part of the interface. The root command knows its subcommands by name and short
text only (`lazy.py`) and imports the module of the one that is called; the HTTP client and the
table printer are imported when the first request or table needs them.
"""
