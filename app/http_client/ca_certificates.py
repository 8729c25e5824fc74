"""Which CA certificates to trust: the operator's, else the system's, else certifi's."""

import functools
import os
import re
from collections.abc import Mapping
from pathlib import Path

import certifi
import pycurl

# Where systems keep their CA certificates: in one file, and in a folder by OpenSSL's hashes.
SYSTEM_CAS = (
    # Debian, Ubuntu, Alpine, Arch
    ("/etc/ssl/certs/ca-certificates.crt", "/etc/ssl/certs"),
    # Fedora, RHEL
    ("/etc/pki/tls/certs/ca-bundle.crt", "/etc/pki/ca-trust/extracted/pem/directory-hash"),
    # openSUSE
    ("/etc/ssl/ca-bundle.pem", "/etc/ssl/certs"),
    # macOS, BSD
    ("/etc/ssl/cert.pem", "/etc/ssl/certs"),
)
HASHED_NAME = re.compile(r"[0-9a-f]{8}\.[0-9]+")


@functools.cache
def ca_options(named_file: str, named_folder: str) -> Mapping[int, str | None]:
    """Return libcurl's options for the CA certificates to trust.

    libcurl parses a file for each connection: 12 ms and 0.9 MB for the usual 140 certificates. In
    a folder, OpenSSL looks up the one it needs. So a system's folder is taken instead of its file
    if it has as many, which is so unless certificates were appended to the file by hand.

    Args:
        named_file: that the operator names, of certificates; empty for none.
        named_folder: the same for a folder with OpenSSL's hashed names, if there is no file.
    """
    if named_folder and not named_file:
        return _options(None, named_folder)
    found = (file for file, _ in SYSTEM_CAS if Path(file).is_file())
    file = named_file or next(found, certifi.where())
    for system_file, folder in SYSTEM_CAS:
        if os.path.realpath(file) == os.path.realpath(system_file) and _has_all(folder, file):
            return _options(None, folder)
    return _options(file, None)


def _options(file: str | None, folder: str | None) -> Mapping[int, str | None]:
    """Return the same options for servers and for proxies; None unsets what libcurl presumes."""
    return {
        pycurl.CAINFO: file,
        pycurl.CAPATH: folder,
        pycurl.PROXY_CAINFO: file,
        pycurl.PROXY_CAPATH: folder,
    }


def _has_all(folder: str, file: str) -> bool:
    """Return whether a folder of CA certificates has as many as a file."""
    try:
        links = sum(bool(HASHED_NAME.fullmatch(name)) for name in os.listdir(folder))
        return 0 < Path(file).read_bytes().count(b"-----BEGIN ") <= links
    except OSError:
        return False
