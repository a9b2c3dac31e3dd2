"""The signed manifest in a picture's file, as C2PA defines it: <https://spec.c2pa.org>.

It says that a model made the picture, which one, and with which program; how much it says of the request is the host's
to decide. It names no person. It is signed without a network: with the host's certificate, or with one that is made at
the first start, which readers show as valid but not known to them. Imported in the engine process and in the process
that examines pictures.
"""

from __future__ import annotations

import datetime
import io
import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import c2pa
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from bot.errors import PaintFailed
from bot.system import is_open_to_others

log = logging.getLogger(__name__)

CERTIFICATE, PRIVATE_KEY = "certificate.pem", "private_key.pem"
"""The files of the certificate that is made at the first start."""

GENERATOR = "Atelier"
MADE_BY_MODEL = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
REQUEST = "org.atelier.request"
"""The assertion that has the request."""

_SETTINGS = {
    "builder": {"thumbnail": {"enabled": False}},
    # Nothing is fetched from addresses in a file.
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},
}
_VALID_FOR = datetime.timedelta(days=3650)
_SELF_MADE = "signingCredential.untrusted"
"""What a reader notes of a certificate that it does not know."""


class Signing:
    """Signs pictures with one certificate."""

    def __init__(self, certificate: Path, private_key: Path) -> None:
        """Read the certificate, with those that lead to its root, and the key. Raises PaintFailed in words."""
        try:
            chain, key = certificate.read_text(encoding="utf-8"), private_key.read_text(encoding="utf-8")
            loaded = serialization.load_pem_private_key(key.encode(), None)
            x509.load_pem_x509_certificates(chain.encode())
        except (OSError, ValueError, TypeError) as error:
            raise PaintFailed(
                "Pictures cannot be signed: the certificate {certificate} or its key {key} cannot be read. The host "
                "has to restore them, or to leave engine.certificate empty.",
                certificate=certificate,
                key=private_key,
            ) from error
        if is_open_to_others(private_key):
            log.warning("others may read the key %s: take their rights away with chmod 600", private_key)
        self._facts = (_algorithm_of(loaded), chain, key)
        self._context = c2pa.Context(c2pa.Settings.from_dict(_SETTINGS))
        try:
            self.sign(_one_pixel(), "test", {})
        except c2pa.C2paError as error:
            raise PaintFailed(
                "Pictures cannot be signed with the certificate {certificate}: {error}. C2PA needs one for signing "
                "documents or e-mail that is not its own root, with the certificates up to its root below it.",
                certificate=certificate,
                error=error,
            ) from error

    def sign(self, data: bytes, model: str, request: Mapping[str, Any], kind: str = "image/png") -> bytes:
        """A file of a media type with its manifest; `request` is what it says of the request. Raises C2paError."""
        algorithm, chain, key = self._facts
        output = io.BytesIO()
        # A signer and a builder are used once.
        info = c2pa.C2paSignerInfo(algorithm, chain.encode(), key.encode(), None)
        with (
            c2pa.Signer.from_info(info) as signer,
            c2pa.Builder(_claims(model, request, kind), self._context) as builder,
        ):
            builder.sign(signer, kind, io.BytesIO(data), output)
        return output.getvalue()


def signed(data: bytes, kind: str, signing: Mapping[str, str], model: str, request: Mapping[str, Any]) -> bytes:
    """A file of a media type with its manifest; `signing` says where the secrets are.

    If it cannot be signed, the log says why and it stays as it is.
    """
    folder = Path(signing["folder"])
    certificate = Path(signing["certificate"] or folder / CERTIFICATE)
    private_key = Path(signing["private_key"]) if signing["certificate"] else folder / PRIVATE_KEY
    try:
        return Signing(certificate, private_key).sign(data, model, request, kind)
    except (PaintFailed, c2pa.C2paError) as error:
        log.warning("a file has no manifest: %s", error)
        return data


def _claims(model: str, request: Mapping[str, Any], kind: str) -> dict[str, Any]:
    agent = {"name": GENERATOR, "version": version("atelier-bot")}
    created = {
        "action": "c2pa.created",
        "digitalSourceType": MADE_BY_MODEL,
        "softwareAgent": agent,
        "parameters": {"org.atelier.model": model},
    }
    assertions: list[dict[str, Any]] = [{"label": "c2pa.actions.v2", "data": {"actions": [created]}}]
    if request:
        assertions.append({"label": REQUEST, "data": dict(request)})
    return {"claim_generator_info": [agent], "title": "picture", "format": kind, "assertions": assertions}


def _algorithm_of(key: Any) -> c2pa.C2paSigningAlg:
    match key:
        case ec.EllipticCurvePrivateKey():
            by_size = {256: c2pa.C2paSigningAlg.ES256, 384: c2pa.C2paSigningAlg.ES384, 521: c2pa.C2paSigningAlg.ES512}
            return by_size.get(key.key_size, c2pa.C2paSigningAlg.ES256)
        case ed25519.Ed25519PrivateKey():
            return c2pa.C2paSigningAlg.ED25519
        case rsa.RSAPrivateKey():
            return c2pa.C2paSigningAlg.PS256
        case _:
            return c2pa.C2paSigningAlg.ES256


