//! Hierarchical Muon: the optimizer step of every layer as independent tiles.
