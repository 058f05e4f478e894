"""Checks that every crate in the lock file has a licence that ours can live with, and shows which
crates are built in more than one version. Offline: reads `cargo metadata`."""

import json
import subprocess
import sys
from collections import defaultdict

ALLOWED = {
    "0BSD", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0",
    "CC0-1.0", "CDLA-Permissive-2.0", "ISC", "MIT", "MIT-0", "Unicode-3.0", "Unlicense", "Zlib",
}


def permitted(expression):
    """True when one alternative of an SPDX expression is allowed (AND binds tighter than OR)."""
    text = expression.replace("/", " OR ").replace("(", " ").replace(")", " ")
    return any(all(term.strip() in ALLOWED for term in option.split(" AND ")) for option in text.split(" OR "))


metadata = json.loads(subprocess.check_output(["cargo", "metadata", "--format-version=1", "--locked"]))
refused, versions = [], defaultdict(set)
for package in metadata["packages"]:
    versions[package["name"]].add(package["version"])
    licence = package["license"] or ""
    if not permitted(licence):
        refused.append(f"{package['name']} {package['version']}: '{licence}'")

twice = {name: sorted(v) for name, v in versions.items() if len(v) > 1}
print(f"licences: {len(metadata['packages'])} crates, {len(twice)} in more than one version")
if "--duplicates" in sys.argv:
    for name, found in sorted(twice.items()):
        print(f"  {name}: {', '.join(found)}")
if refused:
    sys.exit("not allowed (see scripts/licences.py):\n  " + "\n  ".join(refused))
