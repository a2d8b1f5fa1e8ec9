"""Portable CPU backends: gmpy2, numpy, numba and OpenSSL. No compiler is needed on a user's machine."""
