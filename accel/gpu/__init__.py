"""GPU backends through CuPy: kernels in ``accel/kernels/*.cuh``, compiled by NVRTC at their first use.

Nothing here imports CuPy before a GPU is used, and nothing but numpy and CuPy is needed besides the standard
library, so that `python -m bench gpu` runs where only these two are installed.
"""
