//! Attribute grammar, rendering and compiling of HiMuon kernels.
