"""Checks the files of docker/ against what their readers publish of them.

    packaged_files.py FOLDER

Prints every fault with its file, or `fine`.
"""

import json
import subprocess
import sys
from pathlib import Path

# The oldest that the manifests name, and the newest that the schemas know.
KUBERNETES = ["1.30", "1.37"]
# Read by Grafana's Prometheus plugin, which is not in the published types.
BEYOND_THE_TYPES = ["titleFormat", "textFormat", "step"]


def command(*words):
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return [] if done.returncode == 0 else [done.stdout.strip()]


def beside(name):
    return str(Path(sys.executable).parent / name)


def compose(folder):
    file = str(folder / "compose.yaml")
    return command(sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", file)


def kubernetes(folder):
    files = sorted(str(file) for file in (folder / "kubernetes").glob("*.yaml"))
    assert files, "no manifests"
    module = [sys.executable, "-m", "kubernetes_validate", "--strict", "--no-warn", "--quiet"]
    return [fault for version in KUBERNETES for fault in command(*module, "-k", version, *files)]


def dockerfile(folder):
    return command(beside("hadolint"), "--no-color", str(folder / "Dockerfile"))


def dashboard(file):
    """What Grafana's types do not read as it is written: misspelled, in the wrong place, of the wrong type."""
    from grafana_foundation_sdk.cog import encoder, plugins
    from grafana_foundation_sdk.models.dashboard import Dashboard

    plugins.register_default_plugins()
    written = json.loads(file.read_text())
    read = json.loads(encoder.JSONEncoder().encode(Dashboard.from_json(written)))
    return [f"{file.name}: {fault}" for fault in differences(written, read, "")]


def differences(written, read, place):
    if isinstance(written, dict) and isinstance(read, dict):
        for name, value in written.items():
            if name in read:
                yield from differences(value, read[name], f"{place}.{name}")
            elif name not in BEYOND_THE_TYPES and value not in (None, [], {}, ""):
                yield f"{place}.{name} is not read"
    elif isinstance(written, list) and isinstance(read, list) and len(written) == len(read):
        for number, (one, other) in enumerate(zip(written, read)):
            yield from differences(one, other, f"{place}[{number}]")
    elif written != read:
        yield f"{place} is read as {read!r}"


def main():
    folder = Path(sys.argv[1])
    faults = compose(folder) + kubernetes(folder) + dockerfile(folder)
    for file in sorted((folder / "grafana" / "dashboards").glob("*.json")):
        faults += dashboard(file)
    print("\n".join(faults) or "fine")
    sys.exit(1 if faults else 0)


main()
