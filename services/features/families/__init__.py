"""The families of the library, a file per kind: each says what its kernels need and yield."""
