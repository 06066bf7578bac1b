"""The command ``python -m benchmarks NAME``."""

import importlib
import sys

BENCHMARKS = {
    "training": "whole training steps beside PyTorch and JAX",
    "uncompiled": "uncompiled steps beside PyTorch, recording, first use of an operation, new shapes",
    "overhead": "calls of compiled steps, compile times, new batch sizes, import time",
    "compile": "compile times of whole steps, cold and from disk, and by the depth of a network",
    "matmul": "matrix products on one thread beside NumPy and PyTorch, in % of peak",
    "kernels": "single kernels on one thread in % of what this machine can attain",
    "bfloat16": "a training step under autocast and a product, beside float32, on one thread",
    "contention": "steps while another process keeps one core busy",
    "memory": "bytes allocated for a step beside PyTorch; memory over many uncompiled steps and many shapes",
    "derivatives": "operations of derivatives, per-example gradients and Hessians beside peers, deep graphs",
    "peak": "fused multiply-adds and bytes copied in a second",
}


def main() -> None:
    """Run the benchmark that the first argument names."""
    if len(sys.argv) < 2 or sys.argv[1] not in BENCHMARKS:
        print("usage: python -m benchmarks NAME [options]\n")
        for name, meaning in BENCHMARKS.items():
            print(f"  {name:<12} {meaning}")
        asked_for_help = len(sys.argv) == 2 and sys.argv[1] in ("-h", "--help")
        raise SystemExit(0 if asked_for_help else 2)
    importlib.import_module(f"benchmarks.{sys.argv[1]}").main(sys.argv[2:])


if __name__ == "__main__":
    main()