def own_signing(folder: Path) -> Signing:
    """The certificate in a folder, made if it is not there. Raises PaintFailed in words."""
    certificate, private_key = folder / CERTIFICATE, folder / PRIVATE_KEY
    if not (certificate.exists() and private_key.exists()):
        try:
            _make(certificate, private_key)
        except OSError as error:
            raise PaintFailed(
                "Pictures cannot be signed: the certificate {certificate} cannot be written ({error}).",
                certificate=certificate,
                error=error.strerror,
            ) from error
    return Signing(certificate, private_key)


def _make(certificate: Path, private_key: Path) -> None:
    """Write a certificate and its key. The key of the root above it is thrown away: it signs this one alone."""
    now = datetime.datetime.now(datetime.UTC)
    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root_name, name = _name("Atelier root of this installation"), _name("Atelier installation")

    def begun(subject: x509.Name, public: Any, *, is_root: bool) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(root_name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + _VALID_FOR)
            .add_extension(x509.BasicConstraints(ca=is_root, path_length=0 if is_root else None), critical=True)
            .add_extension(_usage(is_root=is_root), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), critical=False)
        )

    root = begun(root_name, root_key.public_key(), is_root=True).sign(root_key, hashes.SHA256())
    leaf = (
        begun(name, key.public_key(), is_root=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
        .sign(root_key, hashes.SHA256())
    )
    # The key first: a certificate without its key is made anew.
    write(private_key, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    write(certificate, leaf.public_bytes(Encoding.PEM) + root.public_bytes(Encoding.PEM))


def _name(text: str) -> x509.Name:
    return x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, GENERATOR), x509.NameAttribute(NameOID.COMMON_NAME, text)]
    )


def _usage(*, is_root: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_root,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_root,
        crl_sign=is_root,
        encipher_only=False,
        decipher_only=False,
    )


def write(path: Path, data: bytes) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    aside = path.with_suffix(".part")
    aside.unlink(missing_ok=True)
    with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)


# ---- reading ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Manifest:
    """What a file's manifest says, if it has one.

    `state` is `valid`, `untrusted` (valid, by a certificate that is not known here), `invalid` or, without one, empty.
    """

    state: str = ""
    generator: str = ""
    is_made_by_model: bool = False
    model: str = ""
    signer: str = ""
    is_signed_here: bool = False
    """Whether it holds, and this installation's certificate signed it."""
    request: Mapping[str, Any] = field(default_factory=dict)
    """What it says of the request, if it is one of Atelier's."""


def read(data: bytes, kind: str, certificate: Path | None = None) -> Manifest:
    """The manifest in a file of a media type. One that cannot be read is invalid.

    `certificate` is that of this installation, with those that lead to its root: only what they signed is known here.
    """
    chain = [] if certificate is None else _certificates(certificate)
    anchors = b"".join(each.public_bytes(Encoding.PEM) for each in chain[1:]).decode()
    settings = {**_SETTINGS, "trust": {"user_anchors": anchors}} if anchors else _SETTINGS
    try:
        with c2pa.Reader(kind, io.BytesIO(data), context=c2pa.Context(c2pa.Settings.from_dict(settings))) as reader:
            found = json.loads(reader.json())
    except c2pa.C2paError.ManifestNotFound:
        return Manifest()
    except c2pa.C2paError as error:
        log.info("a manifest cannot be read (%s)", type(error).__name__)
        return Manifest("invalid")
    active = found.get("manifests", {}).get(found.get("active_manifest", ""), {})
    actions = [
        action
        for assertion in active.get("assertions", ())
        if str(assertion.get("label", "")).startswith("c2pa.actions")
        for action in assertion.get("data", {}).get("actions", ())
    ]
    generators = active.get("claim_generator_info") or [{}]
    models = [action.get("parameters", {}).get("org.atelier.model") for action in actions]
    sources = [str(action.get("digitalSourceType", "")) for action in actions]
    state, signature = _state(found), active.get("signature_info", {})
    # The serial number is public. It tells whose a certificate is only among those that the same root has signed.
    is_signed_here = (
        bool(anchors) and state == "valid" and signature.get("cert_serial_number") == str(chain[0].serial_number)
    )
    return Manifest(
        state,
        str(generators[0].get("name") or active.get("claim_generator") or ""),
        any("trainedalgorithmicmedia" in source.lower() for source in sources),
        next((str(model) for model in models if model), ""),
        str(signature.get("issuer") or ""),
        is_signed_here,
        next((each.get("data", {}) for each in active.get("assertions", ()) if each.get("label") == REQUEST), {}),
    )


def _certificates(path: Path) -> list[x509.Certificate]:
    """The certificates in a file; none if it cannot be read."""
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError):
        return []


def end_of(certificate: Path) -> datetime.datetime:
    """When the first certificate in a file ends. Raises OSError or ValueError."""
    return x509.load_pem_x509_certificates(certificate.read_bytes())[0].not_valid_after_utc


def _state(found: Mapping[str, Any]) -> str:
    """Whether a manifest holds, in a word."""
    codes = {status.get("code") for status in found.get("validation_status", ())}
    if codes - {_SELF_MADE} or found.get("validation_state") == "Invalid":
        return "invalid"
    return "untrusted" if codes else "valid"


def _one_pixel() -> bytes:
    """The smallest PNG, which is signed to see whether a certificate can be used."""
    import PIL.Image

    buffer = io.BytesIO()
    PIL.Image.new("RGB", (1, 1)).save(buffer, "PNG")
    return buffer.getvalue()
