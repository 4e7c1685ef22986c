"""Prints the instructions of a Dockerfile as a JSON list of [instruction, value].

    dockerfile_steps.py FILE
"""

import io
import json
import sys
from pathlib import Path

from dockerfile_parse import DockerfileParser

parser = DockerfileParser(fileobj=io.BytesIO(Path(sys.argv[1]).read_bytes()))
print(json.dumps([[step["instruction"], step["value"]] for step in parser.structure if step["instruction"] != "COMMENT"]))
