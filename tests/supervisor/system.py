"""A tiny system to supervise: run as `python -m tests.supervisor.system STATE_DIR [PORT] [words]`.

Words: `detach`; `no-database` (nothing is started, a made-up URL is used); `fail` (the child ends
at once); `broken` (a preparation raises). The child answers /healthz on PORT when there is one.
"""

import sys
from pathlib import Path

from charter.supervisor import Child, Plan, Step, up

SERVE = """
import http.server, os, sys
print("child of", os.environ["CHARTER_DATABASE_URL"], os.environ["CHARTER_STATE_DIR"], flush=True)
class Healthy(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
    def log_message(self, *words):
        pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Healthy).serve_forever()
"""
WAIT = "import signal; signal.pause()"
FAIL = "import sys; sys.exit('no key in the keyhole')"


def broken(_url: str) -> str:
    raise ValueError("the preparation is broken")


def main(state_dir: str, *words: str) -> int:
    port = next((int(word) for word in words if word.isdigit()), None)
    program = FAIL if "fail" in words else SERVE if port else WAIT
    children = [Child("first", (sys.executable, "-c", program, str(port)))]
    children += [Child("second", (sys.executable, "-c", WAIT), {"EXTRA": "1"})]
    plan = Plan(
        Path(state_dir),
        tuple(children),
        database_url="postgresql://nowhere" if "no-database" in words else None,
        prepare=(
            Step("Preparing", broken if "broken" in words else lambda _: "the link: only once"),
        ),
        listen=("127.0.0.1", port) if port else None,
    )
    return up(plan, detach="detach" in words)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
