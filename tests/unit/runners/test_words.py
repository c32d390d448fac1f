"""What a headline says of a command."""

from __future__ import annotations

from enginebuild.runners.words import brief


def test_a_short_command_stands_whole_in_a_headline() -> None:
    assert brief(("sh", "-c", "exit 3")) == "sh -c 'exit 3'"


def test_of_a_long_command_a_headline_has_the_program() -> None:
    many = tuple(f"--option{number}" for number in range(40))
    assert brief(("trtllm-build", *many)) == "trtllm-build …"
    script = "/app/tensorrt_llm/examples/quantization/quantize.py"
    assert brief(("python3", script, *many)) == f"python3 {script} …"
