"""The certificates of the admission webhook, from a small authority of our own.

An API server checks the webhook's certificate against the `caBundle` in the webhook's
configuration, and against nothing else. So one authority per instance suffices: its key never
leaves the folder, it signs server certificates only, and what it signed can be renewed without
touching the cluster, because the `caBundle` stays the same.
"""

from __future__ import annotations

import ipaddress
import os
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from charter.core.kernel.errors import InvalidInputError

AUTHORITY_DAYS: Final = 3_650
CERTIFICATE_DAYS: Final = 365
RENEW_DAYS: Final = 30  # a forgotten renewal is noticed while there is time to do it
_SKEW: Final = timedelta(minutes=5)  # clocks of nodes differ
_PRIVATE: Final = 0o600
_LONGEST_NAME: Final = 253  # RFC 1035
_LABEL: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True)
class Certificates:
    """PEM texts, for whom and until when; `renewed` says that this call made the certificate."""

    authority: str
    certificate: str
    key: str
    hosts: tuple[str, ...]
    expires_at: datetime
    renewed: bool


def ensure_certificates(
    folder: Path, hosts: tuple[str, ...], now: datetime, *, renew: bool = False
) -> Certificates:
    """The certificate for `hosts` (names or addresses) kept in `folder`, made if needed.

    The one that is there is kept while it is for the same hosts and has 30 days left, so that the
    same call gives the same answer. Raises `InvalidInputError` for a host that is none, or for
    files that cannot be read.
    """
    if not hosts:
        raise _refuse("no host is named", "Name the host by which the API server calls Charter.")
    names = tuple(dict.fromkeys(hosts))
    alternatives = [_alternative(host) for host in names]
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    authority, authority_key = _authority(folder, now)
    kept = None if renew else _kept(folder, authority, names, now)
    if kept is None:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _issue(authority, authority_key, key, alternatives, now)
        _write(folder / "tls.key", _key_pem(key), private=True)
        _write(folder / "tls.crt", _pem(certificate), private=False)
    else:
        certificate = kept
    return Certificates(
        authority=_pem(authority).decode(),
        certificate=_pem(certificate).decode(),
        key=(folder / "tls.key").read_text(),
        hosts=names,
        expires_at=certificate.not_valid_after_utc,
        renewed=kept is None,
    )


def _refuse(what: str, fix: str) -> InvalidInputError:
    return InvalidInputError(
        f"The certificate cannot be made: {what}.", fix=fix, code="certificate-host"
    )


def _alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    plain = len(host) <= _LONGEST_NAME and all(_LABEL.fullmatch(part) for part in host.split("."))
    if not plain:
        raise _refuse(f"{host!r} is neither a host name nor an address", "Correct the name.")
    return x509.DNSName(host.lower())


def _authority(folder: Path, now: datetime) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    certificate_file, key_file = folder / "ca.crt", folder / "ca.key"
    if certificate_file.exists() and key_file.exists():
        try:
            kept = x509.load_pem_x509_certificate(certificate_file.read_bytes())
            key = serialization.load_pem_private_key(key_file.read_bytes(), None)
        except ValueError as error:
            raise _refuse(f"{folder} holds no readable authority", "Move it away.") from error
        if isinstance(key, ec.EllipticCurvePrivateKey) and kept.not_valid_after_utc > now:
            return kept, key
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Charter admission authority")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + timedelta(days=AUTHORITY_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(sign=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    _write(key_file, _key_pem(key), private=True)
    _write(certificate_file, _pem(made), private=False)
    return made, key


def _issue(
    authority: x509.Certificate,
    authority_key: ec.EllipticCurvePrivateKey,
    key: ec.EllipticCurvePrivateKey,
    alternatives: list[x509.GeneralName],
    now: datetime,
) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "charter-admission")])
    ends = min(now + timedelta(days=CERTIFICATE_DAYS), authority.not_valid_after_utc)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(authority.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(ends)
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(sign=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()),
            critical=False,
        )
        .sign(authority_key, hashes.SHA256())
    )


def _usage(*, sign: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=sign,
        crl_sign=sign,
        encipher_only=False,
        decipher_only=False,
    )


def _kept(
    folder: Path, authority: x509.Certificate, hosts: tuple[str, ...], now: datetime
) -> x509.Certificate | None:
    """The certificate that is there, if it still serves."""
    certificate_file, key_file = folder / "tls.crt", folder / "tls.key"
    if not (certificate_file.exists() and key_file.exists()):
        return None
    try:
        kept = x509.load_pem_x509_certificate(certificate_file.read_bytes())
        kept.verify_directly_issued_by(authority)
        key = serialization.load_pem_private_key(key_file.read_bytes(), None)
        names = kept.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except Exception:  # noqa: BLE001 — whatever is wrong with it, another one is made
        return None
    same = key.public_key() == kept.public_key() and list(names) == [
        _alternative(host) for host in hosts
    ]
    lasts = kept.not_valid_after_utc - now > timedelta(days=RENEW_DAYS)
    return kept if same and lasts else None


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _write(path: Path, content: bytes, *, private: bool) -> None:
    """Replace the file in one step; a key is never readable for others, not even for a moment."""
    staged = path.with_suffix(path.suffix + ".new")
    staged.unlink(missing_ok=True)
    handle = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE if private else 0o644)
    with os.fdopen(handle, "wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    staged.replace(path)
