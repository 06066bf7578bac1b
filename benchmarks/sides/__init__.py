"""One module per system that runs the workloads; each has ``candidates(workload, threads)``."""
