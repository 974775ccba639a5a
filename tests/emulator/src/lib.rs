//! PTX emulator and the CUDA driver library built on it (test equipment).
