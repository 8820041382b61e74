"""What can be said of the CUDA kernels without a GPU; `benchmarks.gpu_budget` writes it down."""
