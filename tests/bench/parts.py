"""The parts of benchmarks.md: a benchmark writes its own anew, and the others stay as they were."""
import os
import re

HEADINGS = ["", "## The chat room", "## More cores", "## TLS"]  # in this order; the first part has none


def write_part(directory, heading, text):
    name = os.path.join(directory, "benchmarks.md")
    parts = {}
    if os.path.exists(name):
        with open(name) as f:
            for part in re.split("(?m)^(?=(?:%s)$)" % "|".join(HEADINGS[1:]), f.read()):
                first_line = part.split("\n")[0]
                parts[first_line if first_line in HEADINGS else ""] = part
    parts[heading] = text
    with open(name, "w") as f:
        f.write("\n\n".join(parts[h].strip() for h in HEADINGS if h in parts) + "\n")
