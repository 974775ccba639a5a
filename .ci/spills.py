"""Innermost loops of the CPU kernels: fused multiply-adds, accesses to the stack by the same registers, how many loops.

    cargo bench -p himuon-tests --bench cpu_tiles --no-run     # prints the path of the binary
    objdump -d --no-show-raw-insn -C PATH | python3 .ci/spills.py
"""
import collections
import re
import sys

WIDEST = "zmm"  # "ymm" shows AVX2


def loops(lines):
    """Fused multiply-adds and stack accesses of each backward jump's body that contains no other."""
    place = {address: index for index, (address, _) in enumerate(lines)}
    jumps = []
    for index, (_, text) in enumerate(lines):
        jump = re.match(r"j\w+\s+([0-9a-f]+)", text)
        target = place.get(int(jump[1], 16)) if jump else None
        if target is not None and target <= index:
            jumps.append((target, index))
    for start, end in jumps:
        if any((a, b) != (start, end) and start <= a and b <= end for a, b in jumps):
            continue
        body = [text for _, text in lines[start : end + 1] if WIDEST in text]
        fused = sum("vfmadd" in text for text in body)
        stack = sum("(%rsp" in text for text in body)
        if fused >= 8:
            yield fused, stack


def main():
    found, kernel, lines = collections.Counter(), False, []
    for raw in sys.stdin:
        if head := re.match(r"[0-9a-f]+ <(.*)>:$", raw):
            kernel, lines = "himuon::cpu" in head[1], []
        elif line := re.match(r" +([0-9a-f]+):\s+(.*)", raw):
            lines.append((int(line[1], 16), line[2].strip()))
        elif not raw.strip() and kernel and lines:
            found.update(loops(lines))
            lines = []
    print("fused  stack  loops")
    for (fused, stack), count in sorted(found.items(), reverse=True):
        print(f"{fused:5}  {stack:5}  {count:5}")


main()
