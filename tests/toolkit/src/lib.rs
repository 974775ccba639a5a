//! Finds or installs the CUDA compiler for tests (test equipment).
