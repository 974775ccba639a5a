//! The autotuner of HiMuon kernels, and the himuon command.
