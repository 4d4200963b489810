"""Object storage: its addresses, options, metadata and errors."""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import support
from obstore.exceptions import AlreadyExistsError, GenericError, PermissionDeniedError
from serverprocess import python_path
from twisted.internet.task import Clock
from twisted.python.usage import UsageError

from ftpsvc import accountfile, model
from ftpsvc.homes import Homes
from ftpsvc.model import Account, Facts, Permission
from ftpsvc.objects import metadata
from ftpsvc.objects.calls import told
from ftpsvc.objects.opening import Objects, Unusable
from ftpsvc.objects.options import ObjectOptions, environment
from ftpsvc.objects.requests import RefusedByS3
from ftpsvc.objects.signing import Keys
from ftpsvc.objects.urls import Location, is_address, location
from ftpsvc.options import Options

# -- metadata


@pytest.mark.parametrize(
    ("said", "facts"),
    [
        ({"mtime": "1795356666.522815076"}, Facts(1795356666_522815076)),  # as rclone writes it
        ({"Mtime": "1795356666"}, Facts(1795356666_000000000)),
        ({"mtime": "-1.5"}, Facts(-1_500_000_000)),
        ({"mode": "100640", "mtime": "0"}, Facts(0, 0o640)),
        ({"mode": "0100640"}, Facts(None, 0o640)),
        ({"mode": "640"}, Facts(None, 0o640)),
        ({"mtime": "yesterday", "mode": "rwx", "xxh3128": "?"}, Facts()),
        ({"mtime": "9" * 40, "mode": "9"}, Facts()),
        ({}, Facts()),
    ],
)
def test_facts_are_read_from_metadata(said: dict[str, str], facts: Facts) -> None:
    assert metadata.facts_of(said) == facts
    assert metadata.digest_in(said) == ""


@pytest.mark.parametrize("modified", [0, 1, -1, -1_500_000_000, 1795356666_522815076, 10**18])
def test_what_is_written_is_read(modified: int) -> None:
    written = metadata.from_facts(Facts(modified, 0o604), "0123456789abcdef" * 2)
    assert metadata.facts_of(written) == Facts(modified, 0o604)
    assert metadata.digest_in(written) == "0123456789abcdef" * 2


# -- addresses and options


def test_addresses_are_told_from_folders() -> None:
    assert is_address("s3://bucket")
    assert not any(map(is_address, ("/srv/s3", "s3", "s3:", "http://x", "./s3://x")))
    assert location("s3://bucket") == Location("s3", "bucket", "")
    assert location("gs://b/a//c/") == Location("gs", "b", "a/c/")
    for wrong in ("s3://", "s3:///x", "s3://b/../c", "s3://b/x?y", "ftp://b"):
        with pytest.raises(ValueError):
            location(wrong)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--root", "s3://"], "--root: s3:// is no address"),
        (["--object-endpoint", "storage:80"], "--object-endpoint is an address without a path"),
        (["--object-endpoint", "https://key:secret@storage"], "--object-endpoint is"),
        (["--object-part", "4"], "--object-part is a number of MiB, from 5 to 1024"),
        (["--object-times", "maybe"], "--object-times is exact or stored"),
        (["--object-credentials", "/missing"], "can't read /missing: No such file"),
    ],
)
def test_wrong_options_are_told(words: list[str], why: str) -> None:
    with pytest.raises(SystemExit) as refused:
        Options().parseOptions(words)
    assert why in str(refused.value)


