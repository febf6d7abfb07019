"""Archives of benchmarks, checked and unpacked."""
