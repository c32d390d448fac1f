"""The section `builder`: where steps run their commands, and what these may use."""

from __future__ import annotations

from collections.abc import Mapping

from enginebuild.recipe import forms, references
from enginebuild.recipe.forms import anchored
from enginebuild.recipe.kinds import Choice, Complaint, Text
from enginebuild.recipe.section import Field, Section
from enginebuild.recipe.units import DURATION_KIND, SIZE_KIND, Gpus
from enginebuild.recipe.unknown import answer
from enginebuild.recipe.words import RUNNERS

DEFAULT_TIMEOUT = "12h"
DEFAULT_SHM_SIZE = "16GB"

#: Keys that mean something for one runner alone.
DOCKER_ALONE = ("image", "memory", "shm_size")

RUNNER_REFUSALS: Mapping[str, Complaint] = {
    word: Complaint(f"cannot be {word} in this version of enginebuild", "write docker or local")
    for word in ("kubernetes", "k8s", "slurm", "ssh")
}


BUILDER = Section(
    (
        Field(
            "runner",
            Choice(("docker", "local"), RUNNERS, RUNNER_REFUSALS),
            "Where a step's commands run: in a container, or as processes of this machine.",
            "docker",
            "docker",
        ),
        Field(
            "image",
            Text("an image reference", references.builder_image, anchored(references.IMAGE)),
            "With runner docker: the image to run, with tag or digest; by default TensorRT-LLM's own.",
            "nvcr.io/nvidia/tensorrt-llm/release:1.2.1",
        ),
        Field(
            "environment",
            Text("a folder", forms.environment, "", "write for example /opt/trtllm"),
            "With runner local: folder of the Python environment whose programs run, relative to the recipe.",
            "/opt/trtllm",
        ),
        Field(
            "gpus",
            Gpus(),
            "GPUs of the builder that a step may use: how many, or which; 0 quantizes on the CPU.",
            1,
            1,
        ),
        Field("timeout", DURATION_KIND, "The longest that a step may take.", "4h", DEFAULT_TIMEOUT),
        Field("memory", SIZE_KIND, "With runner docker: the container's limit. By default none.", "200GB"),
        Field(
            "shm_size",
            SIZE_KIND,
            "With runner docker: shared memory of the container.",
            "16GB",
            DEFAULT_SHM_SIZE,
        ),
        Field(
            "timing_cache",
            Text("file:./path", forms.timing_cache, r"^file:.+$", "write for example file:./model.cache"),
            "TensorRT's timing cache of an earlier build, a file relative to the recipe; part of the key.",
            "file:./model.cache",
        ),
    ),
    answer,
    conditions={
        "if": {"properties": {"runner": {"const": "local"}}, "required": ["runner"]},
        "then": {"properties": dict.fromkeys(DOCKER_ALONE, False), "required": ["environment"]},
    },
)
