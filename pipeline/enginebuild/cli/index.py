"""`enginebuild index`."""

from __future__ import annotations

import click

from enginebuild.cli.options import jobs_option, json_option


@click.command("index")
@click.argument("name")
@click.argument("images", nargs=-1, required=True, metavar="IMAGE…")
@jobs_option
@json_option
def command(name: str, images: tuple[str, ...], jobs: int, as_json: bool) -> None:
    """Publish several images under one name, as an OCI index.

    NAME and IMAGEs are a registry's (registry.example.com/llm/llama:tag or @sha256:…) or an OCI layout's
    (oci:dist/llama:tag). Images that lie elsewhere are mounted or copied to NAME's place first. Each entry
    says for which GPU and engine its image is; what cannot choose takes the first of its platform.
    """
    from enginebuild.cli.output import make_output
    from enginebuild.cli.tools import registries
    from enginebuild.variants import publish_index

    output = make_output(as_json)
    try:
        with registries(jobs, output) as registry:
            published = publish_index(name, images, registry, output)
        output.result((published.name,), published.to_json())
        output.advice(f"look inside:  enginebuild inspect {published.name}")
    finally:
        output.close()
