"""One authority that stays, and certificates that are kept, renewed and really served."""

from __future__ import annotations

import json
import ssl
import stat
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from charter import server
from charter.adapters.kubernetes.certificates import ensure_certificates
from charter.core.kernel.errors import InvalidInputError
from charter.services import enforcement_points
from charter.settings import Settings
from charter.tls import EncryptedListener
from tests.core.kubernetes.reviews import body, pod
from tests.spec import spec as proves
from tests.support import World

NOW = datetime.now(UTC).replace(microsecond=0)
HOSTS = ("charter.example.com", "10.0.0.1")


def test_it_is_kept_renewed_and_made_for_its_hosts(tmp_path: Path) -> None:
    first = ensure_certificates(tmp_path, HOSTS, NOW)
    assert first.renewed
    again = ensure_certificates(tmp_path, HOSTS, NOW + timedelta(days=300))
    assert (again.certificate, again.key, again.renewed) == (first.certificate, first.key, False)
    late = ensure_certificates(tmp_path, HOSTS, NOW + timedelta(days=340))
    assert late.renewed
    assert late.authority == first.authority
    forced = ensure_certificates(tmp_path, HOSTS, NOW + timedelta(days=340), renew=True)
    assert forced.certificate != late.certificate
    other = ensure_certificates(tmp_path, ("other.example.com",), NOW)
    assert other.hosts == ("other.example.com",)
    made = x509.load_pem_x509_certificate(first.certificate.encode())
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["charter.example.com"]
    assert [str(a) for a in names.get_values_for_type(x509.IPAddress)] == ["10.0.0.1"]
    assert first.expires_at == NOW + timedelta(days=365)


def test_keys_are_for_their_owner_only(tmp_path: Path) -> None:
    ensure_certificates(tmp_path / "k", HOSTS, NOW)
    for name in ("ca.key", "tls.key"):
        assert stat.S_IMODE((tmp_path / "k" / name).stat().st_mode) == 0o600


def test_an_authority_that_ended_is_replaced(tmp_path: Path) -> None:
    first = ensure_certificates(tmp_path, HOSTS, NOW)
    later = ensure_certificates(tmp_path, HOSTS, NOW + timedelta(days=3_651))
    assert later.authority != first.authority


@pytest.mark.parametrize("host", ["", "a b", "-a", "a_b", "a..b", "x" * 64, "é.example", "*.a"])
def test_no_hosts(tmp_path: Path, host: str) -> None:
    with pytest.raises(InvalidInputError, match="cannot be made"):
        ensure_certificates(tmp_path, (host,), NOW)


def test_a_folder_with_something_else(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text("no certificate")
    (tmp_path / "ca.key").write_text("no key")
    with pytest.raises(InvalidInputError, match="no readable authority"):
        ensure_certificates(tmp_path, HOSTS, NOW)


def settings_with(folder: Path, **more: Any) -> Settings:
    return Settings(
        tls_certificate=folder / "tls.crt", tls_key=folder / "tls.key", tls_port=0, **more
    )


@proves("PC-8")
def test_an_api_server_reaches_the_webhook_by_tls(world: World, tmp_path: Path) -> None:
    """With nothing but the printed authority, as an API server would."""
    made = ensure_certificates(tmp_path, ("127.0.0.1", "localhost"), NOW)
    token = enforcement_points.register(
        world.rt, world.admin, kind="kubernetes", name="cluster", settings={}
    )["token"]
    app = server.build_app(world.rt)
    listener = EncryptedListener(app, settings_with(tmp_path), {"log_level": "warning"})
    try:
        url = f"https://127.0.0.1:{listener.port}/kubernetes/v1/admit/workspaces/{token}"
        request = urllib.request.Request(url, body(pod()), method="POST")
        trusting = ssl.create_default_context(cadata=made.authority)
        with urllib.request.urlopen(request, context=trusting, timeout=20) as reply:  # noqa: S310
            answer = json.load(reply)
        assert answer["response"]["allowed"] is True
        with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
            urllib.request.urlopen(request, context=ssl.create_default_context(), timeout=20)  # noqa: S310
    finally:
        listener.stop()


def test_half_a_setting_and_unusable_files_are_refused(tmp_path: Path) -> None:
    app: Any = None
    with pytest.raises(InvalidInputError, match="only one is set"):
        EncryptedListener(app, Settings(tls_certificate=tmp_path / "x"), {})
    with pytest.raises(InvalidInputError, match="cannot be used for TLS"):
        EncryptedListener(app, settings_with(tmp_path), {})
