"""Registries' limits: what is refused before a push and what is warned of, each message whole."""

from __future__ import annotations

import pytest

from enginebuild_images.limits import (
    ENGINE_LAYERS,
    MANIFEST,
    REGISTRIES,
    SELF_HOSTED,
    Finding,
    check_limits,
    limits_of,
)
from enginebuild_images.reference import Reference
from parts.checkout import ROOT

GB, GIB, MIB = 10**9, 1 << 30, 1 << 20


def _found(text: str) -> Finding:
    """A message and its hint, which may be wrapped as they like."""
    message, hint = " ".join(text.split()).split(" hint: ")
    return Finding(message, hint)


def _check(
    registry: str, *sizes: int, manifest: int = 2000, layers: int = 30
) -> tuple[tuple[Finding, ...], tuple[Finding, ...]]:
    reference = Reference.parse(f"{registry}/team/model")
    sent = [(f"/engine/rank{number}.engine", size) for number, size in enumerate(sizes)]
    return check_limits(reference, sent, manifest, layers)


def _hosts() -> list[tuple[str, str]]:
    return [
        ("ghcr.io", "GitHub Container Registry"),
        ("123456789012.dkr.ecr.eu-west-1.amazonaws.com", "Amazon ECR"),
        ("123456789012.dkr.ecr-fips.us-east-1.amazonaws.com", "Amazon ECR"),
        ("123456789012.dkr-ecr.us-east-1.on.aws", "Amazon ECR"),
        ("123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn", "Amazon ECR"),
        ("public.ecr.aws", "Amazon ECR Public"),
        ("team.azurecr.io", "Azure Container Registry"),
        ("europe-west4-docker.pkg.dev", "Google Artifact Registry"),
        ("eu.gcr.io", "Google Artifact Registry"),
        ("docker.io", "Docker Hub"),
        ("registry.example.com", ""),
        ("ghcr.io.example.com", ""),
        ("127.0.0.1:5000", ""),
    ]


@pytest.mark.parametrize(("host", "name"), _hosts())
def test_a_registry_is_known_by_its_host(host: str, name: str) -> None:
    assert limits_of(host).name == name


def test_every_registry_is_among_the_hosts_and_has_a_source() -> None:
    assert {limits.name for limits in (*REGISTRIES, SELF_HOSTED)} == {name for _, name in _hosts()}
    assert all(limits.source and limits.limit for limits in (*REGISTRIES, SELF_HOSTED))


@pytest.mark.parametrize("host", [host for host, _ in _hosts()])
def test_a_layer_of_2_gb_goes_anywhere(host: str) -> None:
    assert _check(host, 2 * GB) == ((), ())


@pytest.mark.parametrize(
    ("host", "size", "text"),
    [
        (
            "ghcr.io",
            60 * GB,
            """the layer of /engine/rank0.engine has 60.0 GB, and GitHub Container Registry takes
            10 GB a layer at
            most (docs.github.com, Working with the Container registry)
            hint: push to Azure Container Registry (200 GiB a layer) or a registry of your own, or
            save the model
            in smaller files""",
        ),
        (
            "public.ecr.aws",
            20 * GB,
            """the layer of /engine/rank0.engine has 20.0 GB, and Amazon ECR Public takes 10,000 MB
            a layer at most
            (docs.aws.amazon.com, Amazon ECR Public service quotas)
            hint: push to Amazon ECR (52,000 MiB a layer) or Azure Container Registry (200 GiB a layer) or a
            registry of your own, or save the model in smaller files""",
        ),
        (
            "1.dkr.ecr.eu-west-1.amazonaws.com",
            52_000 * MIB + 1,
            """the layer of /engine/rank0.engine has 54.5 GB, and Amazon ECR takes 52,000 MiB a
            layer at most
            (docs.aws.amazon.com, Amazon ECR service quotas)
            hint: push to Azure Container Registry (200 GiB a layer) or a registry of your own, or
            save the model
            in smaller files""",
        ),
        (
            "team.azurecr.io",
            200 * GIB + 1,
            """the layer of /engine/rank0.engine has 214.7 GB, and Azure Container Registry takes
            200 GiB a layer
            at most (learn.microsoft.com, Azure Container Registry service tiers)
            hint: push to a registry of your own that keeps its layers on a disk, or save the model
            in smaller
            files""",
        ),
    ],
)
def test_a_layer_that_is_too_large_is_refused(host: str, size: int, text: str) -> None:
    assert _check(host, size) == ((_found(text),), ())


