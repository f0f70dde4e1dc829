"""Speak TLS with the store: which authority is believed, who this program is, and what is wrong when it fails."""

import logging
import ssl
from dataclasses import dataclass, field
from pathlib import Path

from infrastructure.redis.errors import (
    InvalidStoreAccess,
    StoreError,
    StoreHasNoTls,
    StoreNotTrusted,
    StoreRefusesCertificate,
)
from infrastructure.redis.url import StoreUrl

log = logging.getLogger(__name__)

FALSE_WORDS = {"0", "false", "no"}
URL_NAMES = {"tls_ca_file": "ssl_ca_certs", "tls_cert_file": "ssl_certfile", "tls_key_file": "ssl_keyfile"}
"""A setting, and the option of a URL that says the same."""


@dataclass(frozen=True)
class TlsFiles:
    """Files in PEM form; an empty name is one that was not given."""

    tls_ca_file: str = ""
    """Who may sign the server's certificate; without one, the authorities that this system believes."""
    tls_cert_file: str = ""
    tls_key_file: str = ""
    """The key of that certificate; without one, it is in the certificate's file."""
    tls_key_password: str = field(default="", repr=False)


NO_FILES = TlsFiles()


class Tls:
    """How connections are encrypted. One for all of them: making a context reads files, and takes a while."""

    def __init__(self, files: TlsFiles, *, is_verified: bool = True, checks_hostname: bool = True) -> None:
        """Read the files; raises ``InvalidStoreAccess`` for one that will not do."""
        self._files = files
        self._is_verified = is_verified
        self._checks_hostname = checks_hostname
        self._stamps = self._look()
        self._context = self._load()

    @classmethod
    def of(cls, url: StoreUrl, files: TlsFiles) -> "Tls | None":
        """Return what the settings and the options of the URL say together; None where nothing is encrypted."""
        if not url.uses_tls:
            for name in URL_NAMES:
                if getattr(files, name):
                    raise InvalidStoreAccess(name=name, why="it is for TLS; write store.redis_url with rediss://")
            return None
        options = url.tls_options
        given = {name: _one_of(name, getattr(files, name), options.get(other)) for name, other in URL_NAMES.items()}
        is_verified = options.get("ssl_cert_reqs", "required").lower() != "none"
        return cls(
            TlsFiles(**given, tls_key_password=files.tls_key_password),
            is_verified=is_verified,
            checks_hostname=is_verified and options.get("ssl_check_hostname", "").lower() not in FALSE_WORDS,
        )

    @property
    def authority(self) -> str:
        """The file with who may sign the server's certificate; empty for those that this system believes."""
        return self._files.tls_ca_file

    @property
    def has_certificate(self) -> bool:
        """Whether this program can say who it is."""
        return bool(self._files.tls_cert_file)

    @property
    def weakness(self) -> str:
        """What an operator should know of the checks that were turned off."""
        if not self._is_verified:
            return "its certificate is not checked (ssl_cert_reqs=none), so that anybody may answer in its place"
        if not self._checks_hostname:
            return "the name in its certificate is not checked (ssl_check_hostname=false)"
        return ""

    def context(self) -> ssl.SSLContext:
        """Return the context for a new connection; files that were replaced are read again.

        Certificates live for days where they are renewed by a program. One that is half written is left for the next
        connection.
        """
        stamps = self._look()
        if stamps != self._stamps:
            try:
                self._context, self._stamps = self._load(), stamps
            except InvalidStoreAccess as error:
                log.warning("new connections to the store still use the files from before: %s", error)
        return self._context

    def _look(self) -> list[tuple[int, int, int] | None]:
        files = self._files
        return [_stamp(name) for name in (files.tls_ca_file, files.tls_cert_file, files.tls_key_file)]

    def _load(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._trust(context)
        self._say_who(context)
        context.check_hostname = self._checks_hostname
        context.verify_mode = ssl.CERT_REQUIRED if self._is_verified else ssl.CERT_NONE
        return context

    def _trust(self, context: ssl.SSLContext) -> None:
        if not (file := self._files.tls_ca_file):
            context.load_default_certs()
            return
        _check_readable("tls_ca_file", file)
        try:
            context.load_verify_locations(cafile=file)
        except ssl.SSLError as error:
            raise InvalidStoreAccess(name="tls_ca_file", why=f"{file} holds no certificate in PEM form") from error

    def _say_who(self, context: ssl.SSLContext) -> None:
        cert, key = self._files.tls_cert_file, self._files.tls_key_file
        if not cert:
            if key:
                raise InvalidStoreAccess(
                    name="tls_key_file", why="there is a key and no certificate; set tls_cert_file"
                )
            return
        _check_readable("tls_cert_file", cert)
        if key:
            _check_readable("tls_key_file", key)
        try:
            context.load_cert_chain(cert, key or None, password=self._key_password)
        except ssl.SSLError as error:
            raise self._unusable_pair(error) from error

    def _key_password(self) -> str:
        """Answer OpenSSL, which would ask at the terminal."""
        if not self._files.tls_key_password:
            why = "the key is encrypted; set tls_key_password or tls_key_password_file"
            raise InvalidStoreAccess(name=self._key_name, why=why)
        return self._files.tls_key_password

    @property
    def _key_name(self) -> str:
        return "tls_key_file" if self._files.tls_key_file else "tls_cert_file"

    def _unusable_pair(self, error: ssl.SSLError) -> InvalidStoreAccess:
        if error.reason == "KEY_VALUES_MISMATCH":
            return InvalidStoreAccess(name=self._key_name, why="the key is not the one of the certificate")
        if self._files.tls_key_password and _has(self._files, self._key_name, "ENCRYPTED"):
            return InvalidStoreAccess(name="tls_key_password", why="the key cannot be read with it")
        if not _has(self._files, "tls_cert_file", "BEGIN CERTIFICATE"):
            file = self._files.tls_cert_file
            return InvalidStoreAccess(name="tls_cert_file", why=f"{file} holds no certificate in PEM form")
        if not _has(self._files, self._key_name, "PRIVATE KEY"):
            file = getattr(self._files, self._key_name)
            return InvalidStoreAccess(name=self._key_name, why=f"{file} holds no key in PEM form")
        return InvalidStoreAccess(name="tls_cert_file", why=f"certificate and key cannot be read: {error.reason}")


def mistrust(error: ssl.SSLError, address: str, tls: Tls | None) -> StoreError:
    """Return what a failed handshake means, and how it is mended."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _not_trusted(error, address, tls)
    reason = error.reason or str(error)
    words = reason.replace("_", " ").lower()
    if "ALERT" not in reason:
        return StoreHasNoTls(address=address, why=f"its answer is no handshake ({words})")
    if tls is not None and not tls.has_certificate:
        mend = "Set store.tls_cert_file and store.tls_key_file."
        return StoreRefusesCertificate(address=address, why=f"none is given ({words})", mend=mend)
    why = f"refuses the one in store.tls_cert_file ({words})"
    if "EXPIRED" in reason:
        return StoreRefusesCertificate(address=address, why=why, mend="It has expired: renew it.")
    mend = "It must be signed by an authority that the server believes (its setting tls-ca-cert-file)."
    return StoreRefusesCertificate(address=address, why=why, mend=mend)


def _not_trusted(error: ssl.SSLCertVerificationError, address: str, tls: Tls | None) -> StoreError:
    """Tell by OpenSSL's number of what failed (X509_V_ERR_...)."""
    authority = tls.authority if tls is not None else ""
    held = (
        f"{authority} holds another one's" if authority else "none is named there, so that this system's are believed"
    )
    mend = {
        9: "Is the clock of this host right?",
        10: "Renew it at the server. (Is the clock of this host right?)",
        62: "Write a name that is in the certificate into store.redis_url, or have one made for that name.",
        64: "Write a name that is in the certificate into store.redis_url, or have one made for that address.",
    }.get(error.verify_code, f"Name the certificate of who signed it in store.tls_ca_file: {held}.")
    return StoreNotTrusted(address=address, why=error.verify_message.rstrip("."), mend=mend)


def _one_of(name: str, setting: str, option: str | None) -> str:
    if setting and option:
        raise InvalidStoreAccess(name=name, why=f"store.redis_url has {URL_NAMES[name]} too; give one of them")
    return setting or option or ""


def _check_readable(name: str, file: str) -> None:
    try:
        with Path(file).open("rb") as found:
            found.read(1)
    except OSError as error:
        raise InvalidStoreAccess(name=name, why=f"{file} cannot be read: {error.strerror}") from error


def _has(files: TlsFiles, name: str, words: str) -> bool:
    return words.encode() in Path(getattr(files, name)).read_bytes()


def _stamp(file: str) -> tuple[int, int, int] | None:
    """Return what changes when a file is replaced."""
    if not file:
        return None
    try:
        found = Path(file).stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
