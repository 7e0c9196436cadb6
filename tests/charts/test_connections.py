"""Where PostgreSQL and Redis are, told to each component from the right Secret."""

from __future__ import annotations

from typing import Any

from tests.charts.release import CHART, NAMESPACE, Release, render

URLS = CHART / "ci" / "urls-values.yaml"
PRODUCTION = CHART / "ci" / "production-values.yaml"
COMPONENTS = {"api": "api", "worker": "worker-default", "controller": "controller"}


def source(release: Release, name: str, variable: str) -> tuple[str, str]:
    """The Secret and its key that a Deployment reads a variable from."""
    reference: dict[str, Any] = release.environment("Deployment", name)[variable]["secretKeyRef"]
    return reference["name"], reference["key"]


def test_urls_become_a_secret() -> None:
    release = render(file=URLS)
    data = release.one("Secret", "connections")["stringData"]
    for name in COMPONENTS.values():
        for variable, server in (("DATABASE", "database"), ("REDIS", "redis"), ("EVENTS", "events")):
            assert source(release, name, f"LONGHAUL_{variable}_URL") == ("longhaul-connections", f"{server}-url")
    assert data["database-url"].endswith("@postgres.example.com:6432/longhaul?sslmode=require")


def test_keda_learns_from_the_url_what_it_needs() -> None:
    release = render(file=URLS)
    data = release.one("Secret", "connections")["stringData"]
    told = {
        one["parameter"]: data[one["key"]]
        for one in release.one("TriggerAuthentication", "redis")["spec"]["secretTargetRef"]
    }
    assert told == {"address": "redis.example.com:6380", "username": "worker", "password": "p-w_d=1"}
    for trigger in release.one("ScaledObject", "worker-default")["spec"]["triggers"]:
        assert (trigger["metadata"]["databaseIndex"], trigger["metadata"]["enableTLS"]) == ("2", "true")


def test_a_url_without_port_user_or_password() -> None:
    values = {
        "backing": {"enabled": False},
        "database": {"url": "postgresql://db/longhaul"},
        "redis": {"url": "redis://cache"},
    }
    release = render(values)
    data = release.one("Secret", "connections")["stringData"]
    told = {
        one["parameter"]: data[one["key"]]
        for one in release.one("TriggerAuthentication", "redis")["spec"]["secretTargetRef"]
    }
    assert told == {"address": f"cache.{NAMESPACE}.svc:6379"}
    assert release.one("ScaledObject", "worker-default")["spec"]["triggers"][0]["metadata"]["databaseIndex"] == "0"


def test_each_component_has_an_account_of_its_own() -> None:
    release = render(file=PRODUCTION)
    keys = {name: source(release, full, "LONGHAUL_DATABASE_URL") for name, full in COMPONENTS.items()}
    assert keys == {name: ("longhaul-postgres", f"{name}-url") for name in COMPONENTS}
    job = release.one("Job", "migrate")
    assert job["spec"]["template"]["spec"]["containers"][0]["env"][0]["valueFrom"]["secretKeyRef"] == {
        "name": "longhaul-postgres",
        "key": "owner-url",
    }


def test_existing_secrets_are_only_read() -> None:
    release = render(file=PRODUCTION)
    assert not release.all("Secret")
    told = release.one("TriggerAuthentication", "redis")["spec"]["secretTargetRef"]
    assert {one["name"] for one in told} == {"longhaul-redis"}
    keys = {one["parameter"]: one["key"] for one in told}
    assert keys == {"address": "address", "username": "username", "password": "password", "ca": "ca.crt"}
    for trigger in release.one("ScaledObject", "worker-default")["spec"]["triggers"]:
        assert (trigger["metadata"]["databaseIndex"], trigger["metadata"]["enableTLS"]) == ("3", "true")


def test_a_new_password_starts_new_pods() -> None:
    def checksum(url: str) -> str:
        values = {"backing": {"enabled": False}, "database": {"url": url}, "redis": {"url": "redis://cache"}}
        template = render(values).one("Deployment", "api")["spec"]["template"]
        text: str = template["metadata"]["annotations"]["checksum/settings"]
        return text

    assert checksum("postgresql://u:one@db/x") != checksum("postgresql://u:two@db/x")


def test_all_three_services_know_the_result_store() -> None:
    for name in COMPONENTS.values():
        assert not {one for one in render().environment("Deployment", name) if "RESULT_STORE" in one}
        release = render(file=PRODUCTION)
        assert release.environment("Deployment", name)["LONGHAUL_RESULT_STORE_URL"].startswith("s3://")
        assert source(release, name, "LONGHAUL_RESULT_STORE_OPTIONS") == ("longhaul-results", "options")
        plain = render(file=URLS).environment("Deployment", name)
        assert plain["LONGHAUL_RESULT_STORE_OPTIONS"] == '{"azure_storage_account_name":"example"}'


def test_no_secret_is_written_where_everyone_can_read_it() -> None:
    release = render(file=URLS)
    assert "s3cret" not in "".join(str(one) for one in release.objects if one["kind"] != "Secret")