@pytest.mark.parametrize(
    ("host", "size", "text"),
    [
        (
            "europe-docker.pkg.dev",
            11 * GB,
            """the layer of /engine/rank0.engine has 11.0 GB, and Google Artifact Registry may
            refuse it: its quota
            is 9.9 GB of data per request, which may count for one layer (cloud.google.com,
            Artifact Registry
            quotas and limits)
            hint: push to Amazon ECR (52,000 MiB a layer) or Azure Container Registry (200 GiB a layer) or a
            registry of your own, or save the model in smaller files""",
        ),
        (
            "registry.example.com:5000",
            110 * GB,
            """the layer of /engine/rank0.engine has 110.0 GB, and registry.example.com:5000 may
            refuse it: on S3 a
            layer fits up to about 100 GB unless chunksize is raised (distribution #4572)
            hint: push to Azure Container Registry (200 GiB a layer) or a registry of your own that
            keeps its
            layers on a disk, or save the model in smaller files""",
        ),
        (
            "public.ecr.aws",
            10 * GB + 1,
            """the layer of /engine/rank0.engine has 10.0 GB, and Amazon ECR Public may refuse it:
            10,000 MB a
            layer (docs.aws.amazon.com, Amazon ECR Public service quotas)
            hint: push to Amazon ECR (52,000 MiB a layer) or Azure Container Registry (200 GiB a layer) or a
            registry of your own, or save the model in smaller files""",
        ),
    ],
)
def test_a_layer_that_may_be_too_large_is_warned_of(host: str, size: int, text: str) -> None:
    assert _check(host, size) == ((), (_found(text),))


def test_the_largest_of_several_is_named_and_the_others_are_counted() -> None:
    found = _found(
        """the layer of /engine/rank2.engine has 13.0 GB (and 2 more are too large), and GitHub
        Container Registry
        takes 10 GB a layer at most (docs.github.com, Working with the Container registry)
        hint: push to Amazon ECR (52,000 MiB a layer) or Azure Container Registry (200 GiB a layer)
        or a registry
        of your own, or save the model in smaller files"""
    )
    assert _check("ghcr.io", 11 * GB, 12 * GB, 13 * GB, GB) == ((found,), ())


def test_an_upload_that_may_take_too_long_is_warned_of() -> None:
    found = _found(
        """GitHub Container Registry ends an upload after 10 minutes (docs.github.com, Working with
        the Container
        registry), and the layer of /engine/rank0.engine has 5.0 GB: it needs 67 Mb/s for itself
        hint: push over a fast uplink, one layer at a time: --jobs 1"""
    )
    assert _check("ghcr.io", 5 * GB, GB) == ((), (found,))


def test_a_manifest_that_is_too_large() -> None:
    assert _check("team.azurecr.io", manifest=MANIFEST) == ((), ())
    refused = _found(
        """the manifest has 4.2 MB, and Azure Container Registry takes 4 MiB at most
        (learn.microsoft.com, Azure
        Container Registry service tiers)
        hint: shorten the image's annotations"""
    )
    assert _check("team.azurecr.io", manifest=MANIFEST + 1) == ((refused,), ())
    warned = _found(
        """the manifest has 4.2 MB, and registry.example.com need not take more than 4 MiB (OCI
        distribution spec
        1.1)
        hint: shorten the image's annotations"""
    )
    assert _check("registry.example.com", manifest=MANIFEST + 1) == ((), (warned,))


def test_more_layers_than_docker_runs() -> None:
    assert _check("docker.io", layers=ENGINE_LAYERS) == ((), ())
    refused = _found(
        """the image has 126 layers, and Docker runs at most 125 (moby #25957)
        hint: name a base image with fewer layers"""
    )
    assert _check("docker.io", layers=ENGINE_LAYERS + 1) == ((refused,), ())


def test_the_page_has_the_table() -> None:
    page = (ROOT / "docs/registries.md").read_text("utf-8")
    rows = [[cell.strip() for cell in row.split("|")] for row in page.splitlines() if row.startswith("| ")]
    shown = {name: (layer, source) for _, name, _, layer, _, source, _ in rows[1:-1]}
    told = {
        limits.name: (
            limits.limit.removesuffix(" a layer") if limits.layer else "not published",
            limits.source,
        )
        for limits in REGISTRIES
    }
    assert shown == told
    assert f"{(SELF_HOSTED.doubtful or 0) / GB:.1f} GB" in page
