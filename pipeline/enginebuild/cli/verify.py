"""`enginebuild verify`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from enginebuild.cli.options import cache_option, json_option


@click.command("verify")
@click.argument("image")
@click.option(
    "--prompt", "prompts", multiple=True, help="A text that the model goes on with. May be given again."
)
@click.option(
    "--expect",
    multiple=True,
    help="A text that the answer to each --prompt must have; given again, one of them will do.",
)
@click.option(
    "--gpus",
    metavar="none|COUNT|device=IDS",
    help="GPUs of the container (default: what the image's labels say).",
)
@click.option(
    "--timeout", default="1h", show_default=True, help="The longest that it may take: 90s, 30m or 4h."
)
@click.option("--memory", help="Limit of the container, such as 64GB.")
@cache_option
@json_option
def command(
    image: str,
    prompts: tuple[str, ...],
    expect: tuple[str, ...],
    gpus: str | None,
    timeout: str,
    memory: str | None,
    cache_dir: Path | None,
    as_json: bool,
) -> None:
    """Start an image, ask it, and say whether it answers as it must.

    IMAGE is a registry's (registry.example.com/llm/llama:tag or @sha256:…), an OCI layout's
    (oci:dist/llama:tag) or a Docker Engine's (docker:llama:tag), and has a server with the OpenAI API. It
    runs in the Docker Engine, in a container without a network that is gone afterwards. A recipe's section
    verify asks for more.
    """
    from enginebuild.cli.tools import opened
    from enginebuild.recipe.units import duration, seconds, size, size_in_bytes
    from enginebuild.recipe.verification import Prompt, Verification
    from enginebuild.verify.image import verify_image
    from enginebuild.verify.report import summary

    for name, text, complaint in (
        ("--timeout", timeout, duration(timeout)),
        ("--memory", memory, None if memory is None else size(memory)),
    ):
        if text is not None and complaint is not None:
            raise click.UsageError(f"{name} {complaint.message}: {complaint.hint}")
    if expect and not prompts:
        raise click.UsageError("--expect needs a --prompt whose answer it is held against.")
    wanted = Verification(
        tuple(Prompt(prompt=text, expect=expect) for text in prompts),
        timeout=seconds(timeout),
        memory=None if memory is None else size_in_bytes(memory),
    )
    with opened(Path(), cache_dir, jobs=4, as_json=False) as tools:
        report = verify_image(image, gpus, wanted, tools.registry, tools.store, tools.output)
    document = report.to_json()
    lines = [image, f"  digest    {report.image}", *(f"  {line}" for line in summary(document))]
    click.echo(json.dumps(document, indent=2, ensure_ascii=False) if as_json else "\n".join(lines))
