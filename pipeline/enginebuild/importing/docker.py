"""`docker run` around a server's command: the image, and what of the options matters to a recipe."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

#: Options of `docker run` (and of podman's) that are followed by a value (Docker 28). Others are switches.
_VALUED = frozenset(
    """
    -a -c -e -h -l -m -p -u -v -w --add-host --annotation --attach --blkio-weight --cap-add --cap-drop
    --cgroup-parent --cgroupns --cidfile --cpu-period --cpu-quota --cpu-shares --cpus --cpuset-cpus --device
    --device-cgroup-rule --dns --dns-option --dns-search --domainname --entrypoint --env --env-file --expose
    --gpus --group-add --health-cmd --health-interval --health-retries --health-start-period --health-timeout
    --hostname --ip --ipc --isolation --kernel-memory --label --label-file --link --log-driver --log-opt
    --mac-address --memory --memory-reservation --memory-swap --memory-swappiness --mount --name --net
    --network --network-alias --oom-score-adj --pid --pids-limit --platform --publish --pull --restart
    --runtime --security-opt --shm-size --stop-signal --stop-timeout --storage-opt --sysctl --tmpfs --ulimit
    --user --userns --uts --volume --volume-driver --volumes-from --workdir
    """.split()
)
_LONG = {
    "-e": "--env",
    "-v": "--volume",
    "-p": "--publish",
    "-m": "--memory",
    "-u": "--user",
    "-w": "--workdir",
    "--net": "--network",
}
#: Without consequence for the server: they name the container, or say what becomes of it.
_OF_NO_MATTER = ("--name", "--pull", "--label", "--log-driver", "--log-opt", "--cidfile", "--hostname")


@dataclass
class Container:
    """`words` follow the image. `options` are those that only count when a container starts."""

    image: str = ""
    words: tuple[str, ...] = ()
    entrypoint: str = ""
    platform: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    volumes: dict[str, str] = field(default_factory=dict)
    options: list[str] = field(default_factory=list)


def container(words: tuple[str, ...]) -> Container:
    """What `docker run` with these words starts; `words` begin after `run`."""
    found = Container()
    for index, option, value in _options(words):
        if option is None:
            found.image, found.words = words[index], words[index + 1 :]
            break
        _take(found, option, value)
    return found


def _options(words: tuple[str, ...]) -> Iterator[tuple[int, str | None, str]]:
    """(place, option, value), and last the place of the image with None."""
    index = 0
    while index < len(words):
        word = words[index]
        if not word.startswith("-"):
            yield index, None, ""
            return
        name, equals, value = word.partition("=")
        if not equals and word not in _VALUED and word[:2] in _VALUED and not word.startswith("--"):
            name, equals, value = word[:2], "=", word[2:]
        if not equals and name in _VALUED:
            index += 1
            value = words[index] if index < len(words) else ""
        yield index, _LONG.get(name, name), value
        index += 1


def _take(found: Container, option: str, value: str) -> None:
    if option == "--env":
        name, equals, text = value.partition("=")
        found.environment[name] = text if equals else f"${name}"
    elif option == "--volume":
        outside, _, inside = value.partition(":")
        found.volumes[inside.partition(":")[0]] = outside
    elif option == "--mount":
        parts: Mapping[str, str] = dict(part.partition("=")[::2] for part in value.split(","))
        inside = parts.get("target") or parts.get("dst") or parts.get("destination") or ""
        found.volumes[inside] = parts.get("source") or parts.get("src") or ""
    elif option == "--entrypoint":
        found.entrypoint = value
    elif option == "--platform":
        found.platform = value
    elif option not in _OF_NO_MATTER and (option in _VALUED or option == "--privileged"):
        found.options.append(option)


def outside(path: str, volumes: Mapping[str, str]) -> str:
    """A path in the container as a path of the machine, where a volume says so; else as it is."""
    for inside, host in sorted(volumes.items(), key=lambda each: -len(each[0])):
        place = inside.rstrip("/")
        if place and (path == place or path.startswith(f"{place}/")):
            return host.rstrip("/") + path[len(place) :]
    return path