def test_keys_come_from_a_file_and_never_show(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("# ours\n\nAWS_ACCESS_KEY_ID=us\nAWS_SECRET_ACCESS_KEY='s3cret=/x'\n")
    found = environment(str(file))
    assert (found["AWS_ACCESS_KEY_ID"], found["AWS_SECRET_ACCESS_KEY"]) == ("us", "s3cret=/x")
    assert "s3cret" not in repr(ObjectOptions(environment=found)) + repr(Keys("us", "s3cret", "s3cret"))
    file.write_text("AWS_ACCESS_KEY_ID=us\nthe s3cret\n")
    with pytest.raises(UsageError, match="line 2") as refused:
        environment(str(file))
    assert "s3cret" not in str(refused.value)


def test_without_keys_it_is_told_which() -> None:
    with pytest.raises(Unusable, match="AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"):
        Objects(ObjectOptions(environment={}), Clock()).open("s3://bucket")


def test_google_and_azure_take_the_environment_and_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "known to others")
    monkeypatch.setenv("AZURE_OTHER", "x")
    said = {**os.environ, "AZURE_STORAGE_ACCOUNT_NAME": "us", "AZURE_STORAGE_ACCOUNT_KEY": "c2VjcmV0"}
    objects = Objects(ObjectOptions(environment=said), Clock())
    for home in ("gs://bucket/mia", "az://container"):
        storage = objects.open(home)
        assert storage.lacks(False) == Permission.APPEND | Permission.SET_FACTS
    said["AZURE_STORAGE_ACCOUNT_KEYS"] = "c2VjcmV0"
    with pytest.raises(Unusable) as refused:
        Objects(ObjectOptions(environment=said), Clock()).open("az://container")
    assert "c2VjcmV0" not in str(refused.value)


WITHOUT = """
import sys
sys.modules["obstore"] = None
from ftpsvc.options import Options
from ftpsvc.service import makeService
options = Options()
options.parseOptions(["--port", "tcp:0:interface=127.0.0.1", "--root", sys.argv[1]])
makeService(options)
"""


def test_without_obstore_folders_are_served_and_for_the_others_it_is_told_what_is_missing(tmp_path: Path) -> None:
    with python_path() as environment:
        for root, status in ((str(tmp_path), 0), ("s3://bucket", 1)):
            command = [sys.executable, "-c", WITHOUT, root]
            done = subprocess.run(command, env=environment, capture_output=True, text=True)
            assert done.returncode == status, done.stderr
    assert (
        "can't serve s3://bucket: it needs obstore, which isn't installed: pip install 'ftpsvc[object]'" in done.stderr
    )


def test_an_account_has_a_bucket_for_its_home(tmp_path: Path) -> None:
    file = tmp_path / "accounts.toml"
    file.write_text('[ann]\npermissions = ["all"]\nhome = "s3://ann"\n[bob]\npermissions = ["all"]\nhome = "b"\n')
    records = accountfile.read(file)
    assert (records["ann"].home, records["bob"].home) == ("s3://ann", str(tmp_path / "b"))
    opened: list[tuple[str, str]] = []

    def open_home(home: str, owner: str) -> Any:
        opened.append((home, owner))
        return object()

    homes = Homes(open_home, support.at_once, float)
    first = homes.storage("s3://ann/x/", Account("ann"), "ann")
    assert homes.storage("s3://ann//x", Account("ann"), "ann") is first
    assert opened == [("s3://ann/x/", "ann")]
    file.write_text('[ann]\npermissions = ["all"]\nhome = "s3://"\n')
    with pytest.raises(accountfile.BadAccounts, match="no address"):
        accountfile.read(file)


# -- errors


@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        (FileNotFoundError("x"), model.NotFound),
        (RefusedByS3(404, "NoSuchKey"), model.NotFound),
        (AlreadyExistsError("x"), model.AlreadyExists),
        (RefusedByS3(404, "NoSuchUpload"), model.LocalFault),
        (RefusedByS3(412, "PreconditionFailed"), model.LocalFault),
        (RefusedByS3(200, "without its result"), model.Busy),
        (PermissionDeniedError("x"), model.Denied),
        (RefusedByS3(403, "AccessDenied"), model.Denied),
        (ValueError("x"), model.InvalidName),
        (GenericError("x"), model.Busy),
        (RefusedByS3(503, "SlowDown"), model.Busy),
        (ConnectionRefusedError(), model.Busy),
        (TimeoutError(), model.Busy),
        (http.client.RemoteDisconnected(), model.Busy),
        (http.client.IncompleteRead(b""), model.Busy),
        (ElementTree.ParseError(), model.Busy),
        (KeyError("a mistake of ours"), KeyError),
    ],
)
def test_errors_of_the_engine_in_the_domains_terms(error: Exception, meaning: type[Exception]) -> None:
    assert type(told(error, "/path")) is meaning
