#!/usr/bin/env python3
"""Checks the arrows of the architecture: who may depend on whom, and who may name which outside crate.

templates <- codegen <- macros <- himuon <- autotune <- tests; adapters and bindings use himuon alone.
"""

import json
import subprocess
import sys

# Project crates that each crate may use in what it ships (normal and build dependencies).
ALLOWED = {
    "himuon-templates": set(),
    "himuon-codegen": {"himuon-templates"},
    "himuon-macros": {"himuon-codegen", "himuon-templates"},
    "himuon": {"himuon-macros", "himuon-codegen", "himuon-templates"},
    "himuon-candle": {"himuon"},
    "himuon-burn": {"himuon"},
    "himuon-c": {"himuon"},
    "himuon-python": {"himuon"},
    "himuon-example-shipped-kernels": {"himuon", "himuon-codegen"},
    "himuon-autotune": {"himuon", "himuon-codegen", "himuon-templates"},
    "himuon-macros-runtime": {"himuon-macros", "himuon-templates"},
    "himuon-toolkit": set(),
    "himuon-emulator": set(),
    "himuon-emulator-driver": {"himuon-emulator"},
    "himuon-tests": {"*"},
}
# Outside crates that only these may name, tests and benches aside.
ONLY = {
    "syn": {"himuon-codegen"},
    "quote": {"himuon-codegen"},
    "tera": {"himuon-codegen"},
    "cudarc": {"himuon-codegen", "himuon"},
}
# The main workspace, and those beside it.
MANIFESTS = ["Cargo.toml", "runtime/adapters/burn/Cargo.toml"]
TEST_EQUIPMENT = {
    "himuon-macros-runtime",
    "himuon-toolkit",
    "himuon-emulator",
    "himuon-emulator-driver",
    "himuon-tests",
}


def violations(packages):
    for package in packages:
        name = package["name"]
        if name not in ALLOWED:
            yield f"{name}: not in the table of .ci/arrows.py; add it with the crates that it may use"
            continue
        for dependency in package["dependencies"]:
            target, kind = dependency["name"], dependency["kind"]
            if target in ALLOWED and kind != "dev" and "*" not in ALLOWED[name] and target not in ALLOWED[name]:
                yield f"{name} -> {target}: allowed are {sorted(ALLOWED[name]) or 'none'}"
            if name in TEST_EQUIPMENT or kind == "dev":
                continue
            if target in ONLY and name not in ONLY[target]:
                yield f"{name} names {target}: only {sorted(ONLY[target])} may"
            if target in TEST_EQUIPMENT:
                yield f"{name} -> {target}: test equipment is never linked into what users ship"


def packages_of(manifest):
    text = subprocess.run(
        ["cargo", "metadata", "--format-version", "1", "--no-deps", "--manifest-path", manifest],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return json.loads(text)["packages"]


def main():
    found = [line for manifest in MANIFESTS for line in violations(packages_of(manifest))]
    for line in found:
        print(f"arrow: {line}", file=sys.stderr)
    print(f"arrows: {len(found)} violations")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
