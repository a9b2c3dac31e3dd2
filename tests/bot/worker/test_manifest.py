"""The signed manifest of a picture: what it says, that it holds, and when it does not."""

from __future__ import annotations

import datetime
import io
import json
import stat
from pathlib import Path

import c2pa
import PIL.Image
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from bot.errors import PaintFailed
from bot.worker import manifest
from bot.worker.manifest import CERTIFICATE, PRIVATE_KEY, Signing, own_signing


def png() -> bytes:
    buffer = io.BytesIO()
    PIL.Image.new("RGB", (64, 64), "red").save(buffer, "PNG")
    return buffer.getvalue()


def test_a_reader_of_c2pa_finds_it_valid_with_only_the_note_on_the_certificate(tmp_path: Path) -> None:
    signed = own_signing(tmp_path / "own").sign(png(), "emoji", {"seed": 7})
    reader = c2pa.Reader("image/png", io.BytesIO(signed))
    assert reader.get_validation_state() == "Valid"
    found = json.loads(reader.json())
    assert [status["code"] for status in found["validation_status"]] == ["signingCredential.untrusted"]
    active = found["manifests"][found["active_manifest"]]
    assert active["claim_generator_info"][0]["name"] == "Atelier"
    assert "thumbnail" not in active
    (actions, request) = active["assertions"]
    assert actions["data"]["actions"][0]["digitalSourceType"].endswith("/trainedAlgorithmicMedia")
    assert request["data"] == {"seed": 7}


def test_the_pixels_stay_the_same(tmp_path: Path) -> None:
    signed = own_signing(tmp_path / "own").sign(png(), "emoji", {})
    with PIL.Image.open(io.BytesIO(signed)) as picture, PIL.Image.open(io.BytesIO(png())) as before:
        assert picture.tobytes() == before.tobytes()


def test_the_key_is_made_once_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    folder = tmp_path / "own"
    own_signing(folder)
    key = folder / PRIVATE_KEY
    before = key.read_bytes()
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    own_signing(folder)
    assert key.read_bytes() == before
    assert [path.name for path in folder.iterdir() if path.suffix == ".part"] == []


def test_a_key_without_its_certificate_is_made_anew(tmp_path: Path) -> None:
    own_signing(tmp_path)
    (tmp_path / CERTIFICATE).unlink()
    assert manifest.read(own_signing(tmp_path).sign(png(), "emoji", {}), "image/png").state == "untrusted"


def test_a_key_that_others_can_read_is_named_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    own_signing(tmp_path)
    assert "chmod 600" not in caplog.text
    (tmp_path / PRIVATE_KEY).chmod(0o644)
    own_signing(tmp_path)
    assert "chmod 600" in caplog.text
    assert "PRIVATE KEY" not in caplog.text


@pytest.mark.parametrize("text", ["", "no key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_a_key_that_cannot_be_read_is_said_in_words(tmp_path: Path, text: str) -> None:
    own_signing(tmp_path)
    (tmp_path / PRIVATE_KEY).write_text(text)
    with pytest.raises(PaintFailed, match="Pictures cannot be signed"):
        own_signing(tmp_path)


def test_a_certificate_that_is_its_own_root_is_refused_in_words(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "me")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    (tmp_path / "c.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    (tmp_path / "k.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(PaintFailed, match="Pictures cannot be signed"):
        Signing(tmp_path / "c.pem", tmp_path / "k.pem")


def test_what_was_changed_after_it_was_signed_does_not_hold(tmp_path: Path) -> None:
    signed = bytearray(own_signing(tmp_path).sign(png(), "emoji", {}))
    assert manifest.read(bytes(signed), "image/png").state == "untrusted"
    signed[signed.index(b"IDAT") + 8] ^= 1
    assert manifest.read(bytes(signed), "image/png").state == "invalid"


def test_a_file_without_a_manifest_and_one_that_is_no_picture_are_no_error() -> None:
    assert manifest.read(png(), "image/png") == manifest.Manifest()
    assert manifest.read(b"no picture", "image/png").state == "invalid"


def cloned(folder: Path, into: Path, *, with_its_root: bool) -> Signing:
    """What a stranger can make of the certificate in a folder, which is in every file: all of it but the key's owner.

    The root above it is one with a key of theirs, or the real one, which did not sign it.
    """
    into.mkdir()
    leaf, root = x509.load_pem_x509_certificates((folder / CERTIFICATE).read_bytes())
    key, root_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())

    def copy(of: x509.Certificate, public: ec.EllipticCurvePublicKey) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(of.subject)
            .issuer_name(of.issuer)
            .public_key(public)
            .serial_number(of.serial_number)
            .not_valid_before(of.not_valid_before_utc)
            .not_valid_after(of.not_valid_after_utc)
        )
        for extension in of.extensions:
            value = extension.value
            if isinstance(value, x509.SubjectKeyIdentifier):
                value = x509.SubjectKeyIdentifier.from_public_key(public)
            elif isinstance(value, x509.AuthorityKeyIdentifier) and not with_its_root:
                value = x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key())
            builder = builder.add_extension(value, critical=extension.critical)
        return builder.sign(root_key, hashes.SHA256())

    chain = copy(leaf, key.public_key()), root if with_its_root else copy(root, root_key.public_key())
    (into / CERTIFICATE).write_bytes(b"".join(each.public_bytes(Encoding.PEM) for each in chain))
    private_key = into / PRIVATE_KEY
    private_key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    private_key.chmod(0o600)
    return Signing(into / CERTIFICATE, private_key)


@pytest.mark.parametrize("with_its_root", [False, True])
def test_a_copy_of_the_certificate_with_another_key_is_a_stranger_s(tmp_path: Path, with_its_root: bool) -> None:
    own = own_signing(tmp_path / "own")
    ours = manifest.read(own.sign(png(), "emoji", {}), "image/png", tmp_path / "own" / CERTIFICATE)
    assert (ours.state, ours.is_signed_here) == ("valid", True)
    stranger = cloned(tmp_path / "own", tmp_path / "theirs", with_its_root=with_its_root)
    theirs = manifest.read(stranger.sign(png(), "emoji", {}), "image/png", tmp_path / "own" / CERTIFICATE)
    assert theirs.state in ("untrusted", "invalid")
    assert not theirs.is_signed_here
    assert not manifest.read(own.sign(png(), "emoji", {}), "image/png", tmp_path / "lost.pem").is_signed_here
