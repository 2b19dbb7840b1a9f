"""Every way in which the app may prove who it is, over TLS as Microsoft's libraries insist on it."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme
from azure.storage.blob import BlobClient
from cryptography.hazmat.primitives import serialization

from local_cloud.cloud import ROOT
from local_cloud.entra import DEFAULT_USER, TENANT_ID, Entra, RegisteredApp, server_certificate
from local_cloud.finance_operations.knobs import Speed
from local_cloud.server import Server
from shared.azure_storage.token_cache import BLOB, CONTAINER
from tests.end_to_end.stage import NO_MINUTE_TIMER, PROMPT_QUEUES, Stage
from tests.leaks import leaks
from tests.packages import build_package

DAEMON = "11111111-1111-4111-8111-111111111111"
DESKTOP = "22222222-2222-4222-8222-222222222222"
SECRET = "Mur~8Q-made-up-for-this-test"


@dataclass(frozen=True, slots=True)
class Tenant:
    """Entra ID behind TLS."""

    entra: Entra
    url: str
    ca_file: Path


@contextmanager
def a_stage(home: Path) -> Iterator[tuple[Stage, Tenant]]:
    """Everything but the functions host, which starts when its settings are complete."""
    settings = {**NO_MINUTE_TIMER, **PROMPT_QUEUES, "POLL_FIRST_SECONDS": "1"}
    stage = Stage(home, app_settings=settings, speed=Speed(seconds_per_execution=0.3), with_host=False)
    with stage:
        entra = Entra(stage.desk, faults=stage.faults, interval_s=1)
        ca_file = home / "ca.pem"
        with Server(entra.app(), ssl_context=server_certificate(ca_file)) as server:
            stage.app_settings |= {"AZURE_AUTHORITY_HOST": server.url, "REQUESTS_CA_BUNDLE": str(ca_file)}
            yield stage, Tenant(entra=entra, url=server.url, ca_file=ca_file)
            stage.assert_clients_kept_the_rules()


def test_as_an_app_registration_with_a_secret_the_app_imports_a_file(tmp_path: Path) -> None:
    with a_stage(tmp_path) as (stage, tenant):
        tenant.entra.register(RegisteredApp(client_id=DAEMON, secrets=(SECRET,)))
        stage.app_settings |= {"AZURE_CLIENT_SECRET": SECRET, **_daemon()}

        _assert_a_file_travels_without_managed_identity(stage)
        _assert_nothing_secret_is_printed(stage, SECRET)


@pytest.mark.quick(cases=0)
def test_as_an_app_registration_with_a_certificate_the_app_imports_a_file(tmp_path: Path) -> None:
    with a_stage(tmp_path) as (stage, tenant):
        certificate = trustme.CA().issue_cert("app", key_type=trustme.KeyType.RSA)
        file = tmp_path / "app.pem"
        key = serialization.load_pem_private_key(certificate.private_key_pem.bytes(), None)
        locked = serialization.BestAvailableEncryption(SECRET.encode())
        file.write_bytes(
            key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked)
            + certificate.cert_chain_pems[0].bytes()
        )
        public = certificate.cert_chain_pems[0].bytes()
        tenant.entra.register(RegisteredApp(client_id=DAEMON, certificates=(public,)))
        stage.app_settings |= {"AZURE_CLIENT_CERTIFICATE_PATH": str(file), **_daemon()}
        stage.app_settings |= {"AZURE_CLIENT_CERTIFICATE_PASSWORD": SECRET}

        _assert_a_file_travels_without_managed_identity(stage)
        _assert_nothing_secret_is_printed(stage, SECRET)


def test_for_a_person_who_signs_in_with_the_command_the_app_imports_a_file_from_their_onedrive(tmp_path: Path) -> None:
    with a_stage(tmp_path) as (stage, tenant):
        tenant.entra.register(RegisteredApp(client_id=DESKTOP, public=True))
        stage.app_settings |= {
            "ONEDRIVE_DRIVE": "me/drive",
            "ONEDRIVE_SIGN_IN": "user",
            "SIGN_IN_CLIENT_ID": DESKTOP,
            "SIGN_IN_TENANT": TENANT_ID,
        }
        stage.start_host()
        stage.run_function("keep_watch")
        stage.wait_for(lambda: "python dev.py sign-in" in "\n".join(stage.log), "word that nobody has signed in")

        _sign_in_with_the_command(stage, tenant, tmp_path / "local.settings.json")
        _assert_a_file_travels(stage)

        (subscription,) = stage.onedrive.subscriptions
        assert (subscription.app_id, subscription.user) == (DESKTOP, DEFAULT_USER)
        _assert_nothing_secret_is_printed(stage, *_tokens_in_the_cache(stage))


def _daemon() -> dict[str, str]:
    return {"AZURE_TENANT_ID": TENANT_ID, "AZURE_CLIENT_ID": DAEMON}


def _sign_in_with_the_command(stage: Stage, tenant: Tenant, settings_file: Path) -> None:
    """Run the command beside the running app, and enter its code as a person does in a browser."""
    settings_file.write_text(json.dumps({"IsEncrypted": False, "Values": stage.settings}), encoding="utf-8")
    command = subprocess.Popen(
        [sys.executable, "-m", "operations.sign_in", "--settings", str(settings_file)],
        cwd=ROOT,
        env={**os.environ, "REQUESTS_CA_BUNDLE": str(tenant.ca_file)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    )
    with command:
        try:
            assert command.stdout is not None
            code, said = "", ""
            for line in command.stdout:
                said += line
                if not code and (shown := re.search(r"enter the code (\w+)", line)):
                    code = shown[1]
                    assert tenant.entra.approve(code) == 1
            assert command.wait(60) == 0, said
            assert f"Signed in as {DEFAULT_USER}" in said
            assert [token for token in _tokens_in_the_cache(stage) if token in said] == []
        finally:
            command.kill()


def _assert_a_file_travels_without_managed_identity(stage: Stage) -> None:
    stage.start_host()
    _assert_a_file_travels(stage)
    (subscription,) = stage.onedrive.subscriptions
    assert (subscription.app_id, subscription.user) == (DAEMON, None)
    assert [call.path for call in stage.faults.calls if call.path == "/msi/token"] == []


def _assert_a_file_travels(stage: Stage) -> None:
    stage.run_function("keep_watch")
    stage.wait_for(lambda: stage.onedrive.subscriptions, "the subscription")

    stage.put("USMF_Customers_001.zip", build_package())

    assert stage.ended("USMF_Customers_001.zip")["outcome"] == "Succeeded"
    assert stage.files("Success") == ["USMF_Customers_001.zip"]
    assert len(stage.finance_operations.effects) == 1


def _tokens_in_the_cache(stage: Stage) -> list[str]:
    """Return the refresh and access tokens that the sign-in has left in the app's storage."""
    with BlobClient.from_connection_string(stage.azurite.connection_string, CONTAINER, BLOB) as blob:
        cache = json.loads(blob.download_blob().readall())
    tokens = [entry["secret"] for kind in ("RefreshToken", "AccessToken") for entry in cache[kind].values()]
    assert tokens
    return tokens


def _assert_nothing_secret_is_printed(stage: Stage, *known: str) -> None:
    """Fail where the functions host has printed a secret; the app's own keys are looked for as well."""
    printed = "\n".join(stage.log)
    function_key = stage.settings["NOTIFICATION_URL"].partition("code=")[2]
    assert function_key
    assert [text for text in (*known, function_key, stage.settings["CLIENT_STATE"]) if text in printed] == []
    assert leaks(printed) == []


pytestmark = pytest.mark.timeout(300)
